"""Blender: matrix_world per frame, in a JSON file with the lens or in a text file without.

The one thing a reader would get wrong: two sets of axes turn here, the camera's (OpenGL) and the
world's (z up); `angle_x` is horizontal radians.
"""

import math
from pathlib import Path

import numpy as np

from ..cameras import Cameras
from .checks import (
    camera_entries,
    finite_numbers,
    number_rows,
    read_json,
    required,
    required_number,
    table_lines,
    wrong,
)
from .own_json import as_json
from .recorded import OPENGL, Recorded, camera_to_world_of, pinhole, square_centered_focal

BLENDER_FORMAT = "blender-camera"

_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""Our world (y down, z forward) to Blender's (z up, y forward)."""


def read(path: Path) -> Recorded:
    """The cameras of a file; one that is not .json is text without a lens."""
    if path.suffix != ".json":
        rows = number_rows(table_lines(path), 16, path, "matrix_world row by row")
        return Recorded(_Z_UP.T @ rows.reshape(-1, 4, 4) @ OPENGL)
    document = read_json(path)
    entries = camera_entries(document, "frames", path)
    where = f"{path}: $"
    size = (
        round(required_number(document, "height", where)),
        round(required_number(document, "width", where)),
    )
    matrices, K = [], []
    for i, entry in enumerate(entries):
        where = f"{path}: $.frames[{i}]"
        matrix = required(entry, "matrix_world", where)
        matrices.append(finite_numbers(matrix, (4, 4), f"{where}.matrix_world"))
        angle = required_number(entry, "angle_x", where)
        if not 0 < angle < math.pi:
            raise wrong(f"{where}.angle_x", "horizontal radians between 0 and pi", f"{angle:g}")
        K.append(pinhole(size[1] / 2 / math.tan(angle / 2), size))
    return Recorded(_Z_UP.T @ np.stack(matrices) @ OPENGL, np.stack(K), size)


def encode(cameras: Cameras, plain: bool) -> str:
    """Cameras as JSON, or as plain text, without the lens."""
    matrices = _Z_UP @ camera_to_world_of(cameras) @ OPENGL
    if plain:
        return "".join(" ".join(f"{x:.9g}" for x in m.reshape(-1)) + "\n" for m in matrices)
    angle = 2 * np.arctan(cameras.width / 2 / square_centered_focal(cameras, "blender", "json"))
    frames = [
        {"matrix_world": matrix.tolist(), "angle_x": float(angle[i])}
        for i, matrix in enumerate(matrices)
    ]
    size = {"height": cameras.height, "width": cameras.width}
    return as_json({"format": BLENDER_FORMAT, **size, "frames": frames})
