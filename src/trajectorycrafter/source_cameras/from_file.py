"""Source cameras that were found elsewhere: in a depth npz, or in any trajectory file.

An npz holds `world_to_camera` or `camera_to_world`, (T, 4, 4) or (T, 3, 4), OpenCV axes, in the
depth's units; `K` or `intrinsics`, for pictures of the size `height`, `width` or of the map beside
them. Whatever is missing comes from the depth.

The one thing a reader would get wrong: the world of the result is the first source camera, whatever
the file's was.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..geometry.cameras import Cameras, check_cameras, rigid_inverse
from ..video.clip import Depth, Video
from . import known_intrinsics

MATRICES = ("world_to_camera", "camera_to_world")
MAPS = ("z", "depth", "depths", "inverse_depth", "disparity")


@dataclass(frozen=True)
class CameraFile:
    """Source cameras that look themselves up."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise FileNotFoundError(f"No file {self.path} with source cameras.")

    def __call__(self, video: Video, depth: Depth) -> Cameras:
        """The file's cameras at the clip's size, seen from the first one.

        Raises:
            ValueError: no cameras in the file, another number of them than of frames, or matrices
                that are not rigid.
        """
        cameras = self._read(video, depth)
        if len(cameras) != len(video):
            raise ValueError(
                f"{self.path} holds {len(cameras)} cameras but the clip has {len(video)} frames; "
                "give one camera for each chosen frame."
            )
        cameras = check_cameras(cameras, str(self.path)).resized(video.height, video.width)
        return from_first(cameras.to(depth.z.device))

    def _read(self, video: Video, depth: Depth) -> Cameras:
        if self.path.suffix.lower() == ".npz":
            found = _read_npz(self.path, video, depth)
            if found is not None:
                return found
        from ..geometry.trajectory_files import read_cameras

        # Formats without a lens were filmed with the one that the depth was made for.
        focal = float(known_intrinsics(depth)[0, 0, 0])
        return read_cameras(self.path, focal=focal, size=(video.height, video.width))


def from_first(cameras: Cameras) -> Cameras:
    """The same cameras in a world that is the first of them."""
    first = rigid_inverse(cameras.world_to_camera[:1].double())
    moved = cameras.world_to_camera.double() @ first
    return replace(cameras, world_to_camera=moved.to(cameras.world_to_camera))


def _read_npz(path: Path, video: Video, depth: Depth) -> Cameras | None:
    """Cameras from a depth npz; None if the file has another layout."""
    try:
        with np.load(path, allow_pickle=False) as file:
            wanted = (*MATRICES, *MAPS, "K", "intrinsics", "height", "width")
            arrays = {key: file[key] for key in file.files if key in wanted}
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an npz of plain numbers ({error}).") from error
    name = next((key for key in MATRICES if key in arrays), None)
    if name is None:
        if any(key in arrays for key in MAPS):
            raise ValueError(f"{path} has depth but no cameras; expected {' or '.join(MATRICES)}.")
        return None
    matrices = _four_by_four(arrays[name], f"{path} ({name})")
    world_to_camera = rigid_inverse(matrices) if name == "camera_to_world" else matrices
    height, width = _size(arrays, video)
    given = next((arrays[key] for key in ("K", "intrinsics") if key in arrays), None)
    if given is None:
        K = known_intrinsics(depth).cpu()
        height, width = video.height, video.width
    else:
        K = torch.from_numpy(np.asarray(given, dtype=np.float32))
    if tuple(K.shape) not in ((3, 3), (1, 3, 3), (len(matrices), 3, 3)):
        raise ValueError(
            f"{path}: expected K of shape (3, 3) or ({len(matrices)}, 3, 3); got {tuple(K.shape)}."
        )
    K = K.reshape(-1, 3, 3).expand(len(matrices), 3, 3)
    return Cameras(world_to_camera, K.clone(), height, width)


def _four_by_four(array: np.ndarray, where: str) -> torch.Tensor:
    if array.dtype.kind not in "fiu" or array.ndim != 3 or array.shape[1:] not in ((3, 4), (4, 4)):
        raise ValueError(
            f"{where}: expected matrices (frames, 4, 4) or (frames, 3, 4); got {array.dtype} "
            f"{array.shape}."
        )
    full = torch.eye(4).repeat(len(array), 1, 1)
    full[:, :3] = torch.from_numpy(array[:, :3].astype(np.float32))
    return full


def _size(arrays: dict[str, np.ndarray], video: Video) -> tuple[int, int]:
    """Of the pictures that K belongs to: said, else the map's, else the clip's."""
    if "height" in arrays and "width" in arrays:
        return int(arrays["height"]), int(arrays["width"])
    mapped = next((arrays[key] for key in MAPS if key in arrays), None)
    if mapped is None:
        return video.height, video.width
    shape = mapped.shape[:-1] if mapped.ndim == 4 and mapped.shape[-1] == 1 else mapped.shape
    return int(shape[-2]), int(shape[-1])
