"""How an upright picture lies in a made frame, for pictures, masks, depth and cameras.

The one thing a reader would get wrong: the cameras change with the picture. A turned picture has a
turned camera, not only another K.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ....geometry.cameras import Cameras
from ....video.clip import Depth

Orientation = Literal["stretch", "rotate", "pad", "crop"]


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in a frame of another shape."""

    orientation: Orientation
    picture: tuple[int, int]
    """Height and width."""
    frame: tuple[int, int]

    @property
    def _turned(self) -> tuple[int, int]:
        height, width = self.picture
        return (width, height) if self.orientation == "rotate" else (height, width)

    @property
    def _box(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of the picture; it reaches outside the frame with crop."""
        if self.orientation in ("stretch", "rotate"):
            return 0, 0, *self.frame
        ratios = [f / p for f, p in zip(self.frame, self.picture)]
        ratio = min(ratios) if self.orientation == "pad" else max(ratios)
        height, width = (max(1, round(side * ratio)) for side in self.picture)
        return (self.frame[0] - height) // 2, (self.frame[1] - width) // 2, height, width

    @property
    def _margins(self) -> list[int]:
        """Left, right, top, bottom, as `F.pad` takes them; negative ones cut."""
        top, left, height, width = self._box
        return [left, self.frame[1] - width - left, top, self.frame[0] - height - top]

    def place(self, x: Tensor) -> Tensor:
        """Pictures `T C h w` as frames `T C H W`, 0 outside; anything but float32 to the nearest
        pixel."""
        turned = x.rot90(-1, (2, 3)) if self.orientation == "rotate" else x
        return F.pad(resized(turned, self._box[2:]), self._margins)

    def undo(self, x: Tensor) -> Tensor:
        """Frames as pictures again, 0 where crop has cut."""
        inner = F.pad(resized(x, self.frame), [-margin for margin in self._margins])
        inner = resized(inner, self._turned)
        return inner.rot90(1, (2, 3)) if self.orientation == "rotate" else inner

    def place_depth(self, depth: Depth, cameras: Cameras) -> Depth:
        """Depth for the placed cameras; nothing is valid outside the picture."""
        valid = self.place(depth.valid)
        # Nearest, in double: no distance may lie between a thing and what is behind it.
        z = self.place(depth.z.double()).float()
        return Depth(torch.where(valid, z, 1.0), valid, cameras.K)

    def place_cameras(self, cameras: Cameras) -> Cameras:
        """The same cameras with the frame as their picture."""
        if self.orientation == "rotate":
            # (u, v) goes to (H - v, u), and the camera's axes turn with its picture.
            pixels = cameras.K.new_tensor([[0, -1, cameras.height], [1, 0, 0], [0, 0, 1]])
            turn = torch.eye(4).to(cameras.K)
            turn[:2, :2] = pixels[:2, :2]
            K = pixels @ cameras.K @ turn[:3, :3].T
            moved = turn @ cameras.world_to_camera
            cameras = Cameras(moved, K, cameras.width, cameras.height)
        top, left, height, width = self._box
        return cameras.resized(height, width).cropped(-top, -left, *self.frame)


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Colors with an antialiased bilinear filter, masks and doubles by the nearest pixel."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    if x.dtype == torch.float32:
        return F.interpolate(x, tuple(size), mode="bilinear", antialias=True).clamp(0, 1)
    return F.interpolate(x.double(), tuple(size), mode="nearest-exact").to(x.dtype)
