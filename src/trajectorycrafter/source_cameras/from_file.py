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
from ..video.depth_npz import MAPS, lens_in, read_arrays
from . import static_source

MATRICES = ("world_to_camera", "camera_to_world")


@dataclass(frozen=True)
class CameraFile:
    """Source cameras that look themselves up."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.expanduser().exists():
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
            found = _read_npz(self.path.expanduser(), video, depth)
            if found is not None:
                return found
        from ..geometry.trajectory_files import read_cameras

        # Formats without a lens were filmed with the one that the depth was made for.
        focal = float(static_source(video, depth).K[0, 0, 0])
        return read_cameras(self.path, focal=focal, size=(video.height, video.width))


def from_first(cameras: Cameras) -> Cameras:
    """The same cameras in a world that is the first of them."""
    first = rigid_inverse(cameras.world_to_camera[:1].double())
    moved = cameras.world_to_camera.double() @ first
    return replace(cameras, world_to_camera=moved.to(cameras.world_to_camera))


def _read_npz(path: Path, video: Video, depth: Depth) -> Cameras | None:
    """Cameras from a depth npz; None if the file has another layout."""
    arrays = read_arrays(path)
    name = next((key for key in MATRICES if key in arrays), None)
    mapped = next((arrays[key] for key in MAPS if key in arrays), None)
    if name is None:
        if mapped is not None:
            raise ValueError(f"{path} has depth but no cameras; expected {' or '.join(MATRICES)}.")
        return None
    given = arrays[name]
    if given.dtype.kind not in "fiu" or given.ndim != 3 or given.shape[1:] not in ((3, 4), (4, 4)):
        raise ValueError(
            f"{path} ({name}): expected matrices (frames, 4, 4) or (frames, 3, 4); got "
            f"{given.dtype} {given.shape}."
        )
    matrices = torch.eye(4).repeat(len(given), 1, 1)
    matrices[:, :3] = torch.from_numpy(given[:, :3].astype(np.float32))
    if name == "camera_to_world":
        matrices = rigid_inverse(matrices)
    lens = lens_in(arrays, len(given), path)
    # The pictures that K belongs to: those named, else the map's, else the clip's.
    size = video.height, video.width
    if lens is None:
        lens = static_source(video, depth).K.cpu()
    elif "height" in arrays and "width" in arrays:
        size = int(arrays["height"]), int(arrays["width"])
    elif mapped is not None:
        shape = mapped.shape[:-1] if mapped.ndim == 4 and mapped.shape[-1] == 1 else mapped.shape
        size = shape[-2], shape[-1]
    return Cameras(matrices, lens, *size)
