"""The job: a clip and a camera path in, a folder with the re-shot video and all that led to it out.

The one thing a reader would get wrong: everything is written into `out/.partial`
(`runtime/run_folder.py`), where `run.json` says "running"; it takes the place of an earlier run's
files when all is done.
"""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from ..config.redirect import PIXELS, QUALITY, WINDOW, CameraSettings, RedirectSettings, Way
from ..geometry.modes import with_mode
from ..geometry.presets import preset
from ..geometry.trajectories import Trajectory, check_ranges
from ..geometry.trajectory_files import read_trajectory, write_trajectory
from ..rendering.render import hole_share
from ..rendering.shot import Shot
from ..runtime.files import to_json, write_json
from ..runtime.machine import measured_gflops, pick_device, pick_dtype
from ..runtime.run_folder import check_inputs, claim, difference, read_record, settle
from ..runtime.stages import Stages
from ..video import pictures
from ..video.clip import Video
from ..video.depth_npz import write_depth
from ..video.reading import FrameChoice, VideoInfo, clip_path, probe
from ..video.sound import Sound
from .generation import check_model
from .pipeline import DEPTH_FILE, Result, TrajectoryCrafter
from .plan import duration, hole_bar, planned

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
PLOTTED_POINTS = 4000
SMALLEST = 32
"""Pixels a side; less cannot hold a scene."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class RunInputs:
    """What a run reads and where its camera goes, settled before it begins."""

    clip: Path
    info: VideoInfo
    choice: FrameChoice
    frames: int
    """Frames that the choice will give, as far as the file's own count can be trusted."""
    trajectory: Trajectory


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
    on_stage: Callable[[str], object] | None = None,
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
            like; saves estimating it again.
        say: called with the plan and the stages, a line each.
        on_stage: called with the name of each stage as it begins, see `runtime/stages.py`.

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
    inputs = check_run(source, settings, render_only=render_only)
    crafter = crafter or TrajectoryCrafter(settings=settings)
    packages = ("trajectorycrafter", "torch", "diffusers", "transformers", "av", "numba")
    record: dict[str, Any] = {
        "status": "running",
        **what_it_depends_on(source, settings, render_only),
        "seed": settings.generator.seed,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "machine": {"system": platform.platform(), "threads": torch.get_num_threads()},
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    made = out / ("render.mp4" if render_only else "video.mp4")
    if resume and is_done(out, record):
        say(f"done before: {out}")
        return made
    free = [key for key in record if key not in DEPENDS]
    how: dict[str, Any] = {"overwrite": overwrite, "resume": resume}
    folder = claim(out, RECORD, record, ours=OUTPUTS, held="a run", free=free, **how)

    def begin(name: str, taken: bool) -> None:
        say(f"  {name}: taken from the earlier run" if taken else f"  {name}")
        if on_stage is not None:
            on_stage(name)

    stages = Stages(folder.stages, begin)
    if known_depth is not None:
        stages.offer(DEPTH_FILE, known_depth)
    try:
        told = _run(crafter, inputs, folder.work, stages, render_only, say)
        costs = {name: asdict(cost) for name, cost in stages.costs.items()}
        outputs = [name for name in OUTPUTS if (folder.work / name).exists()]
        record |= {"status": "done", **told, "stages": costs, "outputs": outputs}
        write_json(record, folder.work / RECORD)
        folder.finish()
    except (ValueError, FileNotFoundError):
        # Wrong input is put right and run again: nothing of this run is worth keeping.
        folder.discard()
        raise
    say(f"done in {duration(sum(cost.seconds for cost in stages.costs.values()))}: {out}")
    return made


def _run(
    crafter: TrajectoryCrafter,
    inputs: RunInputs,
    out: Path,
    stages: Stages,
    render_only: bool,
    say: Say,
) -> dict[str, Any]:
    """The stages in their order, their files into `out`; what the record says of them."""
    settings, trajectory = crafter.settings, inputs.trajectory
    video = stages.run("read", lambda: Video.read(inputs.clip, inputs.choice, inputs.info))
    if len(video) != inputs.frames:  # the file counts its frames wrongly
        trajectory = make_trajectory(settings.camera, len(video), settings.way)
    in_time = torch.equal(trajectory.source_frame, torch.arange(len(trajectory)))
    sound = None
    notes = [*inputs.info.notes, *check_ranges(trajectory)]
    if inputs.info.has_audio and in_time:
        sound = Sound(inputs.clip, inputs.choice.start / inputs.info.fps)
    elif inputs.info.has_audio:
        notes.append("the sound is left out, since time does not run as in the clip")
    for note in notes:
        say(f"  note: {note}")
    size, gflops = (video.height, video.width), measured_gflops(crafter.device, crafter.dtype)
    say(
        f"plan: {len(trajectory)} frames of {video.width}x{video.height} at {video.fps:g} per "
        f"second, from {len(video)} source frames; {settings.generator.model} on {crafter.device} "
        f"({str(crafter.dtype).removeprefix('torch.')}, {gflops:.0f} GFLOP/s)"
    )
    for step in planned(
        settings, len(video), len(trajectory), size, render_only=render_only, gflops=gflops
    ):
        say(f"  {step.stage}: about {duration(step.seconds)}, {step.gigabytes:.1f} GB")
    shot = crafter.shoot(video, trajectory, stages)
    holes = hole_share(shot.view).tolist()
    say(
        f"  holes: {sum(holes) / len(holes):.0%} of the pixels on average, {max(holes):.0%} in the "
        f"worst frame (over time: |{hole_bar(holes)}|)"
    )
    stages.run("write the render", lambda: _write_shot(shot, out, sound))
    caption = None
    if not render_only:
        result = crafter.complete(shot, stages)
        caption = result.caption
        stages.run("write", lambda: _write_result(result, out, sound))
    return {
        "frames": len(shot.view),
        "height": shot.view.frames.shape[2],
        "width": shot.view.frames.shape[3],
        "fps": shot.video.fps,
        "prompt": caption,
        "holes": [round(share, 5) for share in holes],
    }


def check_run(clip: Path, settings: RedirectSettings, *, render_only: bool = False) -> RunInputs:
    """What the run will read, checked before long work.

    Raises:
        FileNotFoundError: no such clip, trajectory or weights.
        ValueError: input that cannot be used.
    """
    info = probe(clip, settings.clip.fps)
    choice = frame_choice(info, settings)
    frames = max(1, len(range(choice.start, info.frames, choice.stride)))
    frames = frames if choice.count is None else min(frames, choice.count)
    trajectory = make_trajectory(settings.camera, frames, settings.way)
    pick_dtype(settings.machine.dtype, pick_device(settings.machine.device))
    if not render_only:
        check_model(settings)
    return RunInputs(clip, info, choice, frames, trajectory)


def frame_choice(info: VideoInfo, settings: RedirectSettings) -> FrameChoice:
    """Which frames to decode, and at which size.

    Raises:
        ValueError: a clip too small to show a scene, or a size that cannot be worked at.
    """
    chosen, stretched = settings.clip, settings.way.read_size
    if min(info.height, info.width) < SMALLEST:
        raise ValueError(
            f"The clip is {info.width}x{info.height} pixels; at least {SMALLEST} a side are needed."
        )
    own = default_size(info.height, info.width)
    height, width = stretched or chosen.size or own
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
        fit="stretch" if stretched else chosen.fit,
        fps=chosen.fps,
    )


