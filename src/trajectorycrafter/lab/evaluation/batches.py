"""Scores for the clips of a manifest: re-shot first, or finished videos of any method.

The one thing a reader would get wrong: the truth is brought to the size of the made video, never
the other way round, and its frame i is the truth of output frame i.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ...config.redirect import RedirectSettings
from ...depth.from_file import read_depth
from ...geometry.cameras import DEFAULT_FOV_DEG, focal_from_fov, intrinsics, static_cameras
from ...job.batch import BatchResult, How, check_batch_inputs, check_common, redirect_jobs
from ...job.batch import trajectory_words as words
from ...job.manifest import Job, read_manifest
from ...job.pipeline import TrajectoryCrafter
from ...job.reshoot import make_trajectory
from ...runtime.engine import Engine, check_engine, in_words, run_all
from ...runtime.files import to_json
from ...runtime.plugins import unknown_name
from ...runtime.run_folder import check_inputs, claim, opened, read_record
from ...source_cameras import load_source_cameras
from ...video.clip import Video
from ...video.reading import FrameChoice, probe
from .cameras import CAMERA_COLUMNS, CameraRecovery, camera_errors, load_recovery
from .metrics import METRICS, columns, score
from .records import Column, Entry, EntryLog, Evaluation, Key
from .report import write_media, write_report
from .temporal import frame_difference, warping_error

RECORD = "evaluate.json"
OURS = (RECORD, "runs", "entries.jsonl", "report.json", "report.md", "report.html", "media")
SCORES = ("psnr", "ssim", "dino", "flicker")
"""What is measured against a truth unless said otherwise."""
REGIONS = ("", "holes", "seen")
"""The whole frame, what the source camera did not see, and what it saw (re-shot clips only)."""
SCALE_FREE = (
    "cameras_found",
    "rot_err_mean_deg",
    "trans_err_mean",
    "rot_pairs_deg",
    "trans_pairs_share",
    "rpe_rot_deg",
)
"""Camera errors that a finished video can have, whose scene scale is unknown."""
OWN_COLUMNS = [
    Column("holes", "Holes", "neither", "Share of pixels that the render leaves open.", 3),
    Column("frame_difference", "Frame difference", "neither",
           "Mean |change from frame to frame|, RGB in [0, 1]; a frozen clip has 0.", 4),
    Column("warping_error_own", "Warping error, own flow", "lower",
           "MSE of a frame and the next one warped onto it by the made clip's own flow.", 5),
    Column("seconds", "Seconds", "lower",
           "Wall clock of all stages, with reading and writing; left out for a clip that was "
           "stopped and resumed.", 1),
    Column("peak_gb", "Memory (GB)", "lower", "Largest resident memory of the process."),
    Column("peak_gpu_gb", "GPU memory (GB)", "lower", "Largest allocation on the CUDA device."),
]  # fmt: skip
"""What a clip is measured by without any truth."""


@dataclass(frozen=True)
class ScoreTask:
    """What a worker is given: one finished video and what it is held against."""

    job: Job
    settings: RedirectSettings
    entry: Entry
    """Without values yet."""
    run: Path | None
    """The folder of `redirect`; None for a finished video."""
    made: Path
    metrics: tuple[str, ...]
    media: Path | None
    """The report's folder, if its players are to show this clip."""


