"""Camera paths in files: a module per format, which knows its axes, and the public functions.

The one thing a reader would get wrong: outside this package every camera is OpenCV (x right, y
down, z forward) and world_to_camera; in here the common form is camera_to_world in float64, and
each format turns its own axes and units into that and back (table in `docs/use/trajectories.md`).

Every `read` raises a ValueError that names the line or JSON path of what is missing or wrong, every
`encode` one for a path that the format cannot hold.
"""

import math
import os
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
from .checks import FORMATS, TrajectoryFormat, existing, wrong
from .detection import detect_format
from .own_json import keyframes_as_json
from .recorded import Recorded, as_cameras, concrete, orthonormal

__all__ = [
    "TrajectoryFormat",
    "detect_format",
    "encode_trajectory",
    "keyframes_as_json",
    "read_cameras",
    "read_trajectory",
    "write_trajectory",
]


FORMAT_OF_SUFFIX: dict[str, TrajectoryFormat] = {
    ".json": "json",
    ".npz": "vista4d",
    ".tum": "tum",
    ".txt": "released",
    "": "colmap",
}
"""What is written where the caller names no format; without a suffix, into a folder."""


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
        format: None = by `detect_format`.
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

    Args:
        format: None = from the suffix, see `FORMAT_OF_SUFFIX`.

    Raises:
        ValueError: as `encode_trajectory`, or a suffix that names no format.
    """
    path = Path(path)
    format = format or FORMAT_OF_SUFFIX.get(path.suffix)
    if format is None:
        suffixes = ", ".join(FORMAT_OF_SUFFIX)
        raise wrong(f"{path}", f"a suffix of {suffixes}, or the argument format", path.suffix)
    content = encode_trajectory(trajectory, format, fps=fps, plain=path.suffix == ".txt")
    files = content if isinstance(content, dict) else {"": content}
    for name, data in files.items():
        file = path / name if name else path
        file.parent.mkdir(parents=True, exist_ok=True)
        # As `runtime.files.whole`, which this room, importing nothing of ours, does without.
        partial = file.with_name(f".partial.{file.name}")
        try:
            partial.write_bytes(data)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    return path


def encode_trajectory(
    trajectory: Trajectory | Cameras,
    format: TrajectoryFormat,
    *,
    fps: float = 24.0,
    plain: bool = False,
) -> bytes | dict[str, bytes]:
    """What the file of a camera path holds, or by name what the files of a folder (colmap) hold.

    A relative trajectory fits only `json` and `released`; for the camera formats give the concrete
    cameras, `trajectory.cameras(source, radius)`. A trajectory of absolute cameras is written as
    those, in its own unit and world.

    Args:
        fps: frame rate that formats with times write down.
        plain: `blender` as text, which lacks the lens, instead of JSON.

    Raises:
        ValueError: the format cannot hold this path; the message says which one can.
    """
    if format not in FORMATS:
        raise wrong("format", f"one of {', '.join(FORMATS)}", repr(format))
    if format == "json":
        return own_json.encode(trajectory).encode()
    if format == "released":
        return released.encode(trajectory).encode()
    if not (math.isfinite(fps) and fps > 0):
        raise wrong("fps", "a frame rate > 0", f"{fps}")
    cameras = concrete(trajectory, format)
    writers: dict[TrajectoryFormat, Callable[[Cameras], str | bytes | dict[str, str]]] = {
        "nerfstudio": partial(nerfstudio.encode_path, fps=fps),
        "transforms": nerfstudio.encode_transforms,
        "realestate10k": partial(realestate10k.encode, fps=fps),
        "colmap": colmap.encode,
        "tum": partial(tum.encode, fps=fps),
        "vista4d": vista4d.encode,
        "recammaster": recammaster.encode,
        "blender": partial(blender.encode, plain=plain),
    }
    content = writers[format](cameras)
    if isinstance(content, dict):
        return {name: text.encode() for name, text in content.items()}
    return content if isinstance(content, bytes) else content.encode()


def _read_recorded(
    path: Path, format: TrajectoryFormat, camera: str | None, size: tuple[int, int] | None
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
