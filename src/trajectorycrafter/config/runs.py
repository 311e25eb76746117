"""Settings that every long command shares: where results go, and who works on them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class BatchSettings:
    """How the clips of a manifest are shared out."""

    engine: Literal["local", "ray"] = "local"
    """For a manifest: processes on this machine, or a Ray cluster."""
    workers: int = 1
    """For a manifest: how many clips are made at a time."""


@dataclass(frozen=True)
class OutFolder:
    """Where the results are written."""

    out: Path
    """Folder for the results, the report or card, and everything that led to them."""
    overwrite: bool = False
    """Replace the files of an earlier run in the folder once this run is whole."""
    resume: bool = False
    """Go on with a run that was stopped."""
