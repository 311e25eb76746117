"""The job over a manifest: every clip re-shot into its own folder; a failure stops no other.

The one thing a reader would get wrong: `batch.json` tells how things stand, but resuming does not
trust it; whether a clip is done is read from its own `run.json`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from ..config.redirect import RedirectSettings
from ..depth.estimator import check_depth_name
from ..runtime.engine import Engine, check_engine, in_words, run_all
from ..runtime.files import write_json
from ..runtime.machine import pick_device, pick_dtype
from ..runtime.run_folder import check_claim, check_inputs, read_record, unfinished
from .generation import check_model
from .manifest import Job, path_words, read_manifest
from .pipeline import TrajectoryCrafter
from .plan import duration
from .reshoot import OUTPUTS, RECORD, inputs_of, is_done, redirect, same_run, what_it_depends_on

BOARD = "batch.json"

Say = Callable[[str], None]
Status = Literal["waiting", "running", "done", "failed", "stopped"]


@dataclass(frozen=True)
class Record:
    """How one job stands."""

    name: str
    clip: str
    trajectory: str
    status: Status = "waiting"
    seconds: float | None = None
    """Wall time of the attempt that ended; None before, and for a job found done."""
    error: str | None = None


@dataclass(frozen=True)
class BatchResult:
    """How all jobs of a batch ended."""

    records: list[Record]
    """In the manifest's order."""
    made: frozenset[str] = frozenset()
    """Names of the jobs that were done now, not found done."""

    @property
    def failed(self) -> list[Record]:
        return [record for record in self.records if record.status == "failed"]

    @property
    def done(self) -> list[Record]:
        return [record for record in self.records if record.status == "done"]


@dataclass(frozen=True)
class How:
    """What happens to earlier results, and how far the work goes; as in `redirect_all`."""

    overwrite: bool = False
    resume: bool = False
    render_only: bool = False


@dataclass(frozen=True)
class Task:
    """What a worker gets: one clip, its settings and its folder."""

    name: str
    clip: Path
    folder: Path
    settings: RedirectSettings
    how: How
    known_depth: Path | None = None
    """As in `redirect`."""

    @property
    def depends(self) -> dict[str, Any]:
        """The entries of a record by which a run is one of this task."""
        return what_it_depends_on(self.clip, self.settings, self.how.render_only)


def redirect_all(
    manifest: str | Path,
    out: str | Path,
    settings: RedirectSettings | None = None,
    *,
    engine: Engine = "local",
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    render_only: bool = False,
    say: Say = print,
) -> BatchResult:
    """Re-shoot every clip of a manifest into `out/<name>/`, and keep `out/batch.json`.

    A clip that fails is recorded with its error and the rest goes on: see `failed` of the result.
    Lines with a `result` have their video already and are left alone.

    Args:
        manifest: csv or jsonl, see `manifest.read_manifest`.
        settings: of all clips; a line's trajectory, prompt and depth replace theirs.
        workers: clips at a time.
        overwrite: replace an earlier batch. With `resume`: make again what was made with other
            settings, instead of calling it a failure.
        resume: leave what is done with equal settings, go on with what was stopped.
        render_only: stop before the generator; needs no weights.
        say: called with a line per clip.

    Raises:
        FileNotFoundError: no such manifest or weights.
        ValueError: lines that cannot be used, settings that no clip can have, or `out` is taken.
    """
    settings, out = settings or RedirectSettings(), Path(out)
    jobs = [job for job in read_manifest(manifest) if job.result is None]
    if not jobs:
        raise ValueError(f"All lines of {manifest} have a result; there is nothing to make.")
    check_engine(engine, workers)
    check_common(jobs, settings, render_only)
    check_claim(out, BOARD, "a batch", overwrite=overwrite, resume=resume)
    check_batch_inputs(jobs, out, settings, Path(manifest))
    how = How(overwrite, resume, render_only)
    return redirect_jobs(jobs, out, settings, how, engine=engine, workers=workers, say=say)


def redirect_jobs(
    jobs: list[Job],
    out: Path,
    settings: RedirectSettings,
    how: How,
    *,
    engine: Engine,
    workers: int,
    say: Say = print,
) -> BatchResult:
    """`redirect_all` for jobs that were read and a folder that was checked."""
    tasks = [Task(job.name, job.clip, out / job.name, job.settings(settings), how) for job in jobs]
    found = {task.name for task in tasks if how.resume and task_is_done(task)}
    open_tasks = [task for task in tasks if task.name not in found]
    records: dict[str, Record] = {}
    for job in jobs:
        status: Status = "done" if job.name in found else "waiting"
        records[job.name] = Record(job.name, str(job.clip), trajectory_words(job, settings), status)
    counts = f"{len(found)} done before, {len(open_tasks)} to do"
    say(f"{len(tasks)} clips: {counts}; {workers} at a time")
    board = _Board(out / BOARD, records)
    board.write()
    try:
        results = run_all(
            redirect_task,
            board.started(open_tasks),
            engine=engine,
            workers=workers,
            setup=LoadedModels,
            describe=lambda task: task.name,
        )
        for task, result in tqdm(results, "Clips", len(open_tasks), delay=1, leave=False):
            record = board.ended(task, result)
            took = duration(record.seconds or 0)
            with tqdm.external_write_mode():
                error = "" if record.error is None else f": {record.error}"
                say(f"{task.name}: {record.status} in {took}{error}")
    finally:
        board.stop()
    result = BatchResult([records[job.name] for job in jobs], frozenset(board.made))
    say(f"{len(result.done)} done, {len(result.failed)} failed: {out}")
    return result


