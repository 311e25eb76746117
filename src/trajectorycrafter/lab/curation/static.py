"""Triplets from posed sequences: one segment is the source, another the target (paper Sec. 4.1).

The one thing a reader would get wrong: how much two segments share is measured by where surfaces
are, not by how far apart their frames' numbers are. A point of the target counts if one of the
source's frames has it inside its picture, at its own depth.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...config.curation import Curation
from ...geometry.cameras import Cameras
from ...geometry.frames import Frames
from ...rendering.point_cloud import lift
from ...rendering.render import hole_share, render
from ...rendering.shot import Shot
from ...video.clip import Depth, Video
from .draws import rejected_holes, wanted_holes
from .dynamic import PREVIEW, Seen, complete, spread
from .rejected import RejectedError

GRID = 24
"""Points per picture's longer side by which overlap is measured."""
SAME_SURFACE = 0.1
"""Relative difference of depth up to which two frames see one surface; depth is estimated."""
KEYS_PER_SEGMENT = 4
"""Frames of a segment by which overlap is measured."""


@dataclass(frozen=True)
class PosedVideo(Frames):
    """A sequence of a scene that stands still, with cameras and depth in one unit."""

    video: Video
    depth: Depth
    cameras: Cameras


@dataclass(frozen=True)
class Triplet:
    """Two segments of a sequence, and what the source's points are in the target's cameras."""

    source: Video
    target: Video
    seen: Seen


def split(posed: PosedVideo, settings: Curation, rng: np.random.Generator) -> Triplet:
    """Two segments that overlap as wanted.

    Raises:
        RejectedError: no such pair of segments, or none with the wanted share of holes.
    """
    frames = settings.window.frames
    pairs = _pairs(posed, settings)
    if not pairs:
        raise RejectedError("overlap")
    wanted = wanted_holes(settings.hole, rng)
    order = rng.permutation(len(pairs))
    if settings.hole.hole_histogram is not None:  # what does not overlap will be hole
        middle = 1 - sum(wanted) / 2
        order = sorted(order, key=lambda i: round(abs(pairs[i][2] - middle), 2))
    few, found = spread(frames, PREVIEW), 0.0
    for i in order[: settings.hole.tries]:
        first, second, overlap = pairs[i]
        source, target = (posed[start : start + frames] for start in (first, second))
        cloud = lift(source.video[few], source.depth[few], source.cameras[few])
        found = float(hole_share(render(cloud, target.cameras[few])).mean())
        if wanted[0] <= found <= wanted[1]:
            seen = see(source, target.cameras, settings)
            seen.info.update({"overlap": round(overlap, 4), "segments": [first, second]})
            return Triplet(source.video, target.video, seen)
    raise rejected_holes(found, wanted)


def see(source: PosedVideo, cameras: Cameras, settings: Curation) -> Seen:
    """The source's points in the target's cameras, moment by moment as at inference.

    Raises:
        RejectedError: too many or too few holes.
    """
    return complete(Shot.along(source.video, source.depth, source.cameras, cameras), settings)


def _pairs(posed: PosedVideo, settings: Curation) -> list[tuple[int, int, float]]:
    """First frames of source and target, and their overlap, of all pairs that overlap as wanted.

    The overlap is the share of the target's points that the source sees; unknown ones are left out.
    """
    frames, low, high = settings.window.frames, *settings.triplet.overlap
    step = max(1, (frames - 1) // (KEYS_PER_SEGMENT - 1))
    keys = torch.arange(0, len(posed.video), step)
    seen = _seen(posed, keys)
    found = []
    for source, target in permutations(range(0, len(posed.video) - frames + 1, step), 2):
        inside = [(keys >= start) & (keys < start + frames) for start in (source, target)]
        there = seen[inside[1]][:, inside[0]]
        known = ~there[:, 0].isnan()
        by_any = (there == 1).any(dim=1)[known].float()
        share = float(by_any.mean()) if len(by_any) else 0.0
        if low <= share <= high:
            found.append((source, target, share))
    return found


def _seen(posed: PosedVideo, keys: Tensor) -> Float[Tensor, "k k p"]:
    """Whether each key frame sees the points of each other one: 1, 0, or NaN (no depth)."""
    key = posed[keys]
    height, width = key.video.height, key.video.width
    step = max(1, max(height, width) // GRID)
    rows, columns = torch.meshgrid(
        torch.arange(step // 2, height, step), torch.arange(step // 2, width, step), indexing="ij"
    )
    chosen = (rows * width + columns).flatten()
    points = key.cameras.unproject(key.depth.z)[:, chosen]
    valid = key.depth.valid.flatten(1)[:, chosen]
    seen = torch.full((len(keys), len(keys), len(chosen)), torch.nan)
    for i in range(len(keys)):
        inside = visible_points(points[i], key.depth, key.cameras).float()
        seen[i] = torch.where(valid[i], inside, torch.nan)
    return seen


def visible_points(
    points: Float[Tensor, "N 3"], depth: Depth, cameras: Cameras
) -> Bool[Tensor, "T N"]:
    """True where a camera has the point inside its picture, at that pixel's own depth."""
    pixels, z = cameras.project(points.expand(len(cameras), -1, -1))
    column, row = pixels.floor().unbind(-1)
    inside = (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
    inside &= z > 0
    place = torch.where(inside, row * cameras.width + column, 0).long()
    there = depth.z.flatten(1).gather(1, place)
    known = depth.valid.flatten(1).gather(1, place)
    return inside & known & ((z / there - 1).abs() < SAME_SURFACE)
