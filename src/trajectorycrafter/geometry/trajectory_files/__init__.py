"""Camera paths in files: a module per format, which knows its axes, and the public functions.

The one thing a reader would get wrong: outside this package every camera is OpenCV (x right, y
down, z forward) and world_to_camera; in here the common form is camera_to_world in float64, and
each format turns its own axes and units into that and back (table in `docs/use/trajectories.md`).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..cameras import Cameras, intrinsics
from ..interpolation import Interpolation, resample_cameras
from ..trajectories import Trajectory
from . import (
    blender,
    colmap,
    nerfstudio,
    own_json,
    realestate10k,
    recammaster,
    released,
    tum,
    vista4d,
)
from .checks import existing, wrong
from .detection import detect_format, format_of_suffix
from .formats import FORMATS, TrajectoryFormat
from .own_json import write_keyframes
from .recorded import Recorded, as_cameras, concrete, orthonormal

__all__ = [
    "TrajectoryFormat",
    "detect_format",
    "read_cameras",
    "read_trajectory",
    "write_keyframes",
    "write_trajectory",
]


def read_trajectory(
    path: str | Path,
    frames: int | None = None,
    *,
    format: TrajectoryFormat | None = None,
    world: Literal["first_camera", "file"] = "first_camera",
    scale: Literal["scene", "radius"] = "scene",
    interpolation: Interpolation = "spline",
    camera: str | None = None,
    size: tuple[int, int] | None = None,
) -> Trajectory:
    """A camera path from any supported file; docs/use/trajectories.md says what each format means.

    Args:
        frames: output frames; None = as many as the file has (for the released text file: as many
            as its longest line). Cameras are resampled by slerp and spline.
        format: None = told from name and content.
        world: "first_camera" copies the motion, so that it starts at the first source camera;
            "file" keeps the poses, which then must share the source cameras' world. The formats
            `released` and `json` say it themselves.
        scale: unit of the positions in the file: scene units, or 1 = the scene radius.
        interpolation: for the released text file; "smoothing" is what the released system does.
        camera: which of several cameras (`recammaster`), for instance "cam03"; None = the first.
        size: height and width that `realestate10k` intrinsics belong to; None = 720 x 1280.

    Raises:
        FileNotFoundError: no such file.
        ValueError: names the file, the line or JSON path and the field, what was expected and what
            came.
    """
    path = existing(path)
    format = format or detect_format(path)
    if format == "json":
        return own_json.read(path, frames)
    if format == "released":
        return released.read(path, frames, interpolation)
    recorded = _read_recorded(path, format, camera, size)
    if world == "first_camera":
        first = np.linalg.inv(recorded.camera_to_world[0])
        recorded = replace(recorded, camera_to_world=first @ recorded.camera_to_world)
    cameras = as_cameras(recorded)
    if frames is not None:
        cameras = resample_cameras(cameras, frames, recorded.times)
    return Trajectory.from_cameras(
        cameras,
        relative_to="first_frame" if world == "first_camera" else "world",
        scale=scale,
        lens="source" if recorded.K is None else "absolute",
    )


def read_cameras(
    path: str | Path,
    *,
    format: TrajectoryFormat | None = None,
    focal: float | None = None,
    size: tuple[int, int] | None = None,
    camera: str | None = None,
) -> Cameras:
    """The cameras of a file, in the file's own world; for instance those of the source clip.

    Args:
        focal: pixels at `size`, for formats without a lens (`tum`, `recammaster`, Blender text).
        size: height and width; needed with `focal`, and see `read_trajectory`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as `read_trajectory`; a format that holds no cameras; no lens and no focal.
    """
    path = existing(path)
    format = format or detect_format(path)
    if format == "released":
        raise wrong(
            str(path), "a file with cameras", "a released text file, which holds relative motion"
        )
    if format == "json":
        trajectory = own_json.read(path, None)
        if trajectory.absolute is None:
            raise wrong(f"{path}: $.cameras", "absolute cameras", "keyframes only")
        return trajectory.absolute
    recorded = _read_recorded(path, format, camera, size)
    if recorded.K is None:
        if focal is None or size is None:
            raise wrong(
                str(path), "a lens, or the arguments focal and size", f"format {format} without"
            )
        K = intrinsics(focal, *size, len(recorded.camera_to_world)).double().numpy()
        recorded = replace(recorded, K=K, size=size)
    return as_cameras(recorded)


def write_trajectory(
    trajectory: Trajectory | Cameras,
    path: str | Path,
    format: TrajectoryFormat | None = None,
    *,
    fps: float = 24.0,
) -> Path:
    """Write a camera path; the file appears whole or not at all.

    A relative trajectory fits only `json` and `released`; for the camera formats give the concrete
    cameras, `trajectory.cameras(source, radius)`. Of a trajectory of absolute cameras those are
    written, in its own unit and world.

    Args:
        format: None = from the suffix: .json json, .npz vista4d, .tum tum, .txt released, no suffix
            colmap (a folder).
        fps: frame rate that formats with times write down.

    Raises:
        ValueError: the format cannot hold this path; the message says which one can.
    """
    path = Path(path)
    format = format or format_of_suffix(path)
    if format not in FORMATS:
        raise wrong("format", f"one of {', '.join(FORMATS)}", repr(format))
    if format == "json":
        return own_json.write(path, trajectory)
    if format == "released":
        return released.write(path, trajectory)
    if not (math.isfinite(fps) and fps > 0):
        raise wrong("fps", "a frame rate > 0", f"{fps}")
    cameras = concrete(trajectory, format)
    writers: dict[TrajectoryFormat, Callable[[Path, Cameras], Path]] = {
        "nerfstudio": partial(nerfstudio.write_path, fps=fps),
        "transforms": nerfstudio.write_transforms,
        "realestate10k": partial(realestate10k.write, fps=fps),
        "colmap": colmap.write,
        "tum": partial(tum.write, fps=fps),
        "vista4d": vista4d.write,
        "recammaster": recammaster.write,
        "blender": blender.write,
    }
    return writers[format](path, cameras)


def _read_recorded(
    path: Path,
    format: TrajectoryFormat,
    camera: str | None,
    size: tuple[int, int] | None,
) -> Recorded:
    readers: dict[TrajectoryFormat, Callable[[Path], Recorded]] = {
        "nerfstudio": nerfstudio.read_path,
        "transforms": nerfstudio.read_transforms,
        "realestate10k": partial(realestate10k.read, size=size or (720, 1280)),
        "colmap": colmap.read,
        "tum": tum.read,
        "vista4d": vista4d.read,
        "recammaster": partial(recammaster.read, camera=camera),
        "blender": blender.read,
    }
    if format not in readers:
        raise wrong("format", f"one of {', '.join(FORMATS)}", repr(format))
    recorded = readers[format](path)
    rigid = orthonormal(recorded.camera_to_world, str(path))
    return replace(recorded, camera_to_world=rigid)
