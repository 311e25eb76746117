"""RealEstate10K: one text line per frame, an address above them.

The one thing a reader would get wrong: the matrices are world_to_camera, and the intrinsics are
fractions of the picture, so that they need a size which the file does not have.
"""

from pathlib import Path

import numpy as np

from ..cameras import Cameras
from .checks import increasing, number_rows, table_lines
from .recorded import Recorded, orthonormal


def read(path: Path, size: tuple[int, int]) -> Recorded:
    """The cameras of a clip, for pictures of `size`, height and width."""
    height, width = size
    lines = table_lines(path)
    if lines and lines[0][1][0].startswith("http"):
        lines = lines[1:]
    rows = number_rows(lines, 19, path, "time, fx, fy, cx, cy, 0, 0, 3x4 world_to_camera")
    K = np.tile(np.eye(3), (len(rows), 1, 1))
    K[:, 0, 0], K[:, 1, 1] = rows[:, 1] * width, rows[:, 2] * height
    K[:, 0, 2], K[:, 1, 2] = rows[:, 3] * width, rows[:, 4] * height
    world_to_camera = np.tile(np.eye(4), (len(rows), 1, 1))
    world_to_camera[:, :3] = rows[:, 7:].reshape(-1, 3, 4)
    rigid = orthonormal(world_to_camera, str(path))
    return Recorded(np.linalg.inv(rigid), K, size, increasing(rows[:, 0], lines, path))


def encode(cameras: Cameras, fps: float) -> str:
    """A clip of an unknown address, with times in microseconds."""
    K = cameras.K.double().numpy() / np.array([[cameras.width], [cameras.height], [1.0]])
    lines = ["https://example.org/unknown"]
    for i, matrix in enumerate(cameras.world_to_camera.double().numpy()):
        numbers = [K[i, 0, 0], K[i, 1, 1], K[i, 0, 2], K[i, 1, 2], 0, 0, *matrix[:3].reshape(-1)]
        lines.append(f"{round(i * 1e6 / fps)} " + " ".join(f"{x:.9g}" for x in numbers))
    return "\n".join(lines) + "\n"