def default_size(height: int, width: int) -> tuple[int, int]:
    """The clip's shape at about 384x672 pixels in all, sides in multiples of 16."""
    scale = sqrt(PIXELS / (height * width))
    return max(2, round(height * scale / 16)) * 16, max(2, round(width * scale / 16)) * 16


def make_trajectory(camera: CameraSettings, frames: int, way: Way = QUALITY) -> Trajectory:
    """The path that the settings name, for a clip of `frames` frames.

    A still picture (one frame) is shown for a whole window, since time stands still in it.

    Raises:
        ValueError: none or more than one way to name the path, an unknown preset, a wrong file.
    """
    if len(camera.named) != 1:
        raise ValueError(
            "Expected one of --camera PRESET, --target FIVE NUMBERS, --trajectory FILE; got "
            + (" and ".join(f"--{name}" for name in camera.named) or "none")
            + "."
        )
    count = frames if frames > 1 else WINDOW
    if camera.target is not None:
        path = Trajectory.from_target(*camera.target, frames=count, ease=camera.ease)
    elif camera.trajectory is not None:
        path = read_trajectory(camera.trajectory, count, interpolation=way.path)
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
    coupled = way.path == "spline"
    return with_mode(path, camera.mode, frames, moment=camera.moment, couple_dolly=coupled)


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


def _write_shot(shot: Shot, out: Path, sound: Sound | None) -> None:
    """What is known before the generator: everything a user wants to see while it works."""
    fps = shot.video.fps
    Video(shot.view.frames, fps).write(out / "render.mp4", overwrite=True, sound=sound)
    mask = shot.view.visible.float().expand(-1, 3, -1, -1)
    Video(mask, fps).write(out / "mask.mp4", overwrite=True)
    Video(pictures.colorize_depth(shot.depth), fps).write(out / "depth.mp4", overwrite=True)
    write_depth(shot.depth, out / "depth.npz", shot.source)
    write_trajectory(shot.trajectory, out / "trajectory.json")
    # A thin choice of the first moment's points, for the picture of the path.
    points = shot.cloud.points[0][shot.cloud.valid[0]]
    points = points[:: max(1, len(points) // PLOTTED_POINTS)]
    pictures.plot_trajectory(shot.cameras, shot.source, out / "path.png", points)


def _write_result(result: Result, out: Path, sound: Sound | None) -> None:
    shot = result.shot
    result.video.write(out / "video.mp4", overwrite=True, sound=sound)
    shown = shot.video[shot.trajectory.source_frame]
    panels = [shown.frames, shot.view.frames, result.video.frames]
    comparison = pictures.side_by_side(panels, ["source", "render", "result"])
    Video(comparison, result.video.fps).write(out / "comparison.mp4", overwrite=True, sound=sound)
