"""The job: a clip and a camera path in, a folder with the re-shot video and all that led to it out.

The one thing a reader would get wrong: everything is written into `out/.partial`
(`runtime/run_folder.py`), where `run.json` says "running"; it takes the place of an earlier run's
files when all is done.
"""

import platform
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from ..config.redirect import PIXELS, WINDOW, CameraSettings, RedirectSettings
from ..config.serialization import to_json
from ..depth.from_file import write_depth
from ..depth.scene_scale import check_ranges
from ..geometry.modes import with_mode
from ..geometry.presets import preset
from ..geometry.trajectories import Trajectory
from ..geometry.trajectory_files import read_trajectory, write_trajectory
from ..rendering.render import coverage
from ..runtime.files import write_json
from ..runtime.machine import measured_gflops, pick_device, pick_dtype
from ..runtime.run_folder import check_inputs, claim, difference, read_record, settle
from ..runtime.stages import Stages
from ..video import pictures
from ..video.clip import Video
from ..video.reading import FrameChoice, VideoInfo, clip_path, probe
from .generation import check_model, windows
from .pipeline import DEPTH_FILE, TrajectoryCrafter
from .plan import Estimate, coverage_bar, duration, estimate
from .shot import Result, Shot

OUTPUTS = (
    "video.mp4",
    "render.mp4",
    "mask.mp4",
    "depth.mp4",
    "depth.npz",
    "comparison.mp4",
    "trajectory.json",
    "path.png",
    "run.json",
)
RECORD = "run.json"
DEPENDS = ("input", "settings", "render_only")
"""Entries of the record in which a run that goes on must agree with the one before."""
SMALLEST = 32
"""Pixels a side; less cannot hold a scene."""

Say = Callable[[str], None]


def redirect(
    clip: str | Path,
    out: str | Path,
    settings: RedirectSettings | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    render_only: bool = False,
    crafter: TrajectoryCrafter | None = None,
    known_depth: Path | None = None,
    say: Say = print,
) -> Path:
    """Re-shoot a clip and write everything into the folder `out`.

    Args:
        clip: a video, a folder of images, an image, or the word `demo` for the clip in the package.
        out: made if need be; gets the files of `OUTPUTS`.
        overwrite: replace the outputs of an earlier run, when this one is whole.
        resume: go on with an earlier run of the same clip and settings that was stopped.
        render_only: stop before the generator; needs no weights.
        crafter: does the work, with its own settings in place of `settings`; one that has loaded
            its parts need not load them again.
        known_depth: the `depth.npz` of an earlier run of this clip with these settings, or the
            like; saves estimating it anew.
        say: told the plan and the stages, a line each.

    Returns:
        The new video (the render if `render_only`).

    Raises:
        FileNotFoundError: no such clip, trajectory or weights.
        ValueError: input that cannot be used, or `out` is taken or holds what is read.
        OSError: `out` cannot be written.
    """
    settings = crafter.settings if crafter is not None else settings or RedirectSettings()
    source, out = clip_path(clip), Path(out)
    check_inputs([out], OUTPUTS, inputs_of(source, settings))
    choice = check_run(source, settings, render_only=render_only)
    crafter = crafter or TrajectoryCrafter(settings=settings)
    record = new_record(source, settings, render_only)
    made = out / ("render.mp4" if render_only else "video.mp4")
    if resume and is_done(out, record):
        say(f"done before: {out}")
        return made
    folder = claim(
        out,
        RECORD,
        record,
        ours=OUTPUTS,
        held="a run",
        free=[key for key in record if key not in DEPENDS],
        overwrite=overwrite,
        resume=resume,
    )
    stages = Stages(folder.stages, lambda name: say(f"  {name}"))
    if known_depth is not None:
        stages.offer(DEPTH_FILE, known_depth)
    try:
        _run(crafter, source, choice, folder.work, record, stages, render_only, say)
        folder.finish()
    except (ValueError, FileNotFoundError):
        # Wrong input is put right and run again: nothing of this run is worth keeping.
        folder.discard()
        raise
    say(f"done in {duration(sum(cost.seconds for cost in stages.costs.values()))}: {out}")
    return made


def _run(
    crafter: TrajectoryCrafter,
    source: Path,
    choice: FrameChoice,
    out: Path,
    record: dict[str, Any],
    stages: Stages,
    render_only: bool,
    say: Say,
) -> None:
    """The stages in their order, their files into `out`; see `redirect`."""
    settings = crafter.settings
    video = stages.run("read", lambda: Video.read(source, choice))
    trajectory = make_trajectory(settings.camera, len(video), settings.parity)
    for warning in check_ranges(trajectory):
        say(f"  note: {warning}")
    say(_plan(video, trajectory, crafter, render_only))
    shot = crafter.shoot(video, trajectory, stages)
    holes = coverage(shot.view).tolist()
    say(_coverage_line(holes))
    _write_shot(shot, out, stages)
    result = None
    if not render_only:
        result = crafter.complete(shot, stages)
        stages.run("write", lambda: _write_result(result, out))
    _finish(out, record, stages, shot, holes, result)