def evaluate_manifest(
    manifest: str | Path,
    out: str | Path,
    settings: RedirectSettings | None = None,
    *,
    metrics: Sequence[str] = SCORES,
    camera_recovery: str | None = None,
    engine: Engine = "local",
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    media: bool = True,
    say: Callable[[str], None] = print,
) -> Evaluation:
    """Re-shoot the clips of a manifest, score them, and write a report into `out`.

    Lines with a `result` are scored as they are; the others are re-shot into `out/runs/<name>`. A
    clip that fails becomes an entry with its error, and the rest goes on.

    Args:
        manifest: csv or jsonl, see `job.manifest.read_manifest`.
        settings: of all clips; what a line says takes its place.
        metrics: names of `METRICS`, for lines with a `target`.
        camera_recovery: also compare the cameras found in the made videos with those asked for;
            a name of `cameras.NAMES`.
        overwrite, resume: as for `job.batch.redirect_all`.
        media: keep what was compared for the report's players.
        say: gets a line per clip.

    Raises:
        FileNotFoundError: no such manifest or weights.
        ValueError: lines that cannot be used, an unknown metric or recovery, or `out` is taken.
    """
    began, settings, out = time.monotonic(), settings or RedirectSettings(), Path(out)
    jobs = read_manifest(manifest)
    to_make = [job for job in jobs if job.result is None]
    check_engine(engine, workers)
    _check_names(metrics, camera_recovery)
    if to_make:
        check_common(to_make, settings)
    check_batch_inputs(jobs, out / "runs", settings, Path(manifest))
    check_inputs([out], OURS, [Path(manifest)])
    chosen = {"metrics": [*metrics], "camera_recovery": camera_recovery}
    depends = {"settings": to_json(settings)} | chosen
    earlier = read_record(opened(out) / RECORD)
    again: dict[str, Any] = {"overwrite": overwrite, "resume": resume}
    folder = claim(out, RECORD, depends, ours=OURS, held="an evaluation", **again)
    work = folder.work
    log = EntryLog(work / "entries.jsonl", new=not resume or earlier != depends)
    entries, made = blank_entries(jobs, settings), BatchResult([])
    options: dict[str, Any] = {"engine": engine, "workers": workers}
    if to_make:
        how = How(overwrite, resume)
        made = redirect_jobs(to_make, work / "runs", settings, how, say=say, **options)
    for record in made.failed:
        log.add(replace(entries[record.name], error=record.error))
    done, failed = log.done, {record.name for record in made.failed}
    tasks, shown = [], work if media else None
    for job in jobs:
        entry, run = entries[job.name], work / "runs" / job.name
        if job.name not in failed and (entry.key not in done or job.name in made.made):
            place = (run, run / "video.mp4") if job.result is None else (None, job.result)
            whole = job.settings(settings)
            tasks.append(ScoreTask(job, whole, entry, *place, tuple(metrics), shown))
    setup = partial(load_recovery, camera_recovery) if camera_recovery else None
    options = {"engine": engine, "workers": min(workers, max(1, len(tasks))), "setup": setup}
    results = run_all(_score, tasks, describe=lambda task: task.job.name, **options)
    for task, found in tqdm(results, "Scores", len(tasks), delay=1, leave=False):
        ended = found if isinstance(found, Entry) else replace(task.entry, error=in_words(found))
        log.add(ended)
        with tqdm.external_write_mode():
            outcome = "done" if ended.error is None else f"failed: {ended.error}"
            say(f"scores of {task.job.name}: {outcome}")
    latest = {entry.key: entry for entry in log.entries}
    about = {"manifest": str(manifest), **depends, "seconds": round(time.monotonic() - began, 1)}
    scored = [latest[entries[job.name].key] for job in jobs]
    known = manifest_columns(metrics, camera_recovery is not None)
    evaluation = Evaluation("manifest", known, scored, about=about)
    write_report(evaluation, work)
    folder.finish()
    return evaluation


def _check_names(metrics: Sequence[str], camera_recovery: str | None) -> None:
    for name in metrics:
        if name not in METRICS:
            raise ValueError(unknown_name(name, "metric", METRICS))
    if camera_recovery is not None:
        load_recovery(camera_recovery)


def manifest_columns(metrics: Iterable[str], cameras: bool) -> list[Column]:
    """What `evaluate_manifest` may measure of a clip, in the order of a table."""
    known = columns((METRICS[name] for name in metrics), REGIONS)
    return [*known, *OWN_COLUMNS, *(CAMERA_COLUMNS if cameras else [])]


def blank_entries(jobs: list[Job], settings: RedirectSettings) -> dict[str, Entry]:
    """Each job's entry before it is scored, by the job's name; no two have the same key.

    The same clip under two methods has one name in both, so that rows can be compared.
    """
    stems: dict[str, list[Path]] = {}
    for job in jobs:
        same = stems.setdefault(job.clip.stem, [])
        if job.clip not in same:
            same.append(job.clip)
    entries: dict[str, Entry] = {}
    taken: set[Key] = set()
    for job in jobs:
        number = stems[job.clip.stem].index(job.clip) + 1
        clip = job.clip.stem if number == 1 else f"{job.clip.stem} ({number})"
        row = job.row or (settings.generator.model if job.result is None else "result")
        entry = Entry(row, clip, {"trajectory": words(job, settings) or "not given"})
        if entry.key in taken:
            entry = replace(entry, clip=f"{clip}: {job.name}")
        taken.add(entry.key)
        entries[job.name] = entry
    return entries


