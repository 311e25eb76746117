"""The folder of a training run: its settings, its loss curve, and who may write there.

The one thing a reader would get wrong: the curve has one line a step. When a stopped run goes on
from its last checkpoint, the lines after that step are removed and made again.
"""

from pathlib import Path
from typing import Any

from ...config.serialization import to_json
from ...config.training import MAY_CHANGE, TrainSettings
from ...runtime.files import JsonLines
from ...runtime.run_folder import RunFolder, check_inputs, claim, unfinished

SETTINGS, CURVE = "settings.json", "log.jsonl"
CHECKPOINTS, PICTURES, TENSORBOARD = "checkpoints", "samples", "tensorboard"
MODEL, AVERAGE = "model", "model-ema"
ALL = (SETTINGS, CURVE, CHECKPOINTS, PICTURES, TENSORBOARD, MODEL, AVERAGE)


def claim_run(out: Path, settings: TrainSettings, *, resume: bool, overwrite: bool) -> RunFolder:
    """Make the folder this run's own; with `resume`, of the run that is there, if there is one.

    Raises:
        ValueError: If it holds something else, or a run with other settings, or the run would
            replace what it learns from.
    """
    data, model = settings.data, settings.model
    named = [Path(model.start) if model.start else None, model.weights]
    inputs = [*data.samples, *data.latents, *(path for path in named if path is not None)]
    check_inputs([out], ALL, inputs)
    there = unfinished(out, SETTINGS) is not None or (out / SETTINGS).exists()
    return claim(
        out,
        SETTINGS,
        to_json(settings),
        ours=ALL,
        held="a training run",
        free=MAY_CHANGE,
        overwrite=overwrite and not resume,
        resume=resume and there,
    )


def open_curve(out: Path, step: int) -> JsonLines:
    """The loss curve, with the lines of the first `step` steps."""
    curve = JsonLines(out / CURVE)
    curve.keep([line for line in curve.read() if line["step"] <= step])
    return curve


def read_curve(out: Path) -> list[dict[str, Any]]:
    """The curve of a run: `step`, `loss`, `grad_norm`, `lr`, `seconds`, a step each."""
    return JsonLines(out / CURVE).read()
