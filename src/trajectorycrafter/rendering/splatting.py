"""Points into pixels: the released splat and ours, each compiled for the CPU and in plain torch.

The one thing a reader would get wrong: inside this file pixel centers lie at whole numbers, as in
the released warper; `project` takes the half pixel off. Everything outside has them at +0.5.

Two splats:
- `released`: every point on its four nearest pixels, weighted by bilinear distance times
  exp(-50 log(1+z) / max log(1+z)). No depth test: far colors shine through faintly, points behind
  the camera are drawn mirrored, and surfaces that are enlarged tear. Kept for equality.
- `quality`: a depth test with points as large as their share of the surface, then a weighted mean
  of the points on the front surface alone.
"""

from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

CORE = 0.6
"""Half the side of a point's own area, in its sizes; above 0.5 so that turned grids stay closed."""
REACH = 0.95
"""How far a point counts as evidence that a surface continues, in its sizes; below 1 so that a view
along the source camera's own rays finds none."""
TOLERANCE = 0.05
"""Depth difference within one surface, as a fraction of depth."""
LARGEST = 8.0
"""Points are drawn at most this many pixels large."""
FAINTEST = 1e-4
"""Weights below this are rounding, not evidence."""

Image = tuple[Float[Tensor, "3 H W"], Float[Tensor, "1 H W"], Bool[Tensor, "1 H W"]]
"""Color, depth and visibility of one frame."""


@dataclass(frozen=True)
class Splats:
    """The points of one moment in one camera's picture."""

    x: Float[Tensor, " N"]
    """Column, pixel centers at whole numbers."""
    y: Float[Tensor, " N"]
    """Row."""
    z: Float[Tensor, " N"]
    """Along the optical axis, scene units."""
    size: Float[Tensor, " N"]
    """Pixels that a point covers; those of size 0 are not drawn."""
    colors: Float[Tensor, "N 3"]


@cache
def compiled_kernels() -> ModuleType | None:
    """The compiled loops, or None where numba is not installed."""
    try:
        from . import compiled
    except ImportError:
        return None
    return compiled


def project(
    points: Float[Tensor, "N 3"],
    colors: Float[Tensor, "N 3"],
    valid: Bool[Tensor, " N"],
    world_to_camera: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
) -> Splats:
    """World points in a camera's picture, those that are valid one pixel large."""
    kernels = compiled_kernels()
    if kernels is not None and points.device.type == "cpu":
        x, y, z = (torch.empty(len(points)) for _ in range(3))
        kernels.project(*_arrays(points, world_to_camera, K, x, y, z))
    else:
        in_camera = points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
        pixels, z = in_camera @ K.T, in_camera[:, 2]
        x, y = pixels[:, 0] / pixels[:, 2] - 0.5, pixels[:, 1] / pixels[:, 2] - 0.5
    return Splats(x, y, z, valid.to(z), colors)


def splat_released(splats: Splats, height: int, width: int) -> Image:
    """The released warper's depth-weighted bilinear splat of one frame.

    The depth weight is scaled by the farthest of all points, also of those that are not drawn.
    """
    kernels = compiled_kernels()
    if kernels is None or splats.z.device.type != "cpu":
        return splat_released_torch(splats, height, width)
    x, y, z, size, colors = _arrays(splats.x, splats.y, splats.z, splats.size, splats.colors)
    # The weights exp(-50 log(1+z) / max log(1+z)), by numpy: it computes eight at a time.
    near = np.nan_to_num(z)
    np.clip(near, 0, 1000, out=near)
    np.log1p(near, out=near)
    near *= np.float32(-50) / max(near.max(initial=0), np.float32(1e-20))
    np.exp(near, out=near)
    frame, depth = torch.empty(3, height, width), torch.empty(1, height, width)
    visible = torch.empty(1, height, width, dtype=torch.bool)
    kernels.splat_released(x, y, z, near, colors, size > 0, *_arrays(frame, depth[0], visible[0]))
    return frame, depth, visible


