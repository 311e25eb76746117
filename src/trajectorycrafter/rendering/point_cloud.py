"""The dynamic point cloud: one cloud per moment of the source video.

A moment is an index: `cloud[trajectory.source_frame]` shows moment `source_frame[i]` in output
frame i, which is all that the released modes differ in.
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
    """Colored points in the world, `N` per moment."""

    points: Float[Tensor, "T N 3"]
    """World coordinates in scene units."""
    colors: Float[Tensor, "T N 3"]
    """RGB in [0, 1]."""
    valid: Bool[Tensor, "T N"]
    """True for points that are drawn."""
    spacing: Float[Tensor, "T N"]
    """Distance to the neighboring points of the same surface, scene units; sets the drawn size."""


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
    expected = len(video), video.height, video.width
    for name, got in (
        ("depth", (len(depth), *depth.z.shape[2:])),
        ("cameras", (len(cameras), cameras.height, cameras.width)),
    ):
        if got != expected:
            raise ValueError(
                f"Expected {name} of the video's frames x height x width {expected}; got {got}. "
                "Resize it, or choose the same frames."
            )
    valid = depth.valid & ~flying_pixels(depth, edge_threshold) if cull else depth.valid
    # Neighboring rays part by z/f. A slanted surface parts more along one axis, but that is mostly
    # undone when it is seen again; drawing it larger would blur it and swell its outline.
    focal = (cameras.K[:, 0, 0] * cameras.K[:, 1, 1]).sqrt()
    return DynamicPointCloud(
        points=cameras.unproject(depth.z),
        colors=video.frames.flatten(2).transpose(1, 2).contiguous(),
        valid=valid.flatten(1),
        spacing=depth.z.flatten(1) / focal[:, None],
    )


def flying_pixels(depth: Depth, threshold: float = 0.08) -> Bool[Tensor, "T 1 H W"]:
    """True on pixels in mid-air between a near and a far surface.

    Such a pixel lies inside a ramp of disparity: far from both ends of its neighborhood's range,
    which is large, and which hardly grows with the neighborhood. On a slanted plane it grows in
    proportion, and a sharp edge has no pixel between its ends.

    Args:
        threshold: relative range of disparity that counts as an edge.
    """
    disparity = torch.where(depth.valid, 1 / depth.z, torch.zeros_like(depth.z))
    # Smallest and largest valid disparity in the square of 5 and of 9 pixels.
    bounds: list[Tensor] = []
    for radius in (2, 4):
        for sign in (-1, 1):
            x = torch.where(depth.valid, sign * disparity, torch.full_like(disparity, -torch.inf))
            x = F.max_pool2d(x, (2 * radius + 1, 1), stride=1, padding=(radius, 0))
            x = F.max_pool2d(x, (1, 2 * radius + 1), stride=1, padding=(0, radius))
            bounds.append(torch.where(x.isinf(), torch.zeros_like(x), sign * x))
    low, high, low_wide, high_wide = bounds
    # A plane's range doubles with the radius (a share of 0.5), a ramp's stays (1). Lower than 0.68
    # would cull slanted ground, higher would spare ramps that stand on it.
    edge = (high - low > threshold * high) & (high - low > 0.68 * (high_wide - low_wide))
    # The outer fifths lie so close to one of the surfaces that they are hardly displaced.
    part = (disparity - low) / (high - low).clamp(min=1e-12)
    return edge & (part > 0.2) & (part < 0.8)


def write_ply(cloud: DynamicPointCloud, path: str | Path, *, moment: int = 0) -> Path:
    """Write the valid points of one moment as a binary PLY with 8-bit colors.

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