def check_run(clip: Path, settings: RedirectSettings, *, render_only: bool = False) -> FrameChoice:
    """Say before long work what is wrong with a run; the frames that it will read.

    Raises:
        FileNotFoundError: no such clip, trajectory or weights.
        ValueError: input that cannot be used.
    """
    info = probe(clip)
    choice = frame_choice(info, settings)
    make_trajectory(settings.camera, expected_frames(info, choice), settings.parity)
    pick_dtype(settings.machine.dtype, pick_device(settings.machine.device))
    if not render_only:
        check_model(settings)
    return choice


def frame_choice(info: VideoInfo, settings: RedirectSettings) -> FrameChoice:
    """Which frames to decode, and at which size.

    Raises:
        ValueError: a clip too small to show a scene, or a size that cannot be worked at.
    """
    chosen, parity = settings.clip, settings.parity
    if min(info.height, info.width) < SMALLEST:
        raise ValueError(
            f"The clip is {info.width}x{info.height} pixels; at least {SMALLEST} a side are needed."
        )
    own = default_size(info.height, info.width)
    height, width = (576, 1024) if parity else chosen.size or own
    if min(height, width) < SMALLEST or height % 2 or width % 2:
        raise ValueError(
            f"Expected --size with two even numbers of at least {SMALLEST}, got {height} {width}; "
            f"this clip's own shape would be {own[0]} {own[1]}."
        )
    return FrameChoice(
        start=chosen.start,
        stride=chosen.stride,
        count=chosen.frames or None,
        shorter_ok=True,
        size=(height, width),
        fit="stretch" if parity else chosen.fit,
    )


def expected_frames(info: VideoInfo, choice: FrameChoice) -> int:
    """How many frames the choice will give, as far as the file's own count can be trusted."""
    there = max(1, len(range(choice.start, info.frames, choice.stride)))
    return there if choice.count is None else min(there, choice.count)


def default_size(height: int, width: int) -> tuple[int, int]:
    """The clip's shape at about 384x672 pixels in all, sides in multiples of 16."""
    scale = sqrt(PIXELS / (height * width))
    return max(2, round(height * scale / 16)) * 16, max(2, round(width * scale / 16)) * 16


def make_trajectory(camera: CameraSettings, frames: int, parity: bool = False) -> Trajectory:
    """The path that the settings name, for a clip of `frames` frames.

    A still picture (one frame) is shown for a whole window, since time stands still in it.

    Raises:
        ValueError: none or more than one way to name the path, an unknown preset, a wrong file.
    """
    named = [
        name for name in ("camera", "target", "trajectory") if getattr(camera, name) is not None
    ]
    if len(named) != 1:
        raise ValueError(
            "Expected one of --camera PRESET, --target FIVE NUMBERS, --trajectory FILE; got "
            + (" and ".join(f"--{name}" for name in named) or "none")
            + "."
        )
    count = frames if frames > 1 else WINDOW
    if camera.target is not None:
        path = Trajectory.from_target(*camera.target, frames=count, ease=camera.ease)
    elif camera.trajectory is not None:
        path = read_trajectory(
            camera.trajectory, count, interpolation="smoothing" if parity else "spline"
        )
    else:
        assert camera.camera is not None
        path = preset(
            camera.camera,
            count,
            camera.amount,
            source_frames=frames,
            moment=camera.moment,
            ease=camera.ease,
        )
    if frames == 1:
        return with_mode(path, "bullet", 1)
    if camera.mode is None:
        return path
    return with_mode(path, camera.mode, frames, moment=camera.moment, couple_dolly=not parity)


def planned(
    settings: RedirectSettings,
    source_frames: int,
    frames: int,
    size: tuple[int, int],
    *,
    render_only: bool = False,
    gflops: float | None = None,
) -> list[Estimate]:
    """Seconds and memory of a run's long stages on this machine.

    Args:
        source_frames: frames of the clip that are read.
        frames: frames that are made.
        size: height and width.
        render_only: stop before the generator.
        gflops: matrix speed, 1e9 operations a second; default: measured now, in a fraction of a
            second.

    Raises:
        ValueError: a device that this machine has not got.
    """
    device = pick_device(settings.machine.device)
    dtype = pick_dtype(settings.machine.dtype, device)
    generator = settings.generator
    return estimate(
        source_frames=source_frames,
        frames=frames,
        height=size[0],
        width=size[1],
        depth=settings.depth.depth,
        generator=None if render_only else generator.family,
        steps=generator.denoising_steps,
        guided=generator.guidance > 1,
        reference=generator.reference,
        windows=len(windows(frames)),
        gflops=gflops or measured_gflops(device, dtype),
        bytes_per_number=dtype.itemsize,
    )