def splat_quality(splats: Splats, height: int, width: int) -> Image:
    """Depth-tested splat of one frame.

    1. Every point draws its depth over its own area; the nearest wins.
    2. Pixels that lie between two opposite neighbors of one surface, but show nothing or something
       farther although points of that surface touch them, are tears: they get the surface's depth.
       A surface may be stretched 1.9 times before what is behind shows through, and 3 times
       before holes do.
       A true disocclusion has near on one side and far on the other, and stays.
    3. Colors of the points on each pixel's surface are averaged under a tent of the point's size,
       see `sized`.
    """
    kernels = compiled_kernels()
    if kernels is None or splats.z.device.type != "cpu":
        return splat_quality_torch(splats, height, width)
    frame, depth = torch.empty(3, height, width), torch.empty(1, height, width)
    visible = torch.empty(1, height, width, dtype=torch.bool)
    settings = np.float32(CORE), np.float32(REACH), np.float32(TOLERANCE)
    arrays = _arrays(splats.x, splats.y, splats.z, splats.size, splats.colors)
    kernels.splat_quality(*arrays, *settings, *_arrays(frame, depth[0], visible[0]))
    return frame, depth, visible


def sized(
    splats: Splats,
    spacing: Float[Tensor, " N"],
    focal: Float[Tensor, ""],
    height: int,
    width: int,
) -> Splats:
    """The points as large as their share of the surface, at least a pixel; 0 if behind the camera
    or out of the image."""
    x, y, z, valid = splats.x, splats.y, splats.z, splats.size > 0
    kernels = compiled_kernels()
    if kernels is not None and z.device.type == "cpu":
        size = torch.empty_like(z)
        arrays = _arrays(x, y, z, valid, spacing)
        kernels.draw_size(
            *arrays, np.float32(focal), np.float32(LARGEST), height, width, size.numpy()
        )
        return replace(splats, size=size)
    drawn = valid & (z > 1e-6) & torch.isfinite(z)
    drawn &= (
        (x > -LARGEST - 1) & (x < width + LARGEST) & (y > -LARGEST - 1) & (y < height + LARGEST)
    )
    size = (spacing * focal / z).clamp(1.0, LARGEST)
    return replace(splats, size=torch.where(drawn, size, torch.zeros_like(size)))


def splat_released_torch(splats: Splats, height: int, width: int) -> Image:
    """`splat_released` in plain torch, for any device."""
    x, y, z = splats.x, splats.y, splats.z
    log_depth = torch.log1p(z.nan_to_num().clamp(0, 1000))
    near = torch.exp(-log_depth * (50 / log_depth.max().clamp(min=1e-20)))
    near = near * ((splats.size > 0) & (x.abs() < 1e9) & (y.abs() < 1e9))
    x = (x.nan_to_num() + 1).clamp(0, width + 1)
    y = (y.nan_to_num() + 1).clamp(0, height + 1)
    values = torch.cat([splats.colors, z.nan_to_num()[:, None], torch.ones_like(z)[:, None]], dim=1)
    canvas = values.new_zeros((height + 2) * (width + 2), 5)
    for row in (y.floor(), y.ceil()):
        for column in (x.floor(), x.ceil()):
            # Where the position is a whole number all four corners coincide, with weight 1.
            weight = (1 - (y - row).abs()) * (1 - (x - column).abs()) * near
            place = row.long() * (width + 2) + column.long()
            canvas.index_add_(0, place, values * weight[:, None])
    canvas = canvas.view(height + 2, width + 2, 5)[1:-1, 1:-1]
    return _normalized(canvas, canvas[..., 4] > 0)


