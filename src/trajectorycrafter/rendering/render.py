"""Point renders: what new cameras see of the cloud, and where they see nothing.

The one thing a reader would get wrong: `visible` is True where a point landed. The released system
keeps the opposite mask (255 on holes) at its border; only `model/` speaks that language.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm.auto import tqdm

from ..geometry.cameras import Cameras
from ..geometry.frames import Frames
from ..video.clip import Depth, Video
from .point_cloud import DynamicPointCloud, lift
from .splatting import compiled_kernels, project, sized, splat_quality, splat_released

Mode = Literal["quality", "released"]


@dataclass(frozen=True)
class Render(Frames):
    """What the new cameras see of the cloud."""

    frames: Float[Tensor, "T 3 H W"]
    """RGB in [0, 1], 0 where nothing landed."""
    depth: Float[Tensor, "T 1 H W"]
    """Distance along the new optical axis, 0 where nothing landed."""
    visible: Bool[Tensor, "T 1 H W"]
    """True where a point landed."""


def render(
    cloud: DynamicPointCloud,
    cameras: Cameras,
    *,
    mode: Mode = "quality",
    clean: bool = False,
    device: torch.device | str | None = None,
) -> Render:
    """What `cameras` see of the cloud, frame i of moment i (paper Eq. 3).

    Args:
        cloud: one moment per camera; choose them by `cloud[trajectory.source_frame]`.
        mode: `quality`, or `released` for equality with the released warper (see `splatting.py`).
        clean: see `cleaned`.
        device: where to splat and to leave the result; None = where the cloud is.

    Raises:
        ValueError: cloud and cameras differ in length, or the mode is unknown.
    """
    if len(cloud) != len(cameras):
        raise ValueError(
            f"Expected one moment per camera; got {len(cloud)} moments and {len(cameras)} cameras. "
            "Choose moments by index: cloud[source_frame]."
        )
    if mode not in ("quality", "released"):
        raise ValueError(f"mode is 'quality' or 'released'; got {mode!r}.")
    device = torch.device(device or cloud.points.device)
    cameras = cameras.to(device)
    size = (cameras.height, cameras.width)
    view = Render(
        torch.empty(len(cloud), 3, *size, device=device),
        torch.empty(len(cloud), 1, *size, device=device),
        torch.empty(len(cloud), 1, *size, dtype=torch.bool, device=device),
    )

    def draw(i: int) -> tuple[Tensor, Tensor, Tensor]:
        K, points, colors = cameras.K[i], cloud.points[i].to(device), cloud.colors[i].to(device)
        splats = project(points, colors, cloud.valid[i].to(device), cameras.world_to_camera[i], K)
        if mode == "released":
            return splat_released(splats, *size)
        focal = (K[0, 0] * K[1, 1]).sqrt()
        splats = sized(splats, cloud.spacing[i].to(device), focal, *size)
        return splat_quality(splats, *size)

    # Frames drawn at once: a compiled kernel uses one thread, torch's own operations use all.
    one_each = device.type == "cpu" and compiled_kernels() is not None
    workers = max(1, min(torch.get_num_threads(), os.cpu_count() or 1)) if one_each else 1
    with ThreadPoolExecutor(workers) as threads:
        drawn = threads.map(draw, range(len(cloud)))
        # Copied in this thread: others may not write into tensors of its inference mode.
        for i, parts in enumerate(tqdm(drawn, "Rendering", len(cloud), leave=False, delay=1)):
            view.frames[i], view.depth[i], view.visible[i] = parts
    return cleaned(view) if clean else view


def cleaned(view: Render, radius: int = 2) -> Render:
    """Holes grown by `radius` pixels in a square; outside the image is not hole.

    A radius of 2 is the released system's cleaning (a 5x5 square, one pass).
    """
    # Pooling pads with minus infinity: the outside never counts as hole.
    hole = F.max_pool2d((~view.visible).float(), 2 * radius + 1, stride=1, padding=radius) > 0
    visible = ~hole
    return Render(view.frames * visible, view.depth * visible, visible)


def resized(view: Render, height: int, width: int, mode: Mode = "quality") -> Render:
    """The render at the generator's size.

    `quality` averages over what is seen only, so that holes leave no dark rims, and keeps a pixel
    if at least half of it is seen. `released` is bilinear without antialiasing for color and
    depth, holes' black included, and nearest for visibility.
    """
    size = (height, width)
    if view.frames.shape[2:] == size:
        return view
    if mode == "released":
        frames = F.interpolate(view.frames, size, mode="bilinear")
        depth = F.interpolate(view.depth, size, mode="bilinear")
        visible = F.interpolate(view.visible.float(), size, mode="nearest") > 0.5
        return Render(frames, depth, visible)
    seen = view.visible.float()
    parts = torch.cat([view.frames * seen, view.depth * seen, seen], dim=1)
    parts = F.interpolate(parts, size, mode="bilinear", antialias=True)
    share = parts[:, 4:]
    visible = share >= 0.5
    mean = torch.where(visible, parts[:, :4] / share.clamp(min=1e-6), 0.0)
    return Render(mean[:, :3].clamp(0, 1), mean[:, 3:], visible)


def hole_share(view: Render) -> Float[Tensor, " T"]:
    """Share of each frame that is hole."""
    return (~view.visible).float().mean(dim=(1, 2, 3))


def double_reproject(
    video: Video,
    depth: Depth,
    cameras_source: Cameras,
    cameras_novel: Cameras,
    *,
    mode: Mode = "quality",
) -> tuple[Render, Render]:
    """The video seen from the novel cameras and brought back (paper section 4.1).

    The way back lifts the warped frames by their warped depth. The released code uses the source's
    depth map there, which does not belong to the warped pixels, and returns no mask.

    Returns:
        The render at the source cameras, whose holes are what the novel cameras did not see (the
        training input; its target is the video), and the render at the novel cameras.
    """
    quality = mode == "quality"
    there = render(lift(video, depth, cameras_source, cull=quality), cameras_novel, mode=mode)
    warped_depth = Depth(there.depth.clamp(min=1e-6), there.visible)
    back = lift(Video(there.frames, video.fps), warped_depth, cameras_novel, cull=quality)
    return render(back, cameras_source, mode=mode), there
