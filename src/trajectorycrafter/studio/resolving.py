"""From a design to the path it stands for, and to the file that gives the same path elsewhere.

The one thing a reader would get wrong: a file of keys is written only where reading it gives the
same numbers; any other design is written frame by frame.
"""

import io
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry.cameras import transform_points
from ..geometry.interpolation import interpolate
from ..geometry.keyframes import Keyframe
from ..geometry.modes import with_mode
from ..geometry.pivot import keyframe_at, turned_about
from ..geometry.presets import preset
from ..geometry.trajectories import RelativeTo, Trajectory
from ..geometry.trajectory_files import TrajectoryFormat, encode_trajectory, keyframes_as_json
from .editing import Design, TimePlan
from .preparing import PreparedClip

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
KEYS_RELATIVE_TO: RelativeTo = "first_frame"
"""Keys stand where they were put; presets follow the source camera."""


def resolved(design: Design, clip: PreparedClip) -> Trajectory:
    """The path of a design; raises ValueError for numbers that make none."""
    source = clip.source
    path = _timed(_motion(design, len(source)), design.time, len(source))
    if design.pivot is not None and design.kind != "path":
        base = source.world_to_camera[path.source_frame]
        if path.relative_to != "shown_frame":
            base = source.world_to_camera[:1].expand(len(path), 4, 4)
        point = torch.tensor(design.pivot).expand(len(path), 1, 3)
        path = turned_about(path, transform_points(base, point)[:, 0], clip.radius)
    # A still picture is one moment, whatever the path says, as in `redirect`.
    return with_mode(path, "bullet", 1) if len(source) == 1 else path


def _motion(design: Design, source_frames: int) -> Trajectory:
    if design.kind == "path":
        assert design.path is not None
        return design.path.retimed(design.frames)
    if design.kind == "keys":
        keys, how = _keyed(design, source_frames)
        return Trajectory.from_keyframes(keys, design.frames, **how)
    moment = min(design.time.moment, source_frames - 1)
    return preset(
        design.preset,
        design.frames,
        design.amount,
        source_frames=source_frames,
        moment=moment if design.preset == "bullet" else None,
        ease=design.ease,
    )


def _keyed(design: Design, source_frames: int) -> tuple[list[Keyframe], dict[str, Any]]:
    """The keys, at least one, and how the path goes through them.

    The moments captured with the keys count only if time goes by the keys.
    """
    keys: list[Keyframe] = []
    for key in design.keys:
        moment = key.source_frame if design.time.kind == "keys" else None
        moment = None if moment is None else max(0, min(moment, source_frames - 1))
        keys.append(replace(key, source_frame=moment))
    spline = design.interpolation == "spline"
    how = {"ease": design.ease and spline, "relative_to": KEYS_RELATIVE_TO}
    return keys or [Keyframe()], how | {"interpolation": design.interpolation}


def _timed(path: Trajectory, time: TimePlan, source_frames: int) -> Trajectory:
    """The path with the plan's moments."""
    last = source_frames - 1
    if time.kind == "freeze":
        return with_mode(path, "bullet", source_frames, moment=min(time.moment, last))
    if time.kind == "curve" and time.points:
        # Through the points, and flat before the first and after the last of them.
        at, shown = zip(*time.points, strict=True)
        way = "spline" if time.smooth else "linear"
        moments = np.array(at) / max(len(path) - 1, 1)
        values = interpolate(moments, [float(s) for s in shown], len(path), way)
        return replace(path, source_frame=(values + 0.5).floor().long().clamp(0, last))
    if int(path.source_frame.max()) > last:
        # A path for more frames than the clip has shows it slower.
        shown = torch.linspace(0, last, len(path)).round().long()
        return replace(path, source_frame=shown)
    return path


def key_for(
    clip: PreparedClip,
    design: Design,
    frame: int,
    world_to_camera: Float[Tensor, "4 4"],
    zoom: float,
    moment: int,
) -> Keyframe:
    """The key that puts the camera of an output frame there.

    Args:
        zoom: focal length over the source's.
        moment: source frame that is shown, kept with the key.
    """
    base = clip.source.world_to_camera[0]
    pivot = None
    if design.pivot is not None:
        pivot = transform_points(base, torch.tensor([design.pivot]))[0]
    # Angles continue from the key before, so that a path of several turns does not unwind.
    before = [key for key in design.keys if (key.frame or 0) <= frame]
    near = before[-1] if before else None
    key = keyframe_at(world_to_camera, base, clip.radius, pivot, near)
    return replace(key, frame=frame, zoom=zoom, source_frame=moment)


def as_keys(design: Design, count: int, clip: PreparedClip) -> Design:
    """The design's path as `count` keys, 2 to one per frame, evenly spaced, to edit by hand."""
    if not 2 <= count <= design.frames:
        raise ValueError(f"Expected 2 to {design.frames} keys; got {count}.")
    path = resolved(design, clip)
    cameras = path.cameras(clip.source, clip.radius)
    focal = clip.source.K[path.source_frame, 0, 0]
    zooms = (cameras.K[:, 0, 0] / focal).tolist()
    keyed = replace(design, kind="keys", keys=(), ease=False, interpolation="spline")
    for frame in np.unique(np.linspace(0, design.frames - 1, count).round().astype(int)).tolist():
        pose, moment = cameras.world_to_camera[frame], int(path.source_frame[frame])
        keyed = keyed.with_key(key_for(clip, keyed, frame, pose, zooms[frame], moment))
    return keyed


def exported(design: Design, clip: PreparedClip, format: TrajectoryFormat) -> tuple[str, bytes]:
    """Name and content of the file that holds the design's path.

    Raises:
        ValueError: a format that cannot hold this path; the message names one that can.
    """
    source = clip.source
    path = resolved(design, clip)
    name = f"camera_path{FORMAT_SUFFIX[format]}"
    plain_time = design.time.kind in ("clip", "keys") and design.frames <= len(source) > 1
    if format == "json" and design.kind == "keys" and design.pivot is None and plain_time:
        keys, how = _keyed(design, len(source))
        return name, keyframes_as_json(keys, design.frames, **how).encode()
    value = path if format in ("json", "released") else path.cameras(source, clip.radius)
    content = encode_trajectory(value, format, fps=clip.fps)
    if isinstance(content, bytes):
        return name, content
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in content.items():
            archive.writestr(f"colmap/{file}", data)
    return name, packed.getvalue()