def splat_quality_torch(splats: Splats, height: int, width: int) -> Image:
    """`splat_quality` in plain torch, for any device."""
    drawn = splats.size > 0
    x, y, z, size, colors = (
        part[drawn] for part in (splats.x, splats.y, splats.z, splats.size, splats.colors)
    )
    fronts = []
    for half in (CORE * size, REACH * size):
        front = torch.full((height * width,), torch.inf, device=x.device)
        for index, near, _ in _covered(x, y, half, height, width):
            front.scatter_reduce_(0, near, z[index], "amin")
        fronts.append(front.view(height, width))
    front, wide = fronts
    closed, neighbors = _close_cracks(front, wide)
    surface = torch.minimum(front, closed).flatten()
    values = torch.cat([colors, z[:, None], torch.ones_like(z)[:, None]], dim=1)
    canvas = values.new_zeros(height * width, 5)
    for index, place, tent in _covered(x, y, size, height, width):
        off = (z[index] - surface[place]) / (TOLERANCE * surface[place])
        weight = torch.where(off.abs() < 1, tent * (1 - off * off), torch.zeros_like(off))
        canvas.index_add_(0, place, values[index] * weight[:, None])
    frame, depth, visible = _normalized(
        canvas.view(height, width, 5), canvas[:, 4].view(height, width) > FAINTEST
    )
    # Tears that no point reaches are interpolated between the surface's two pixels beside them.
    y0, x0, y1, x1 = (neighbors[..., k].long() for k in range(4))
    share, seen = neighbors[..., 4], visible[0]
    todo = ~seen & closed.isfinite() & seen[y0, x0] & seen[y1, x1]
    between = share * frame[:, y0, x0] + (1 - share) * frame[:, y1, x1]
    return torch.where(todo, between, frame), torch.where(todo, closed, depth), visible | todo


def _covered(x: Tensor, y: Tensor, half: Tensor, height: int, width: int):
    """For every offset: which points reach a pixel there, that pixel, and the tent's weight."""
    left, top = (x - half).ceil(), (y - half).ceil()
    for dy in range(int(2 * half.max()) + 1 if len(half) else 0):
        for dx in range(int(2 * half.max()) + 1):
            column, row = left + dx, top + dy
            inside = (column <= x + half) & (row <= y + half) & (column >= 0) & (row >= 0)
            index = (inside & (column < width) & (row < height)).nonzero().flatten()
            column, row, h = column[index], row[index], half[index]
            tent = (1 - (column - x[index]).abs() / h) * (1 - (row - y[index]).abs() / h)
            yield index, row.long() * width + column.long(), tent


def _close_cracks(front: Tensor, wide: Tensor) -> tuple[Tensor, Tensor]:
    """Depth of the torn surface where a pixel is a tear (else inf), its neighbors and share."""
    height, width = front.shape
    closed = torch.full_like(front, torch.inf)
    neighbors = front.new_zeros(height, width, 5)
    pending = torch.ones_like(front, dtype=torch.bool)
    empty = front.isinf()
    limit = torch.where(empty, front, front * (1 - TOLERANCE))
    padded = torch.nn.functional.pad(front, (2, 2, 2, 2), value=torch.inf)
    row, column = torch.meshgrid(
        torch.arange(height, device=front.device),
        torch.arange(width, device=front.device),
        indexing="ij",
    )
    for a, b in ((1, 1), (1, 2), (2, 1)):
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            p = padded[2 - a * dy :, 2 - a * dx :][:height, :width]
            q = padded[2 + b * dy :, 2 + b * dx :][:height, :width]
            same = ((p - q).abs() < TOLERANCE * torch.minimum(p, q)) & (torch.maximum(p, q) < limit)
            found = same & pending
            between = (p * b + q * a) / (a + b)
            # The first bridge decides, also where its depth is then found not to fit.
            pending &= ~found
            fits = empty | ((wide < limit) & ((between - wide).abs() < TOLERANCE * between))
            found &= fits
            closed = torch.where(found, between, closed)
            ends = torch.stack(
                [row - a * dy, column - a * dx, row + b * dy, column + b * dx], dim=-1
            )
            share = torch.full_like(front, b / (a + b))[..., None]
            neighbors = torch.where(found[..., None], torch.cat([ends, share], -1), neighbors)
    return closed, neighbors


def _normalized(canvas: Float[Tensor, "H W 5"], visible: Bool[Tensor, "H W"]) -> Image:
    mean = torch.where(visible[..., None], canvas / canvas[..., 4:], torch.zeros_like(canvas))
    mean = mean.permute(2, 0, 1)
    return mean[:3].clamp(0, 1), mean[3:4], visible[None]


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    """The tensors' memory as arrays; writes go through where the tensor is contiguous."""
    return [tensor.contiguous().numpy() for tensor in tensors]