# --------------------------------------------------------------------------------------- one clip


def _score(task: ScoreTask, recovery: CameraRecovery | None = None) -> Entry:
    """All numbers of one made video."""
    made = Video.read(task.made)
    values = {
        "frame_difference": frame_difference(made.frames),
        "warping_error_own": warping_error(made.frames),
    }
    values = {name: value for name, value in values.items() if value == value}  # not of one frame
    regions: dict[str, Any] = {"": None}
    if task.run is not None:
        values |= _run_costs(task.run)
        visible = Video.read(task.run / "mask.mp4").frames.mean(dim=1, keepdim=True) > 0.5
        regions |= {"holes": ~visible, "seen": visible}
    true = None
    if task.job.target is not None:
        true = read_truth(task.job.target, made, task.settings)
        chosen = [METRICS[name] for name in task.metrics]
        values |= score(made.frames, true.frames, chosen, regions)
    if recovery is not None:
        values |= _camera_values(task, made, recovery)
    shown = {}
    if task.media is not None:
        clip, entry = task.settings.clip, task.entry
        frames, size = clip.frames or None, (made.height, made.width)
        choice = FrameChoice(clip.start, clip.stride, frames, True, size, fit=clip.fit)
        source = Video.read(task.job.clip, choice)
        shown = write_media(task.media, entry.clip, entry.row, made, true, source, entry.group)
    return replace(task.entry, values=values, media=shown)


def read_truth(path: Path, made: Video, settings: RedirectSettings) -> Video:
    """The true video at the made one's size, frame for frame.

    One that has exactly as many frames is taken from its first to its last; of a longer one, the
    frames that `start` and `stride` choose, as they chose the source's.

    Raises:
        ValueError: it cannot be read, or has too few frames.
    """
    clip, size = settings.clip, (made.height, made.width)
    alike = probe(path).frames == len(made)
    start, stride = (0, 1) if alike else (clip.start, clip.stride)
    return Video.read(path, FrameChoice(start, stride, len(made), size=size, fit=clip.fit))


def _run_costs(run: Path) -> dict[str, float]:
    """What `run.json` records."""
    record = json.loads((run / "run.json").read_text())
    costs, holes = record["stages"], record["holes"]
    values = {"holes": sum(holes) / len(holes)}
    if "depth" in costs:  # else it was read from a stopped run, whose seconds nobody has
        values["seconds"] = sum(cost["seconds"] for cost in costs.values())
    for name in ("peak_gb", "peak_gpu_gb"):
        peak = max((cost[name] or 0.0 for cost in costs.values()), default=0.0)
        if peak or name == "peak_gb":
            values[name] = peak
    return values


def _camera_values(task: ScoreTask, made: Video, recovery: CameraRecovery) -> dict[str, float]:
    """Errors of the cameras found in the made video; none if no path is known."""
    camera, depth_settings = task.settings.camera, task.settings.depth
    size = made.height, made.width
    if task.run is not None:  # the cameras that `redirect` rendered for
        depth = read_depth(task.run / "depth.npz")
        like_source = Video(depth.z.expand(-1, 3, -1, -1), made.fps)  # only its size is asked for
        source = load_source_cameras(f"file:{task.run / 'depth.npz'}")(like_source, depth)
        trajectory = make_trajectory(camera, len(depth), task.settings.way)
        radius = TrajectoryCrafter(settings=task.settings).radius(depth)
        asked = trajectory.cameras(source, radius).resized(*size)
        return camera_errors(recovery(made, asked.K), asked)
    if not words(task.job, task.settings):
        return {}
    # The path in a scene of the given radius, else 1, filmed by a camera that stood still.
    fov = DEFAULT_FOV_DEG if depth_settings.fov is None else depth_settings.fov
    K = intrinsics(focal_from_fov(fov, made.width), *size, len(made))
    trajectory = make_trajectory(camera, len(made), task.settings.way)
    asked = trajectory.cameras(static_cameras(K, *size), camera.radius or 1.0)
    return camera_errors(recovery(made, None), asked, SCALE_FREE)
