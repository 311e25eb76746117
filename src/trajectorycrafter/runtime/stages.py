"""The named stages of one run: timed, measured, and kept on disk so that a killed run resumes.

The one thing a reader would get wrong: a stage's file appears only when the stage is whole, so what
is found there can be trusted.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .files import whole
from .machine import Cost, measured

Value = TypeVar("Value")


class Stages:
    """Runs stages once each; with a folder, their results outlive the process."""

    def __init__(self, folder: Path | None = None, announce: Callable[[str], None] | None = None):
        """
        Args:
            folder: where results are kept; None keeps nothing.
            announce: told one line as each stage begins.
        """
        self.folder = folder
        self.costs: dict[str, Cost] = {}
        self._announce = announce or (lambda line: None)
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
        name: str,
        compute: Callable[[], Value],
        *,
        file: str | None = None,
        save: Callable[[Value, Path], object] | None = None,
        load: Callable[[Path], Value] | None = None,
    ) -> Value:
        """The stage's value: read from its file if an earlier run got that far, else computed.

        Args:
            file: name of the result in the folder; None for stages that are quicker than reading.
            save: writes the value to a path.
            load: reads it back.
        """
        path = self.folder / file if self.folder is not None and file is not None else None
        if path is not None and load is not None and path.exists():
            self._announce(f"{name}: taken from the earlier run")
            return load(path)
        self._announce(name)
        with measured() as cost:
            value = compute()
        self.costs[name] = cost
        if path is not None and save is not None:
            with whole(path) as partial:
                save(value, partial)
        return value
