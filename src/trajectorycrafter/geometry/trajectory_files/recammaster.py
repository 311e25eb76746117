"""ReCamMaster: a JSON file of several cameras, their matrices as text.

The one thing a reader would get wrong: the world is Unreal's, left-handed and in centimeters, and
the matrices are for row vectors. The format has no lens.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from ..cameras import Cameras
from .checks import finite_number, read_json, required, wrong
from .own_json import as_json
from .recorded import Recorded, camera_to_world_of

_UNREAL_CAMERA = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""OpenCV axes to Unreal's (x forward, y right, z up); left-handed, so its determinant is -1."""
_CENTIMETERS = 100.0


def read(path: Path, camera: str | None) -> Recorded:
    """One camera of a file, for instance "cam03"; None = the first. No lens."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise wrong(f"{path}: $", "an object of frames", type(document).__name__)
    names = [key for key in document if re.fullmatch(r"frame\d+", key)]
    if not names:
        raise wrong(f"{path}: $", "keys frame0, frame1, ...", f"keys {sorted(document)[:5]}")
    names.sort(key=lambda key: int(key[len("frame") :]))
    first = document[names[0]]
    if not isinstance(first, dict) or not first:
        raise wrong(f"{path}: $.{names[0]}", "an object of cameras", type(first).__name__)
    camera = camera or min(first)
    matrices = []
    for name in names:
        text = required(document[name], camera, f"{path}: $.{name}")
        matrices.append(_unreal_matrix(text, f"{path}: $.{name}.{camera}"))
    unreal = np.stack(matrices)
    unreal[:, :3, 3] /= _CENTIMETERS
    # Both the camera's axes and the world's change hands, so the product is a rotation again.
    return Recorded(_UNREAL_CAMERA.T @ unreal @ _UNREAL_CAMERA)


def _unreal_matrix(text: Any, where: str) -> np.ndarray:
    """Four bracketed rows, the last one the position: points are row vectors there."""
    rows = re.findall(r"\[([^\]]*)\]", text) if isinstance(text, str) else []
    numbers = [
        [finite_number(word, where, i + 1) for i, word in enumerate(row.split())] for row in rows
    ]
    if len(numbers) != 4 or any(len(row) != 4 for row in numbers):
        raise wrong(where, '4 rows of 4 numbers as "[a b c d] [...] [...] [...]"', repr(text)[:60])
    return np.array(numbers).T


def encode(cameras: Cameras) -> str:
    """The cameras as those of cam01."""
    unreal = _UNREAL_CAMERA @ camera_to_world_of(cameras) @ _UNREAL_CAMERA.T
    unreal[:, :3, 3] *= _CENTIMETERS
    rows = ["".join(f"[{' '.join(f'{x:.9g}' for x in row)}] " for row in m.T) for m in unreal]
    return as_json({f"frame{i}": {"cam01": text} for i, text in enumerate(rows)})
