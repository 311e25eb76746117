"""nerfstudio: the camera path of its viewer, and transforms.json of its data sets.

The one thing a reader would get wrong: both have OpenGL camera axes, but `fov` in a camera path is
vertical degrees, while `camera_angle_x` in transforms.json is horizontal radians.
"""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..cameras import Cameras
from .checks import camera_entries, finite_numbers, read_json, required, required_number, wrong
from .own_json import as_json
from .recorded import OPENGL, Recorded, camera_to_world_of, pinhole, square_centered_focal

logger = logging.getLogger(__name__)

_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def read_path(path: Path) -> Recorded:
    """The cameras of a camera path, camera_path.json."""
    document = read_json(path)
    entries = camera_entries(document, "camera_path", path)
    size = (
        round(required_number(document, "render_height", f"{path}: $")),
        round(required_number(document, "render_width", f"{path}: $")),
    )
    matrices, K = [], []
    for i, entry in enumerate(entries):
        where = f"{path}: $.camera_path[{i}]"
        matrix = np.asarray(required(entry, "camera_to_world", where), dtype=object)
        shape = (16,) if matrix.ndim == 1 else (4, 4)
        matrices.append(finite_numbers(entry["camera_to_world"], shape, f"{where}.camera_to_world"))
        fov = required_number(entry, "fov", where)
        if not 0 < fov < 180:
            raise wrong(f"{where}.fov", "vertical degrees between 0 and 180", f"{fov:g}")
        K.append(pinhole(size[0] / 2 / math.tan(math.radians(fov) / 2), size))
    return Recorded(np.stack(matrices).reshape(-1, 4, 4) @ OPENGL, np.stack(K), size)


def encode_path(cameras: Cameras, fps: float) -> str:
    """A camera path for the viewer."""
    fy = square_centered_focal(cameras, "nerfstudio", "transforms")
    fov = np.degrees(2 * np.arctan(cameras.height / 2 / fy))
    document = {
        "camera_type": "perspective",
        "render_height": cameras.height,
        "render_width": cameras.width,
        "fps": fps,
        "seconds": len(cameras) / fps,
        "is_cycle": False,
        "smoothness_value": 0.0,
        "keyframes": [],
        "camera_path": [
            {
                "camera_to_world": (matrix @ OPENGL).reshape(16).tolist(),
                "fov": float(fov[i]),
                "aspect": cameras.width / cameras.height,
            }
            for i, matrix in enumerate(camera_to_world_of(cameras))
        ],
    }
    return as_json(document)


def read_transforms(path: Path) -> Recorded:
    """The cameras of transforms.json, in the order of their file names."""
    document = read_json(path)
    entries = camera_entries(document, "frames", path)
    indexed = list(enumerate(entries))
    if all(isinstance(e, dict) and isinstance(e.get("file_path"), str) for e in entries):
        indexed.sort(key=lambda pair: pair[1]["file_path"])
    matrices, K, sizes = [], [], set()
    for i, entry in indexed:
        where = f"{path}: $.frames[{i}]"
        matrix = required(entry, "transform_matrix", where)
        matrices.append(finite_numbers(matrix, (4, 4), f"{where}.transform_matrix"))
        lens, size = _transforms_lens({**document, **entry}, where)
        K.append(lens)
        sizes.add(size)
    if len(sizes) != 1:
        raise wrong(f"{path}: $.frames", "one picture size", f"{sorted(sizes)}")
    if any(float(document.get(name) or 0) for name in _DISTORTION):
        logger.warning("%s: the lens distortion is ignored; undistort the pictures first.", path)
    return Recorded(np.stack(matrices) @ OPENGL, np.stack(K), sizes.pop())


def _transforms_lens(entry: dict[str, Any], where: str) -> tuple[np.ndarray, tuple[int, int]]:
    size = round(required_number(entry, "h", where)), round(required_number(entry, "w", where))
    if "fl_x" in entry:
        fx = required_number(entry, "fl_x", where)
    else:
        fx = size[1] / 2 / math.tan(required_number(entry, "camera_angle_x", where) / 2)
    K = pinhole(fx, size)
    for name, index in (("fl_y", (1, 1)), ("cx", (0, 2)), ("cy", (1, 2))):
        if name in entry:
            K[index] = required_number(entry, name, where)
    return K, size


def encode_transforms(cameras: Cameras) -> str:
    """A transforms.json; its pictures are named images/00000.png and so on."""
    K = cameras.K.double().numpy()
    document = {
        "camera_model": "OPENCV",
        "w": cameras.width,
        "h": cameras.height,
        "frames": [
            {
                "file_path": f"images/{i:05d}.png",
                "fl_x": K[i, 0, 0],
                "fl_y": K[i, 1, 1],
                "cx": K[i, 0, 2],
                "cy": K[i, 1, 2],
                "transform_matrix": (matrix @ OPENGL).tolist(),
            }
            for i, matrix in enumerate(camera_to_world_of(cameras))
        ],
    }
    return as_json(document)
