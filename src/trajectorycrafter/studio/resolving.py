"""From a design to the path it stands for, and to the file that gives the same path elsewhere.

The one thing a reader would get wrong: a file of keys is written only where reading it gives the
same numbers; any other design is written frame by frame.
"""

import io
import zipfile
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..geometry.cameras import Cameras, transform_points
from ..geometry.interpolation import interpolate
from ..geometry.keyframes import Keyframe
from ..geometry.modes import with_mode
from ..geometry.pivot import keyframe_at, turned_about
from ..geometry.presets import preset
from ..geometry.trajectories import RelativeTo, Trajectory
from ..geometry.trajectory_files import TrajectoryFormat, encode_trajectory, keyframes_as_json
from .editing import Design, TimePlan

FORMAT_SUFFIX: dict[TrajectoryFormat, str] = {
    "json": ".json",
    "released": ".txt",
    "nerfstudio": ".json",
    "transforms": ".json",
    "realestate10k": ".txt",
    "tum": ".tum",
    "vista4d": ".npz",
    "recammaster": ".json",
    "blender": ".json",
    "colmap": ".zip",
}
"""How an exported file's name ends; COLMAP's is a folder, packed."""


def resolved(design: Design, source: Cameras, radius: float) -> Trajectory:
    """The path of a design.

    Args:
        source: one camera per source frame.
        radius: distance of the default pivot, scene units.

    Raises:
        ValueError: numbers that make no path.
    """
    path = _motion(design, len(source))
    path = timed(path, design.time, len(source))
    if design.pivot is not None and design.kind != "path":
        base = bases(path.relative_to, path.source_frame, source)
        point = torch.tensor(design.pivot).expand(len(path), 1, 3)
        path = turned_about(path, transform_points(base, point)[:, 0], radius)
    # A still picture is one moment, whatever the path says; so does `redirect`.
    return with_mode(path, "bullet", 1) if len(source) == 1 else path


def relative_to(design: Design) -> RelativeTo:
    """Presets follow the source camera; keys stand where they were put."""
    return "first_frame" if design.kind == "keys" else "shown_frame"


def _motion(design: Design, source_frames: int) -> Trajectory:
    if design.kind == "path":
        assert design.path is not None
        return design.path.retimed(design.frames)
    if design.kind == "keys":
        keys = _with_moments(design, source_frames)
        return Trajectory.from_keyframes(
            keys or [Keyframe()],
            design.frames,
            interpolation=design.interpolation,
            ease=design.ease and design.interpolation == "spline",
            relative_to=relative_to(design),
        )
    moment = min(design.time.moment, source_frames - 1)
    return preset(
        design.preset,
        design.frames,
        design.amount,
        source_frames=source_frames,
        moment=moment if design.preset == "bullet" else None,
        ease=design.ease,
    )


def _with_moments(design: Design, source_frames: int) -> list[Keyframe]:
    """The keys, whose captured moments count only if time goes by the keys."""
    if design.time.kind != "keys":
        return [replace(key, source_frame=None) for key in design.keys]
    last = source_frames - 1
    return [
        k if k.source_frame is None else replace(k, source_frame=max(0, min(k.source_frame, last)))
        for k in design.keys
    ]


def timed(path: Trajectory, time: TimePlan, source_frames: int) -> Trajectory:
    """The path with the plan's moments; a frozen one looks at the frames about its moment."""
    last = source_frames - 1
    if time.kind == "freeze":
        return with_mode(path, "bullet", source_frames, moment=min(time.moment, last))
    if time.kind == "curve" and time.points:
        return replace(path, source_frame=curve(time, len(path), source_frames))
    if int(path.source_frame.max()) > last:
        # A path for more frames than the clip has shows it slower.
        shown = torch.linspace(0, last, len(path)).round().long()
        return replace(path, source_frame=shown)
    return path


