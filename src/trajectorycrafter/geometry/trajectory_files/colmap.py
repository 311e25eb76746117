"""COLMAP models: a folder of cameras and images, as text or binary.

The one thing a reader would get wrong: images are sorted by name, since their ids and their order
in the file say nothing about time. Poses are world_to_camera, quaternions with the real part first.
"""

import logging
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..cameras import Cameras
from .checks import finite_number, read_text, table_lines, wrong
from .recorded import Recorded, from_wxyz

logger = logging.getLogger(__name__)

_MODELS = {
    "SIMPLE_PINHOLE": (0, 3),
    "PINHOLE": (1, 4),
    "SIMPLE_RADIAL": (2, 4),
    "RADIAL": (3, 5),
    "OPENCV": (4, 8),
}
"""Model name to its number in binary files and its count of parameters."""

_Lens = tuple[np.ndarray, tuple[int, int]]


def read(path: Path) -> Recorded:
    """The cameras of a model: its folder, one of its files, or a folder with sparse/0 in it."""
    folder = path if path.is_dir() else path.parent
    folders = [folder, folder / "sparse" / "0", folder / "sparse"]
    for candidate in folders:
        for suffix, cameras_of, images_of in (
            (".bin", _cameras_binary, _images_binary),
            (".txt", _cameras_text, _images_text),
        ):
            if all((candidate / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
                lenses = cameras_of(candidate / f"cameras{suffix}")
                images = images_of(candidate / f"images{suffix}")
                return _recorded(lenses, images, candidate)
    raise wrong(
        str(folder), "cameras.txt and images.txt, or both .bin, here or in sparse/0", "neither"
    )


def _recorded(
    lenses: dict[int, _Lens], images: list[tuple[str, np.ndarray, int]], folder: Path
) -> Recorded:
    if not images:
        raise wrong(f"{folder}: images", "at least one image", "none")
    images = sorted(images, key=lambda image: image[0])
    missing = [(name, camera) for name, _, camera in images if camera not in lenses]
    if missing:
        name, camera = missing[0]
        raise wrong(f"{folder}: image {name}", f"a camera of {sorted(lenses)}", f"camera {camera}")
    sizes = {lenses[camera][1] for _, _, camera in images}
    if len(sizes) != 1:
        raise wrong(f"{folder}: cameras", "one picture size", f"{sorted(sizes)}")
    world_to_camera = np.stack([matrix for _, matrix, _ in images])
    K = np.stack([lenses[camera][0] for _, _, camera in images])
    return Recorded(np.linalg.inv(world_to_camera), K, sizes.pop())


def _lens(model: str, parameters: Sequence[float], size: tuple[int, int], where: str) -> _Lens:
    _, count = _MODELS[model]
    if len(parameters) != count:
        raise wrong(where, f"{count} parameters for {model}", str(len(parameters)))
    two = model in ("PINHOLE", "OPENCV")
    fx, fy, cx, cy = parameters[:4] if two else (parameters[0], *parameters[:3])
    if any(parameters[4 if two else 3 :]):
        logger.warning("%s: the lens distortion is ignored; undistort the pictures first.", where)
    return np.array([[fx, 0.0, cx], [0, fy, cy], [0, 0, 1]]), size


def _cameras_text(path: Path) -> dict[int, _Lens]:
    lenses = {}
    for number, words in table_lines(path):
        where = f"{path}, line {number}"
        if len(words) < 5 or words[1] not in _MODELS:
            expected = f"id, model ({', '.join(_MODELS)}), width, height, parameters"
            raise wrong(where, expected, repr(" ".join(words[:5])))
        width, height, *parameters = (
            finite_number(w, where, i + 3) for i, w in enumerate(words[2:])
        )
        size = (int(height), int(width))
        lenses[int(finite_number(words[0], where, 1))] = _lens(words[1], parameters, size, where)
    return lenses


def _images_text(path: Path) -> list[tuple[str, np.ndarray, int]]:
    # Every image has two lines; the second lists its 2D points and may be empty: blank lines count.
    lines = [
        (number, line)
        for number, line in enumerate(read_text(path).splitlines(), start=1)
        if not line.startswith("#")
    ]
    images = []
    for number, line in lines[::2]:
        if not line.strip():
            continue
        where, words = f"{path}, line {number}", line.split(maxsplit=9)
        if len(words) != 10:
            expected = "id, qw, qx, qy, qz, tx, ty, tz, camera, name"
            raise wrong(where, expected, f"{len(words)} fields")
        numbers = [finite_number(word, where, i + 2) for i, word in enumerate(words[1:9])]
        images.append((words[9], from_wxyz(numbers[:4], numbers[4:7], where), int(numbers[7])))
    return images


def _cameras_binary(path: Path) -> dict[int, _Lens]:
    names = {number: (name, count) for name, (number, count) in _MODELS.items()}
    reader = _Binary(path)
    lenses = {}
    for _ in range(reader.read("<Q")[0]):
        camera, model, width, height = reader.read("<iiQQ")
        where = f"{path}, camera {camera}"
        if model not in names:
            raise wrong(where, f"a model of {', '.join(_MODELS)}", f"model number {model}")
        name, count = names[model]
        lenses[camera] = _lens(name, reader.read(f"<{count}d"), (height, width), where)
    return lenses


def _images_binary(path: Path) -> list[tuple[str, np.ndarray, int]]:
    reader = _Binary(path)
    images = []
    for i in range(reader.read("<Q")[0]):
        numbers = reader.read("<i7di")
        name = reader.string()
        reader.skip(24 * reader.read("<Q")[0])
        matrix = from_wxyz(numbers[1:5], numbers[5:8], f"{path}, image {i}")
        images.append((name, matrix, numbers[8]))
    return images


class _Binary:
    """Reads packed numbers one after the other; a short file is the caller's mistake."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.offset = path, path.read_bytes(), 0

    def read(self, layout: str) -> tuple[Any, ...]:
        self.offset += struct.calcsize(layout)
        if self.offset > len(self.data):
            raise wrong(f"{self.path}, byte {len(self.data)}", "more data", "the end of the file")
        return struct.unpack_from(layout, self.data, self.offset - struct.calcsize(layout))

    def string(self) -> str:
        end = self.data.find(b"\0", self.offset)
        if end < 0:
            raise wrong(
                f"{self.path}, byte {self.offset}", "a name that ends in a zero byte", "none"
            )
        start, self.offset = self.offset, end + 1
        return self.data[start:end].decode("utf-8", errors="replace")

    def skip(self, count: int) -> None:
        self.offset += count


def encode(cameras: Cameras) -> dict[str, str]:
    """The files of a text model, one PINHOLE camera per image."""
    lenses, images = ["# id, model, width, height, fx, fy, cx, cy"], []
    images.append("# id, qw, qx, qy, qz, tx, ty, tz, camera, name; then a line of 2D points")
    K = cameras.K.double().numpy()
    for i, matrix in enumerate(cameras.world_to_camera.double().numpy()):
        numbers = " ".join(f"{x:.9g}" for x in (K[i, 0, 0], K[i, 1, 1], K[i, 0, 2], K[i, 1, 2]))
        lenses.append(f"{i + 1} PINHOLE {cameras.width} {cameras.height} {numbers}")
        x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
        pose = " ".join(f"{v:.12g}" for v in (w, x, y, z, *matrix[:3, 3]))
        images += [f"{i + 1} {pose} {i + 1} {i:05d}.png", ""]
    files = {"cameras.txt": lenses, "images.txt": images}
    return {name: "\n".join(lines) + "\n" for name, lines in files.items()}
