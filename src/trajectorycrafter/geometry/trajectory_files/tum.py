"""TUM: a text line per camera, time, position and quaternion.

The one thing a reader would get wrong: poses are camera_to_world and the quaternion's real part
comes last. The format has no lens.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..cameras import Cameras
from .checks import increasing, number_rows, table_lines
from .recorded import Recorded, camera_to_world_of, from_wxyz


def read(path: Path) -> Recorded:
    """The cameras of a file, without a lens."""
    lines = table_lines(path)
    rows = number_rows(lines, 8, path, "time, tx, ty, tz, qx, qy, qz, qw")
    matrices = [
        from_wxyz(row[[7, 4, 5, 6]].tolist(), row[1:4].tolist(), f"{path}, line {number}")
        for (number, _), row in zip(lines, rows, strict=True)
    ]
    return Recorded(np.stack(matrices), times=increasing(rows[:, 0], lines, path))


def encode(cameras: Cameras, fps: float) -> str:
    """A line per camera, with times in seconds."""
    lines = ["# time tx ty tz qx qy qz qw, camera to world"]
    for i, matrix in enumerate(camera_to_world_of(cameras)):
        quaternion = Rotation.from_matrix(matrix[:3, :3]).as_quat()
        numbers = (i / fps, *matrix[:3, 3], *quaternion)
        lines.append(" ".join(f"{x:.12g}" for x in numbers))
    return "\n".join(lines) + "\n"
