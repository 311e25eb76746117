"""Depth, lens and source cameras in one npz: written here, and opened here for its readers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry.cameras import Cameras
from ..runtime.files import whole
from .clip import Depth

MAPS = ("z", "depth", "depths", "inverse_depth", "disparity")
"""Names of the map, the first one found is read."""


def write_depth(depth: Depth, path: str | Path, cameras: Cameras | None = None) -> Path:
    """An npz with `z`, `valid` and `K` as they are, and `world_to_camera`.

    Args:
        cameras: where the source camera was; readable as source cameras by `file:PATH`.

    Raises:
        ValueError: a name that does not end in .npz, or another number of cameras than of frames.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"Depth is written as .npz; got the name {path.name!r}.")
    tensors = {"z": depth.z[:, 0], "valid": depth.valid[:, 0]}
    if depth.K is not None:
        tensors["K"] = depth.K
    if cameras is not None:
        if len(cameras) != len(depth):
            raise ValueError(f"Expected {len(depth)} cameras, one per map; got {len(cameras)}.")
        tensors["world_to_camera"] = cameras.world_to_camera
        tensors["K"] = cameras.resized(*depth.z.shape[2:]).K
    arrays: dict[str, Any] = {name: x.detach().cpu().numpy() for name, x in tensors.items()}
    with whole(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)
    return path


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive. Raises ValueError if it is none of plain numbers."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an npz of plain numbers ({error}).") from error


def lens_in(entries: Mapping[str, Any], frames: int, where: Path) -> Float[Tensor, "T 3 3"] | None:
    """K of every frame from the entry `K` or `intrinsics`; None if there is neither.

    Raises:
        ValueError: no numbers, or neither one matrix nor one per frame.
    """
    given = next((entries[key] for key in ("K", "intrinsics") if key in entries), None)
    if given is None:
        return None
    try:
        lens = torch.from_numpy(np.asarray(given, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: K is no matrix of numbers ({error}).") from error
    if tuple(lens.shape) not in ((3, 3), (1, 3, 3), (frames, 3, 3)):
        raise ValueError(
            f"{where}: expected K of shape (3, 3) or ({frames}, 3, 3); got {tuple(lens.shape)}."
        )
    return lens.reshape(-1, 3, 3).expand(frames, 3, 3).clone()