def check_common(jobs: list[Job], settings: RedirectSettings, render_only: bool = False) -> None:
    """Checks before any work what all clips need.

    Raises:
        FileNotFoundError: no weights.
        ValueError: an unknown estimator, device or model, or lines without any camera path.
    """
    check_depth_name(settings.depth.depth)
    pick_dtype(settings.machine.dtype, pick_device(settings.machine.device))
    if not render_only:
        check_model(settings)
    without = [str(job.line) for job in jobs if not job.path_text]
    if without and not settings.camera.named:
        raise ValueError(
            f"No trajectory in line {', '.join(without)}; fill the column `trajectory`, or give "
            "--camera, --target or --trajectory for all lines without one."
        )


def check_batch_inputs(
    jobs: list[Job], out: Path, settings: RedirectSettings, manifest: Path
) -> None:
    """Raises ValueError if a clip's results would replace what this or another clip reads."""
    inputs = [manifest]
    for job in jobs:
        inputs += inputs_of(job.clip, job.settings(settings))
        inputs += [path for path in (job.target, job.result) if path is not None]
    check_inputs([out / job.name for job in jobs if job.result is None], OUTPUTS, inputs)
    check_inputs([out], [BOARD], inputs)


def task_is_done(task: Task) -> bool:
    """Whether the folder holds the finished run of this very task."""
    return is_done(task.folder, task.depends)


@dataclass
class LoadedModels:
    """What a worker keeps from clip to clip: the loaded models."""

    crafter: TrajectoryCrafter | None = None


def redirect_task(task: Task, parts: LoadedModels, on_stage: Say | None = None) -> None:
    """One clip, in whichever process; goes on with what an earlier attempt left in its folder.

    Args:
        parts: kept from the clip before, and left for the next one.
        on_stage: called with the name of each stage as it begins.

    Raises:
        FileNotFoundError, ValueError, OSError: as `redirect`.
    """
    resume, overwrite = False, task.how.overwrite
    stopped, ended = unfinished(task.folder, RECORD), read_record(task.folder / RECORD)
    if task.how.resume and (stopped is not None or ended is not None):
        if stopped is not None and same_run(stopped, task.depends):
            resume, overwrite = True, False
        elif ended is not None and same_run(ended, task.depends):
            resume, overwrite = False, True  # done, but not whole: files were removed
        else:
            resume = not overwrite  # With other settings, redirect itself says what differs.
    kept = parts.crafter or TrajectoryCrafter(settings=task.settings)
    parts.crafter = kept.with_settings(task.settings)
    redirect(
        task.clip,
        task.folder,
        crafter=parts.crafter,
        overwrite=overwrite,
        resume=resume,
        render_only=task.how.render_only,
        known_depth=task.known_depth,
        say=lambda line: None,
        on_stage=on_stage,
    )


def trajectory_words(job: Job, common: RedirectSettings) -> str:
    """The camera path of a job as a manifest names it, a file by its name; empty if unknown."""
    camera = job.settings(common).camera
    file = None if camera.trajectory is None else camera.trajectory.name
    return path_words(camera.camera, camera.amount, camera.target, file)


class _Board:
    """The records of a batch, on disk after every change."""

    def __init__(self, path: Path, records: dict[str, Record]):
        self.path, self.records = path, records
        self.made: set[str] = set()
        self._began: dict[str, float] = {}

    def write(self) -> None:
        records = self.records.values()
        counts = {"done": 0, "failed": 0} | Counter(record.status for record in records)
        write_json({"counts": counts, "jobs": [asdict(record) for record in records]}, self.path)

    def started(self, tasks: list[Task]) -> Iterator[Task]:
        """The tasks, each marked as a worker takes it."""
        for task in tasks:
            self._began[task.name] = time.monotonic()
            self._change(task.name, status="running", seconds=None, error=None)
            yield task

    def ended(self, task: Task, result: Exception | None) -> Record:
        seconds = round(time.monotonic() - self._began.pop(task.name), 3)
        if isinstance(result, Exception):
            return self._change(task.name, status="failed", seconds=seconds, error=in_words(result))
        self.made.add(task.name)
        return self._change(task.name, status="done", seconds=seconds)

    def stop(self) -> None:
        """What is still running was stopped."""
        for name in list(self._began):
            self._change(name, status="stopped")

    def _change(self, name: str, **changes: Any) -> Record:
        self.records[name] = replace(self.records[name], **changes)
        self.write()
        return self.records[name]
