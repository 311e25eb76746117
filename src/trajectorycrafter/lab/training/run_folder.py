"""The folder of a training run: its settings, its loss curve, and who may write there."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from ...runtime.files import JsonLines
from ...runtime.run_folder import check_inputs, claim, unfinished

SETTINGS, CURVE = "settings.json", "log.jsonl"
CHECKPOINTS, PICTURES, TENSORBOARD = "checkpoints", "samples", "tensorboard"
MODEL, AVERAGE = "model", "model-ema"
ALL = (SETTINGS, CURVE, CHECKPOINTS, PICTURES, TENSORBOARD, MODEL, AVERAGE)


def claim_run(
    out: Path,
    record: dict[str, Any],
    inputs: Iterable[Path],
    free: Collection[str],
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Make the folder this run's own; with `resume`, of the run that is there, if there is one.

    Raises:
        ValueError: If it holds something else, or a run with other settings, or the run would
            replace what it learns from.
    """
    check_inputs([out], ALL, inputs)
    there = unfinished(out, SETTINGS) is not None or (out / SETTINGS).exists()
    claim(
        out,
        SETTINGS,
        record,
        ours=ALL,
        held="a training run",
        free=free,
        overwrite=overwrite and not resume,
        resume=resume and there,
    )


def open_curve(out: Path, step: int) -> JsonLines:
    """The loss curve, one line a step, without those after `step`, which are made again."""
    curve = JsonLines(out / CURVE)
    curve.keep([line for line in curve.read() if line["step"] <= step])
    return curve


def read_curve(out: Path) -> list[dict[str, Any]]:
    """The curve of a run: `step`, `loss`, `grad_norm`, `lr`, `seconds`, a step each."""
    return JsonLines(out / CURVE).read()
