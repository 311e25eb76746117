"""Pictures, masks and depth of the iPhone benchmark, decoded when asked for.

Depth comes in three encodings (LiDAR meters, inverse depth, float16 bits in a png); all leave here
as distances in scene units.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from ....video.clip import Depth, Video

DepthKind = Literal["lidar", "som", "camdirector"]

NEAREST_INVERSE = 1e-3
"""Inverse depth below this is no surface (Shape of Motion, iphone_dataset.py)."""


@dataclass(frozen=True)
class StoredFrames:
    """Frames on disk, decoded when asked for."""

    files: tuple[Path, ...]
    fps: float

    def __len__(self) -> int:
        return len(self.files)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first one."""
        height, width = _rgb(self.files[0]).shape[:2]
        return height, width

    def read(self, which: Sequence[int] | None = None) -> Video:
        """These frames, or the chosen ones; transparency is ignored, as the authors' code does.

        Raises:
            FileNotFoundError: a frame that is not there.
            ValueError: frames of different sizes.
        """
        frames = torch.from_numpy(_stacked(self.files, which, _rgb)).permute(0, 3, 1, 2)
        return Video(frames.contiguous().float() / 255, self.fps)


@dataclass(frozen=True)
class Masks:
    """Co-visible pixels on disk: seen in at least max(5, N // 10) of the N source frames."""

    files: tuple[Path, ...]

    def read(self, which: Sequence[int] | None = None) -> Bool[Tensor, "T 1 H W"]:
        """True where co-visible. Raises FileNotFoundError for a mask that is not there."""
        # Written as 255, documented as 1.
        return torch.from_numpy(_stacked(self.files, which, _rgb)[..., 0] > 0)[:, None]


@dataclass(frozen=True)
class DepthMaps:
    """Depth of the source frames on disk."""

    files: tuple[Path, ...]
    kind: DepthKind
    scale: float = 1.0
    """Scene units for one unit of the file."""

    def read(self, which: Sequence[int] | None = None) -> Depth:
        """Distances in scene units; what the sensor or the method left out is not valid.

        Raises:
            FileNotFoundError: a map that is not there.
            ValueError: another shape or type.
        """
        read = {"lidar": _lidar, "som": _inverse, "camdirector": float16}[self.kind]
        maps = _stacked(self.files, which, read)
        return Depth.of(torch.from_numpy(maps)[:, None] * self.scale)


def _lidar(path: Path) -> np.ndarray:
    """Meters; 0 where the sensor saw nothing.

    DATASETS.md says millimeters, but the code that wrote the files cuts them at 3 and unprojects
    them with cameras in meters. A map with hundreds of units is taken at the document's word.
    """
    depth = _map(path)
    return depth / 1000 if depth.max(initial=0) > 100 else depth


def _inverse(path: Path) -> np.ndarray:
    inverse = _map(path)
    return np.where(inverse < NEAREST_INVERSE, 0, 1 / np.maximum(inverse, NEAREST_INVERSE))


def float16(path: Path) -> np.ndarray:
    """A half-precision number in the sixteen bits of each pixel (vis_benchmark.py)."""
    _existing(path)
    bits = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if bits is None or bits.dtype != np.uint16 or bits.ndim != 2:
        raise ValueError(f"{path}: expected a grey png of 16 bits that holds float16 numbers.")
    return bits.view(np.float16).astype(np.float32)


def _map(path: Path) -> np.ndarray:
    array = read_npy(path)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ValueError(
            f"{path}: expected numbers (height, width); got {array.dtype} {array.shape}."
        )
    return array.astype(np.float32)


def _rgb(path: Path) -> np.ndarray:
    """Rows, columns and three channels; gray is repeated, transparency dropped."""
    _existing(path)
    with Image.open(path) as image:
        pixels = np.asarray(image if image.mode in ("RGB", "RGBA", "L") else image.convert("RGB"))
    return pixels[..., None].repeat(3, axis=2) if pixels.ndim == 2 else pixels[..., :3]


def read_npy(path: Path) -> np.ndarray:
    _existing(path)
    return np.load(path, allow_pickle=False)


def read_json(path: Path) -> Any:
    _existing(path)
    return json.loads(path.read_text())


def _existing(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}; the iPhone benchmark's scene needs it.")


def _stacked(
    files: tuple[Path, ...], which: Sequence[int] | None, read: Callable[[Path], np.ndarray]
) -> np.ndarray:
    """All files, or the chosen ones, read and stacked."""
    chosen = list(files) if which is None else [files[i] for i in which]
    arrays = [read(path) for path in chosen]
    expected = arrays[0].shape
    for path, array in zip(chosen, arrays):
        if array.shape != expected:
            raise ValueError(
                f"{path} is {array.shape[0]}x{array.shape[1]} but {chosen[0].name} is "
                f"{expected[0]}x{expected[1]}; all frames need one size."
            )
    return np.stack(arrays)
