"""Settings of the studio: where it listens, what visitors may use, how fast a draft is."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """What the studio's visitors may use of the machine."""

    upload_mb: float = 500.0
    """Largest clip that can be uploaded, 1e6 bytes."""
    quota_gb: float = 20.0
    """Disk space for all clips and jobs, 1e9 bytes; the oldest finished jobs go first."""
    queued: int = 20
    """Jobs that one visitor can have waiting."""

    @property
    def upload_bytes(self) -> int:
        return round(self.upload_mb * 1e6)

    @property
    def quota_bytes(self) -> int:
        return round(self.quota_gb * 1e9)


@dataclass(frozen=True)
class Speed:
    """How much of the quality is given for time."""

    smaller: int = 1
    """The sides of the result are so many times smaller; the released model keeps its size."""
    steps: int | None = None
    """Denoising steps of the released model; None: all of them."""


SPEEDS = {
    "full quality": Speed(),
    "half the steps": Speed(steps=25),
    "draft": Speed(smaller=2, steps=10),
}


@dataclass(frozen=True)
class StudioServer:
    """Where the studio listens, and where it keeps clips and results."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs --share."""
    port: int = 8080
    """The next free one is taken if it is in use."""
    share: bool = False
    """Ask every visitor for a token, which is made at the start and is part of the printed
    address."""
    folder: Path | None = None
    """For clips, jobs and depth; default: ~/.local/share/trajectorycrafter/studio."""
