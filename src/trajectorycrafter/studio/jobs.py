"""The queue of full runs: one folder a job, one job at a time, in a process of its own.

    ROOT/users/<user>/jobs/<job>/job.json           what it is and how it stands
                                 trajectory.json    the camera path, our JSON
                                 out/               what `redirect` writes, and the comparison

The one thing a reader would get wrong: the folders are the queue. A server that was killed finds
there what was waiting, and goes on with the stages that the running job had finished.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..config import RedirectSettings
from .library import Library

State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class JobSpec:
    """What is to be made."""

    clip: Path
    trajectory: Path | Mapping[str, Any]
    """A file of any format of the hub, or our JSON as a document."""
    settings: RedirectSettings
    """Everything else; the path named in it is not read."""
    user: str
    """Id of the visitor whose job it is."""
    name: str
    """Shown to him."""
    render_only: bool = False
    """Stop before the generator."""


@dataclass(frozen=True)
class Progress:
    """How far a running job is."""

    stage: str
    """As `redirect` names it."""
    fraction: float
    """Of the expected time, 0 to 1."""
    seconds_left: float | None
    """None while nothing is known."""


@dataclass(frozen=True)
class Job:
    """A job as it stood when it was asked for."""

    id: str
    spec: JobSpec
    """Its trajectory is the file in the job's folder."""
    folder: Path
    state: State
    created: float
    """Seconds since 1970."""
    message: str = ""
    """Why it failed, in words for the visitor; else empty."""
    progress: Progress | None = None
    """Of a running job."""

    def files(self) -> dict[str, Path]:
        """What can be downloaded, by name: video.mp4, render.mp4, mask.mp4, depth.npz, ..., also
        source.mp4 and compare.html. Empty until the job is done."""
        ...


class Queue:
    """The jobs of all visitors."""

    def __init__(self, library: Library):
        """Reads the folders; `start` begins to work.

        Args:
            library: where they are, and how much room there is.
        """

    def submit(self, spec: JobSpec) -> Job:
        """Put a job at the end of the queue.

        Raises:
            FileNotFoundError: no such clip or trajectory file.
            ValueError: a trajectory or settings that cannot be used, an unknown visitor, too many
                jobs waiting, or no room; said before any work.
        """
        ...

    def jobs(self, user: str) -> list[Job]:
        """A visitor's jobs, the newest first."""
        ...

    def job(self, id: str, user: str) -> Job | None:
        """One job, if it is this visitor's."""
        ...

    def cancel(self, id: str) -> None:
        """Stop a job, running or waiting; one that has ended stays as it is."""

    def remove(self, id: str) -> None:
        """Stop a job and delete its folder."""

    def start(self) -> None:
        """Work on what is waiting, in the background, until `stop`."""

    def stop(self) -> None:
        """End the worker; a running job goes on at the next start."""
