"""Pairs from monocular clips by double reprojection (paper Sec. 3.4 and 4.1).

The clip's points are seen along a random path and what was seen there is brought back: the render
then lacks what the path did not see, and the clip itself is the target.

The one thing a reader would get wrong: the holes are in the *source's* cameras, where the truth is
known. In the words of the main job the path's views are the source and the clip's cameras are new.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...config.curation import Curation
from ...depth.estimator import scene_radius
from ...geometry.cameras import Cameras
from ...rendering.completion import fill
from ...rendering.memory import other_moments
from ...rendering.point_cloud import lift
from ...rendering.render import Render, double_reproject, hole_share, render
from ...rendering.shot import Shot
from ...video.clip import Depth, Video
from .draws import RandomPath, paths, rejected_holes, seek_path, wanted_holes

PREVIEW = 5
"""Frames by which a path is tried."""


@dataclass(frozen=True)
class Seen:
    """What a model is given beside the reference, and how it came about."""

    render: Render
    memory: Render | None
    filled: Video | None
    info: dict[str, Any]


def reproject(
    video: Video, depth: Depth, cameras: Cameras, settings: Curation, rng: np.random.Generator
) -> Seen:
    """The clip there and back along a random path; its cameras are in the depth's units.

    Raises:
        RejectedError: no path with the wanted share of holes.
    """
    radius = scene_radius(depth)

    def novel(path: RandomPath) -> Cameras:
        return path.trajectory(len(video)).cameras(cameras, radius)

    few = spread(len(video), PREVIEW)

    def holes(path: RandomPath) -> float:
        chosen = video[few], depth[few], cameras[few], novel(path)[few]
        return float(hole_share(double_reproject(*chosen)[0]).mean())

    wanted = wanted_holes(settings.hole, rng)
    path = seek_path(paths(settings.path, rng), holes, wanted, settings.hole)
    there = render(lift(video, depth, cameras), novel(path))
    seen = Depth(there.depth.clamp(min=1e-6), there.visible)
    back = Shot.along(Video(there.frames, video.fps), seen, novel(path), cameras)
    return complete(back, settings, path=path.as_numbers())


def complete(shot: Shot, settings: Curation, **info: Any) -> Seen:
    """The render and what else of the cloud the settings ask for.

    Raises:
        RejectedError: a share of holes outside the limits, which the preview did not show.
    """
    share = round(float(hole_share(shot.view).mean()), 5)
    if not settings.hole.holes[0] <= share <= settings.hole.holes[1]:
        raise rejected_holes(share, settings.hole.holes)
    memory = filled = None
    if settings.memory:
        memory = other_moments(shot.cloud, shot.cameras, settings.memory)
    if settings.filled:
        filled = Video(fill(shot), shot.video.fps)
    return Seen(shot.view, memory, filled, {"hole_share": share} | info)


def spread(frames: int, count: int) -> Int[Tensor, " n"]:
    """At most `count` indices, evenly from the first frame to the last."""
    return torch.linspace(0, frames - 1, min(count, frames)).round().long()
