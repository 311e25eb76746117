"""Settings that every long command shares: where results go, and who works on them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class BatchSettings:
    """How the clips of a manifest are shared out."""

    engine: Literal["local", "ray"] = "local"
    """Of a manifest: processes of this machine, or a Ray cluster."""
    workers: int = 1
    """Of a manifest: clips at a time."""


@dataclass(frozen=True)
class OutFolder:
    """Where the results are written."""

    out: Path
    """Folder for the results, the report or card, and all that led to them."""
    overwrite: bool = False
    """Replace an earlier run's files in the folder."""
    resume: bool = False
    """Go on with a run that was stopped."""
