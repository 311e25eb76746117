"""The named stages of one run: timed, measured, and kept on disk so that a killed run resumes.

The one thing a reader would get wrong: a stage's file appears only when the stage is whole, so what
is found there can be trusted.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from .files import whole
from .machine import Cost, measured

Value = TypeVar("Value")
Stage = Literal[
    "read",
    "depth",
    "source cameras",
    "point cloud",
    "render",
    "write the render",
    "fill",
    "caption",
    "generate",
    "write",
]
"""In the order of a run; no run has all of them."""


def stage_name(stage: Stage, window: int = 0) -> str:
    """The stage in words, for a window of a long clip, counted from 0."""
    return stage if window == 0 else f"{stage}, window {window + 1}"


class Stages:
    """Runs stages once each; with a folder, their results outlive the process."""

    def __init__(
        self, folder: Path | None = None, on_stage: Callable[[str, bool], object] | None = None
    ):
        """
        Args:
            folder: where results are kept; None keeps nothing.
            on_stage: called as each stage begins, with its name and whether its result is taken
                from an earlier run.
        """
        self.folder = folder
        self.costs: dict[str, Cost] = {}
        self._on_stage = on_stage or (lambda name, taken: None)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def offer(self, file: str, path: Path) -> None:
        """Take over a result that is known already, unless an earlier run left its own.

        Args:
            file: name of the result, as `run` has it.
            path: the result, as its stage would have saved it.
        """
        if self.folder is None or (self.folder / file).exists():
            return
        with whole(self.folder / file) as partial:
            shutil.copyfile(path, partial)

    def run(
        self,
        stage: Stage,
        compute: Callable[[], Value],
        *,
        window: int = 0,
        file: str | None = None,
        save: Callable[[Value, Path], object] | None = None,
        load: Callable[[Path], Value] | None = None,
    ) -> Value:
        """The stage's value: read from its file if an earlier run got that far, else computed.

        Args:
            window: of a long clip that is made in several, from 0.
            file: name of the result in the folder; None for stages that are quicker than reading.
            save: writes the value to a path.
            load: reads it back.
        """
        name = stage_name(stage, window)
        path = self.folder / file if self.folder is not None and file is not None else None
        if path is not None and load is not None and path.exists():
            self._on_stage(name, True)
            return load(path)
        self._on_stage(name, False)
        with measured() as cost:
            value = compute()
        self.costs[name] = cost
        if path is not None and save is not None:
            with whole(path) as partial:
                save(value, partial)
        return value