def curve(time: TimePlan, frames: int, source_frames: int) -> Int[Tensor, " T"]:
    """The source frame of every output frame, through the plan's points; flat outside of them."""
    at, shown = zip(*time.points, strict=True)
    moments = np.array(at) / max(frames - 1, 1)
    way = "spline" if time.smooth else "linear"
    values = interpolate(moments, [float(s) for s in shown], frames, way)
    return (values + 0.5).floor().long().clamp(0, source_frames - 1)


def bases(
    relative: RelativeTo, shown: Int[Tensor, " T"], source: Cameras
) -> Float[Tensor, "T 4 4"]:
    """World to camera of the cameras that the motion of each output frame is relative to."""
    if relative == "shown_frame":
        return source.world_to_camera[shown]
    return source.world_to_camera[:1].expand(len(shown), 4, 4)


def key_for(
    design: Design,
    frame: int,
    world_to_camera: Float[Tensor, "4 4"],
    zoom: float,
    moment: int,
    source: Cameras,
    radius: float,
) -> Keyframe:
    """The key that puts the camera of an output frame there.

    Args:
        zoom: focal length over the source's.
        moment: source frame that is shown, kept with the key.
    """
    base = source.world_to_camera[0]
    pivot = None
    if design.pivot is not None:
        pivot = transform_points(base, torch.tensor([design.pivot]))[0]
    # Angles go on from the key before, so that a path of several turns does not unwind.
    before = [key for key in design.keys if (key.frame or 0) <= frame]
    near = before[-1] if before else None
    key = keyframe_at(world_to_camera, base, radius, pivot, near)
    return replace(key, frame=frame, zoom=zoom, source_frame=moment)


def as_keys(design: Design, count: int, source: Cameras, radius: float) -> Design:
    """The design's path as `count` keys, evenly spaced, that can be edited by hand.

    Raises:
        ValueError: fewer than 2 keys, or more than there are frames.
    """
    if not 2 <= count <= design.frames:
        raise ValueError(f"Expected 2 to {design.frames} keys; got {count}.")
    path = resolved(design, source, radius)
    cameras = path.cameras(source, radius)
    focal = source.K[path.source_frame, 0, 0]
    zooms = (cameras.K[:, 0, 0] / focal).tolist()
    keyed = replace(design, kind="keys", keys=(), ease=False, interpolation="spline")
    for frame in np.unique(np.linspace(0, design.frames - 1, count).round().astype(int)).tolist():
        moment = int(path.source_frame[frame])
        pose = cameras.world_to_camera[frame]
        key = key_for(keyed, frame, pose, zooms[frame], moment, source, radius)
        keyed = keyed.with_key(key)
    return keyed


def exported(
    design: Design,
    source: Cameras,
    radius: float,
    format: TrajectoryFormat = "json",
    fps: float = 24.0,
) -> tuple[str, bytes]:
    """Name and content of the file that holds the design's path.

    Raises:
        ValueError: a format that cannot hold this path; the message names one that can.
    """
    path = resolved(design, source, radius)
    name = f"camera_path{FORMAT_SUFFIX[format]}"
    if format == "json" and _is_plain(design, source):
        text = keyframes_as_json(
            _with_moments(design, len(source)) or [Keyframe()],
            design.frames,
            interpolation=design.interpolation,
            ease=design.ease and design.interpolation == "spline",
            relative_to=relative_to(design),
        )
        return name, text.encode()
    value = path if format in ("json", "released") else path.cameras(source, radius)
    content = encode_trajectory(value, format, fps=fps)
    return name, _packed(content) if isinstance(content, dict) else content


def _is_plain(design: Design, source: Cameras) -> bool:
    """Whether the keys alone, read back, give this path."""
    plain_time = design.time.kind in ("clip", "keys") and design.frames <= len(source) > 1
    return design.kind == "keys" and design.pivot is None and plain_time


def _packed(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(f"colmap/{name}", data)
    return packed.getvalue()
