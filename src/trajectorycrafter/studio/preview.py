"""What the new camera would see, at once, and how much of it has ever been seen.

"Stretched" is found by drawing where in the source frame each point came from: where neighboring
pixels of the new picture come from nearly the same place, a source pixel is spread over several.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ..geometry.cameras import Cameras
from ..rendering.point_cloud import DynamicPointCloud
from ..rendering.render import Render, render
from .preparing import PreparedClip

COARSE = 2
"""The shares are found at half the preview's size: a quarter of the work, and exact enough for a
percentage."""
STRETCHED = 0.5
"""Source pixels per new pixel; with fewer a place counts as stretched."""
HOLE_COLOR, STRETCHED_COLOR = (196, 62, 62), (232, 190, 60)


@dataclass(frozen=True)
class FrameShares:
    """How much of each output frame is known, as shares that sum to 1."""

    seen: Float[Tensor, " T"]
    stretched: Float[Tensor, " T"]
    """Seen, but from farther away or more from the side than the new camera sees it."""
    holes: Float[Tensor, " T"]
    """Never seen: what the model has to invent."""


class Preview:
    """Pictures of a prepared clip from new cameras."""

    def __init__(self, clip: PreparedClip):
        self.clip = clip
        height, width = clip.preview_size
        n = torch.arange(height * width).view(height, width)[::COARSE, ::COARSE].flatten()
        cloud = clip.cloud
        place = torch.cat([clip.places, torch.zeros(len(clip.places), 1)], dim=1)[n]
        self._coarse = DynamicPointCloud(
            cloud.points[:, n],
            place.expand(len(cloud), *place.shape),
            cloud.valid[:, n],
            cloud.spacing[:, n] * COARSE,
        )
        self._size = (height, width)

    def picture(
        self, camera: Cameras, moment: int, *, marked: bool = True
    ) -> UInt8[np.ndarray, "h w 3"]:
        """What one camera, of any size and the clip's aspect ratio, sees of one source frame.

        Args:
            marked: color what was never seen, and tint what is stretched.
        """
        view = render(self.clip.cloud[[moment]], camera.resized(*self._size))
        pixels = (view.frames[0] * 255).round().byte().permute(1, 2, 0).numpy().copy()
        if marked:
            stretched = self._stretched(camera, torch.tensor([moment]))[1][0, 0].numpy()
            stretched = stretched.repeat(COARSE, 0).repeat(COARSE, 1)[: self._size[0]]
            stretched = stretched[:, : self._size[1]]
            pixels[stretched] = pixels[stretched] * 0.7 + np.array(STRETCHED_COLOR) * 0.3
        pixels[~view.visible[0, 0].numpy()] = HOLE_COLOR if marked else (16, 16, 16)
        return pixels

    def shares(self, cameras: Cameras, shown: Int[Tensor, " T"]) -> FrameShares:
        """How much of each output frame is known, from its camera and the source frame it shows."""
        view, stretched = self._stretched(cameras, shown)
        visible = view.visible.float().mean(dim=(1, 2, 3))
        loose = (stretched & view.visible).float().mean(dim=(1, 2, 3))
        return FrameShares(visible - loose, loose, 1 - visible)

    def _stretched(
        self, cameras: Cameras, shown: Int[Tensor, " T"]
    ) -> tuple[Render, Bool[Tensor, "T 1 h w"]]:
        height, width = (-(-side // COARSE) for side in self._size)
        view = render(self._coarse[shown], cameras.resized(height, width))
        place = view.frames[:, :2] * view.frames.new_tensor([width, height])[:, None, None]
        return view, source_density(place, view.visible) < STRETCHED


def source_density(
    place: Float[Tensor, "T 2 h w"], visible: Bool[Tensor, "T 1 h w"]
) -> Float[Tensor, "T 1 h w"]:
    """Source pixels per new pixel: the area that a new pixel covers in the source frame.

    Args:
        place: column and row in the source frame, in pixels as large as the new ones.

    Returns:
        1 where a pixel's neighbors are not visible, so that nothing is known.
    """
    right, below = place.diff(dim=3)[:, :, :-1], place.diff(dim=2)[:, :, :, :-1]
    area = (right[:, 0] * below[:, 1] - right[:, 1] * below[:, 0]).abs()
    known = visible[:, 0, :-1, :-1] & visible[:, 0, :-1, 1:] & visible[:, 0, 1:, :-1]
    density = torch.ones(len(place), 1, *place.shape[2:])
    density[:, 0, :-1, :-1] = torch.where(known, area, 1.0)
    return density


class Latest:
    """Runs a function in a thread of its own, always on the newest arguments.

    A dragged gizmo gives more poses than can be drawn; all but the newest are dropped.
    """

    def __init__(self, work: Callable[..., None]):
        self._work = work
        self._wanted: tuple[object, ...] | None = None
        self._busy, self._ended = False, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __call__(self, *arguments: object) -> None:
        """Ask for the work on these arguments, instead of any that has not begun."""
        with self._changed:
            self._wanted = arguments
            self._changed.notify_all()

    def settle(self, timeout_s: float = 30.0) -> bool:
        """Wait until nothing is left to do; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._ended or (self._wanted is None and not self._busy), timeout_s
            )

    def stop(self) -> None:
        """Accept nothing more; what has begun is finished."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._ended or self._wanted is not None)
                if self._ended:
                    return
                arguments, self._wanted, self._busy = self._wanted, None, True
            assert arguments is not None
            self._work(*arguments)