def _plan(
    video: Video, trajectory: Trajectory, crafter: TrajectoryCrafter, render_only: bool
) -> str:
    """What will be done and what it will take, before anything long begins."""
    frames, size = len(trajectory), (video.height, video.width)
    gflops = measured_gflops(crafter.device, crafter.dtype)
    steps = planned(
        crafter.settings, len(video), frames, size, render_only=render_only, gflops=gflops
    )
    lines = [
        f"plan: {frames} frames of {video.width}x{video.height} at {video.fps:g} per second, "
        f"from {len(video)} source frames; {crafter.settings.generator.model} on {crafter.device} "
        f"({str(crafter.dtype).removeprefix('torch.')}, {gflops:.0f} GFLOP/s)"
    ]
    lines += [f"  {s.stage}: about {duration(s.seconds)}, {s.gigabytes:.1f} GB" for s in steps]
    return "\n".join(lines)


def _coverage_line(holes: list[float]) -> str:
    mean, worst = sum(holes) / len(holes), max(holes)
    return (
        f"  holes: {mean:.0%} of the pixels on average, {worst:.0%} in the worst frame "
        f"(over time: |{coverage_bar(holes)}|)"
    )


def new_record(source: Path, settings: RedirectSettings, render_only: bool) -> dict[str, Any]:
    """What the run depends on, and where it runs."""
    packages = ("trajectorycrafter", "torch", "diffusers", "transformers", "av", "numba")
    return {
        "status": "running",
        **what_it_depends_on(source, settings, render_only),
        "seed": settings.generator.seed,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "machine": {"system": platform.platform(), "threads": torch.get_num_threads()},
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def what_it_depends_on(
    source: Path, settings: RedirectSettings, render_only: bool
) -> dict[str, Any]:
    """The entries of a record by which two runs are the same."""
    stat = source.stat()
    return {
        "input": {
            "path": str(source),
            "bytes": stat.st_size,
            "modified": datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(),
        },
        "settings": to_json(settings),
        "render_only": render_only,
    }


def is_done(out: Path, record: dict[str, Any]) -> bool:
    """Whether `out` holds the finished run that `record` is of, with all its files."""
    settle(out)
    found = read_record(out / RECORD)
    if found is None or found.get("status") != "done" or not same_run(found, record):
        return False
    return all((out / name).exists() for name in found.get("outputs", []))


def same_run(found: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether two records are of the same clip and settings."""
    return difference(found, {key: record[key] for key in DEPENDS}) is None


def inputs_of(clip: Path, settings: RedirectSettings) -> list[Path]:
    """The files and folders that a run reads, as far as they are the user's own."""
    camera, machine = settings.camera, settings.machine
    named = [settings.depth.depth, camera.source]
    files = [Path(name.removeprefix("file:")) for name in named if name.startswith("file:")]
    model = Path(settings.generator.model)
    found = [clip, *files, camera.trajectory, machine.weights, model if model.is_dir() else None]
    return [path.expanduser() for path in found if path is not None]


def _write_shot(shot: Shot, out: Path, stages: Stages) -> None:
    """What is known before the generator: everything a user wants to see while it works."""

    def write() -> None:
        fps = shot.video.fps
        Video(shot.view.frames, fps).write(out / "render.mp4", overwrite=True)
        mask = shot.view.visible.float().expand(-1, 3, -1, -1)
        Video(mask, fps).write(out / "mask.mp4", overwrite=True)
        Video(pictures.colorize_depth(shot.depth), fps).write(out / "depth.mp4", overwrite=True)
        write_depth(shot.depth, out / "depth.npz", shot.source)
        write_trajectory(shot.trajectory, out / "trajectory.json")
        pictures.plot_trajectory(shot.cameras, shot.source, out / "path.png", _some_points(shot))

    stages.run("write the render", write)


def _some_points(shot: Shot, count: int = 4000) -> torch.Tensor:
    """A thin choice of the first moment's points, for the picture of the path."""
    points = shot.cloud.points[0][shot.cloud.valid[0]]
    return points[:: max(1, len(points) // count)]


def _write_result(result: Result, out: Path) -> None:
    shot = result.shot
    result.video.write(out / "video.mp4", overwrite=True)
    shown = shot.video[shot.source_frame]
    panels = [shown.frames, shot.view.frames, result.video.frames]
    comparison = pictures.side_by_side(panels, ["source", "render", "result"])
    Video(comparison, result.video.fps).write(out / "comparison.mp4", overwrite=True)


def _finish(
    out: Path,
    record: dict[str, Any],
    stages: Stages,
    shot: Shot,
    holes: list[float],
    result: Result | None,
) -> None:
    """Complete run.json."""
    record |= {
        "status": "done",
        "frames": len(shot.view),
        "height": shot.view.frames.shape[2],
        "width": shot.view.frames.shape[3],
        "fps": shot.video.fps,
        "prompt": None if result is None else result.caption,
        "holes": [round(share, 5) for share in holes],
        "stages": {name: asdict(cost) for name, cost in stages.costs.items()},
        "outputs": [name for name in OUTPUTS if (out / name).exists()],
    }
    write_json(record, out / RECORD)
