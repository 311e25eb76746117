"""Jobs on disk: one folder each, which says what it is and how it stands.

    ROOT/users/<user>/jobs/<job>/job.json           the job and its state
                                 trajectory.json    the camera path, our JSON
                                 depth.npz          until it is done, if it was known before
                                 out/               what `redirect` writes, and the comparison

The settings name the job's own path file, so `redirect --trajectory` with that file makes the very
same video.
"""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..config.redirect import CameraSettings, RedirectSettings
from ..depth.estimator import check_depth_name
from ..geometry.trajectory_files import detect_format, read_trajectory, write_trajectory
from ..job.reshoot import OUTPUTS, check_run
from ..runtime.files import from_json, to_json, write_json
from .compare import PAGE, SOURCE
from .library import printable
from .progress import JobProgress

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
RECORD, TRAJECTORY, DEPTH, OUT = "job.json", "trajectory.json", "depth.npz", "out"


@dataclass(frozen=True)
class JobSpec:
    """What is to be made."""

    clip: Path
    trajectory: Path | Mapping[str, Any]
    """A file of any known format, or our JSON as a document."""
    settings: RedirectSettings
    """Everything else; the path named in it is not read."""
    user: str
    """Id of the visitor whose job it is."""
    name: str
    """Shown on the page."""
    render_only: bool = False
    known_depth: Path | None = None
    """Depth of the clip under these settings, if it was found already; as in `redirect`."""


@dataclass(frozen=True)
class StudioJob:
    """A job as it stood when the queue was asked."""

    id: str
    spec: JobSpec
    """Its trajectory is the file in the job's folder."""
    folder: Path
    state: State
    created: float
    """Seconds since 1970."""
    message: str = ""
    """Why it failed, in words for the visitor; else empty."""
    progress: JobProgress | None = None
    """None unless it is running."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def files(self) -> dict[str, Path]:
        """The results, source.mp4 and compare.html by name; empty until the job is done."""
        if self.state != "done":
            return {}
        out = self.folder / OUT
        return {name: out / name for name in (*OUTPUTS, SOURCE, PAGE) if (out / name).is_file()}


def make_job(spec: JobSpec, jobs: Path, created: float) -> StudioJob:
    """A new job's folder in `jobs`, waiting; nothing is left behind if it cannot be made.

    Raises:
        FileNotFoundError: no such clip, trajectory file or weights.
        ValueError: a trajectory or settings that cannot be used.
    """
    id = secrets.token_hex(16)
    folder = jobs / id
    folder.mkdir(parents=True, mode=0o700)
    try:
        path, given = folder / TRAJECTORY, spec.settings.camera
        if isinstance(spec.trajectory, Mapping):
            write_json(spec.trajectory, path)
        elif detect_format(spec.trajectory) == "json":
            shutil.copyfile(spec.trajectory, path)
        else:
            # The camera formats may hold any number of frames; our JSON is resampled as they are.
            write_trajectory(read_trajectory(spec.trajectory), path)
        camera = CameraSettings(trajectory=path, radius=given.radius, source=given.source)
        settings, name = replace(spec.settings, camera=camera), printable(spec.name, "job")
        if spec.known_depth is not None:
            # The original may be removed before the job's turn.
            known = Path(shutil.copyfile(spec.known_depth, folder / DEPTH))
            spec = replace(spec, known_depth=known)
        spec = replace(spec, trajectory=path, settings=settings, name=name)
        check_depth_name(settings.depth.depth)
        try:
            inputs = check_run(spec.clip, settings, render_only=spec.render_only)
        except ValueError as error:
            # Visitors do not see where the studio keeps its files.
            raise ValueError(str(error).replace(str(path), "the trajectory")) from error
        inputs.trajectory.check_source(inputs.frames)
        job = StudioJob(id, spec, folder, "queued", created)
        write_job(job)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return job


def write_job(job: StudioJob) -> None:
    """Write the job's record."""
    spec = job.spec
    record = {
        "id": job.id,
        "state": job.state,
        "created": job.created,
        "message": job.message,
        "user": spec.user,
        "name": spec.name,
        "clip": spec.clip,
        "render_only": spec.render_only,
        "settings": to_json(spec.settings),
    }
    write_json(record, job.folder / RECORD)


def read_job(folder: Path) -> StudioJob:
    """The job of a folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its record cannot be read, for instance another version's.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        spec = JobSpec(
            clip=Path(record["clip"]),
            trajectory=folder / TRAJECTORY,
            settings=from_json(RedirectSettings, record["settings"]),
            user=record["user"],
            name=record["name"],
            render_only=record["render_only"],
            known_depth=folder / DEPTH if (folder / DEPTH).exists() else None,
        )
        return StudioJob(
            record["id"], spec, folder, record["state"], record["created"], record["message"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / RECORD} is not a job of this version: {error!r}.") from error
