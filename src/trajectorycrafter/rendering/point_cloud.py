"""The dynamic point cloud: one cloud per moment of the source video.

The one thing a reader would get wrong: a moment is an index. `cloud[trajectory.source_frame]` shows
moment `source_frame[i]` in output frame i, which is all that the released modes differ in.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..geometry.cameras import Cameras
from ..geometry.frames import Frames
from ..runtime.files import whole
from ..video.clip import Depth, Video


@dataclass(frozen=True)
class DynamicPointCloud(Frames):
    """Coloured points in the world, `N` per moment."""

    points: Float[Tensor, "T N 3"]
    """World coordinates in scene units."""
    colors: Float[Tensor, "T N 3"]
    """RGB in [0, 1]."""
    valid: Bool[Tensor, "T N"]
    """True for points that are drawn."""
    spacing: Float[Tensor, "T N"]
    """Distance to the neighbouring points of the same surface, scene units; sets the drawn size."""


def lift(
    video: Video,
    depth: Depth,
    cameras: Cameras,
    *,
    cull: bool = True,
    edge_threshold: float = 0.08,
) -> DynamicPointCloud:
    """Every pixel to a point in the world, row by row (paper Eq. 2).

    Args:
        cameras: where each frame was taken.
        cull: drop flying pixels, which estimated depth puts in mid-air between two surfaces.
        edge_threshold: relative depth difference that counts as an edge when culling.

    Raises:
        ValueError: if counts or sizes differ.
    """
    _check_sizes(video, depth, cameras)
    valid = depth.valid & ~flying_pixels(depth, edge_threshold) if cull else depth.valid
    # Neighbouring rays part by z/f. A slanted surface parts more along one axis, but that is mostly
    # undone when it is seen again; drawing it larger would blur it and swell its outline.
    focal = (cameras.K[:, 0, 0] * cameras.K[:, 1, 1]).sqrt()
    return DynamicPointCloud(
        points=cameras.unproject(depth.z),
        colors=video.frames.flatten(2).transpose(1, 2).contiguous(),
        valid=valid.flatten(1),
        spacing=depth.z.flatten(1) / focal[:, None],
    )


def _check_sizes(video: Video, depth: Depth, cameras: Cameras) -> None:
    frames = video.frames.shape[0], video.height, video.width
    for name, other in (
        ("depth", (depth.z.shape[0], *depth.z.shape[2:])),
        ("cameras", (len(cameras), cameras.height, cameras.width)),
    ):
        if other != frames:
            raise ValueError(
                f"Expected {name} of the video's frames x height x width {frames}; got {other}. "
                "Resize it, or choose the same frames."
            )


def flying_pixels(depth: Depth, threshold: float = 0.08) -> Bool[Tensor, "T 1 H W"]:
    """True on pixels in mid-air between a near and a far surface.

    Such a pixel lies inside a ramp of disparity: far from both ends of its neighbourhood's range,
    which is large, and which hardly grows with the neighbourhood. On a slanted plane it grows in
    proportion, and a sharp edge has no pixel between its ends.

    Args:
        threshold: relative range of disparity that counts as an edge.
    """
    disparity = torch.where(depth.valid, 1 / depth.z, torch.zeros_like(depth.z))
    low, high = _range(disparity, depth.valid, 2)
    low_wide, high_wide = _range(disparity, depth.valid, 4)
    edge = (high - low > threshold * high) & (high - low > 0.68 * (high_wide - low_wide))
    part = (disparity - low) / (high - low).clamp(min=1e-12)
    return edge & (part > 0.2) & (part < 0.8)


def _range(values: Tensor, valid: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Smallest and largest valid value in the square of `2 radius + 1` pixels."""
    bounds = []
    for sign in (-1, 1):
        x = torch.where(valid, sign * values, torch.full_like(values, -torch.inf))
        x = F.max_pool2d(x, (2 * radius + 1, 1), stride=1, padding=(radius, 0))
        x = F.max_pool2d(x, (1, 2 * radius + 1), stride=1, padding=(0, radius))
        bounds.append(torch.where(x.isinf(), torch.zeros_like(x), sign * x))
    return bounds[0], bounds[1]


def write_ply(cloud: DynamicPointCloud, path: str | Path, *, moment: int = 0) -> Path:
    """Write the valid points of one moment as a binary PLY with 8-bit colours.

    Raises:
        ValueError: if the cloud has no such moment.
    """
    if not -len(cloud) <= moment < len(cloud):
        raise ValueError(f"The cloud has moments 0 to {len(cloud) - 1}; got {moment}.")
    path = Path(path)
    kept = cloud.valid[moment]
    fields = [(axis, "<f4") for axis in "xyz"] + [(c, "u1") for c in ("red", "green", "blue")]
    vertices = np.empty(int(kept.sum()), dtype=fields)
    for axis, values in zip("xyz", cloud.points[moment][kept].cpu().numpy().T, strict=True):
        vertices[axis] = values
    colors = (cloud.colors[moment][kept].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    for channel, values in zip(("red", "green", "blue"), colors.T, strict=True):
        vertices[channel] = values
    names = "".join(
        f"property {'float' if kind == '<f4' else 'uchar'} {name}\n" for name, kind in fields
    )
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n{names}end_header\n"
    )
    with whole(path) as partial:
        partial.write_bytes(header.encode("ascii") + vertices.tobytes())
    return path
