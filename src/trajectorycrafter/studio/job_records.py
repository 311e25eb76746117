"""Jobs on disk: one folder each, which says what it is and how it stands.

    ROOT/users/<user>/jobs/<job>/job.json           the job and its state
                                 trajectory.json    the camera path, our JSON
                                 depth.npz          until it is done, if it was known before
                                 out/               what `redirect` writes, and the comparison

The one thing a reader would get wrong: the path of a job is a file of its own. The settings name
it, so `redirect --trajectory` with that file makes the very same video.
"""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..config.redirect import CameraSettings, RedirectSettings
from ..config.serialization import from_json, to_json
from ..depth.estimator import check_depth_name
from ..geometry.trajectory_files import detect_format, read_trajectory, write_trajectory
from ..job.reshoot import OUTPUTS, check_run
from ..runtime.files import write_json
from .compare import PAGE, SOURCE
from .progress import JobProgress

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
RECORD, TRAJECTORY, DEPTH, OUT = "job.json", "trajectory.json", "depth.npz", "out"


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
    known_depth: Path | None = None
    """Depth of the clip under these settings, if it was found already; as `redirect` has it."""


@dataclass(frozen=True)
class StudioJob:
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
    progress: JobProgress | None = None
    """Of a running job."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def files(self) -> dict[str, Path]:
        """What can be downloaded, by name: video.mp4, render.mp4, mask.mp4, depth.npz, ..., also
        source.mp4 and compare.html. Empty until the job is done."""
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
        path = _keep_trajectory(spec, folder)
        camera = CameraSettings(
            trajectory=path, radius=spec.settings.camera.radius, source=spec.settings.camera.source
        )
        settings = replace(spec.settings, camera=camera)
        known = None if spec.known_depth is None else folder / DEPTH
        if spec.known_depth is not None and known is not None:
            shutil.copyfile(spec.known_depth, known)  # the original may go before the job's turn
        spec = replace(
            spec, trajectory=path, settings=settings, name=_plain(spec.name), known_depth=known
        )
        _check(spec)
        job = StudioJob(id, spec, folder, "queued", created)
        write_job(job)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return job


def _keep_trajectory(spec: JobSpec, folder: Path) -> Path:
    """The path as the job's own file."""
    path = folder / TRAJECTORY
    if isinstance(spec.trajectory, Mapping):
        write_json(spec.trajectory, path)
    elif detect_format(spec.trajectory) == "json":
        shutil.copyfile(spec.trajectory, path)
    else:
        # The camera formats may hold any number of frames; our JSON is resampled as they are.
        write_trajectory(read_trajectory(spec.trajectory), path)
    return path


def _check(spec: JobSpec) -> None:
    """Raises before any work what would stop the job, as `make_job` says."""
    check_depth_name(spec.settings.depth.depth)
    try:
        inputs = check_run(spec.clip, spec.settings, render_only=spec.render_only)
    except ValueError as error:
        # Where the studio keeps its files is nothing to a visitor.
        kept = str(spec.trajectory)
        raise ValueError(str(error).replace(kept, "the trajectory")) from error
    inputs.trajectory.check_source(inputs.frames)


def _plain(name: str) -> str:
    return "".join(c for c in name if c.isprintable()).strip()[:80] or "job"


# ----------------------------------------------------------------------------------------- on disk


def write_job(job: StudioJob) -> None:
    """Write the job's record, whole."""
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
