"""The folder of a training run: its settings, its loss curve, and who may write there.

The one thing a reader would get wrong: the curve has one line a step. When a stopped run goes on
from its last checkpoint, the lines after that step are removed and made again.
"""

import json
import shutil
from pathlib import Path
from typing import Any, TextIO

from ..files import write_json, write_text
from .settings import TrainSettings, differences, read_settings, to_json

SETTINGS, CURVE = "settings.json", "log.jsonl"
CHECKPOINTS, PICTURES, TENSORBOARD = "checkpoints", "samples", "tensorboard"
MODEL, AVERAGE = "model", "model-ema"
ALL = (SETTINGS, CURVE, CHECKPOINTS, PICTURES, TENSORBOARD, MODEL, AVERAGE)


def claim(out: Path, settings: TrainSettings, *, resume: bool, overwrite: bool) -> None:
    """Make the folder this run's own.

    Raises:
        FileExistsError: If an earlier run is there and neither may be replaced nor goes on.
        ValueError: If it is to go on with other settings; says which differ.
    """
    path = out / SETTINGS
    if path.exists() and resume:
        odd = differences(read_settings(path), settings)
        if odd:
            raise ValueError(
                f"Expected the settings of the run in {out} to go on with it; these differ: "
                f"{', '.join(odd)}."
            )
    elif path.exists() and not overwrite:
        raise FileExistsError(
            f"{out} holds a training run; go on with it (--resume), replace it (--overwrite), or "
            "choose another folder."
        )
    elif path.exists():
        for name in ALL:
            place = out / name
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    write_json(to_json(settings), path)


class Curve:
    """The loss curve on disk: a line of JSON a step, there as soon as the step is done."""

    def __init__(self, out: Path, step: int) -> None:
        """
        Args:
            step: Steps done; what the file says of later ones is removed.
        """
        kept = [line for line in read_curve(out) if line["step"] <= step]
        write_text("".join(json.dumps(line) + "\n" for line in kept), out / CURVE)
        self._file: TextIO = (out / CURVE).open("a", encoding="utf-8")

    def add(self, line: dict[str, Any]) -> None:
        """Write a step's line."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_curve(out: Path) -> list[dict[str, Any]]:
    """The curve of a run: `step`, `loss`, `grad_norm`, `lr`, `seconds`, a step each."""
    path = out / CURVE
    if not path.exists():
        return []
    whole = (line for line in path.read_text(encoding="utf-8").splitlines(True) if line[-1] == "\n")
    return [json.loads(line) for line in whole]
