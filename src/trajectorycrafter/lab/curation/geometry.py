"""Cameras and depth of a posed sequence in one unit: from files, by COLMAP, or by a network.

The one thing a reader would get wrong: a file's cameras and estimated depth do not share a unit.
Points that are tracked through the pictures are triangulated by the cameras, and the depth's
disparity is fitted to them by one scale and shift for the whole sequence.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ...depth.alignment import fit_disparity
from ...depth.estimator import DepthEstimator, check_depth
from ...geometry.cameras import Cameras, check_cameras
from ...runtime.plugins import load_plugin, unknown_name
from ...source_cameras.colmap import Colmap
from ...video.clip import Depth, Video
from ...video.flow import to_gray
from .rejected import RejectedError
from .static import PosedVideo

NAMES = {
    "files": "the source's own cameras; estimated depth is fitted to them",
    "colmap": "structure from motion over the sequence (extra `poses`)",
    "module:attribute": "an object of your own: MASt3R, VGGT and the like",
}
"""What `load_geometry` understands."""
TRACKS = 400
"""Points tracked from each frame that tracks begin in."""
BEGINNINGS = 6
"""Frames that tracks begin in."""
FEWEST_POINTS = 40
"""Triangulated points without which the depth's unit is unknown."""
LEAST_ANGLE_DEG = 0.7
"""Between the two rays to a point."""
SAME_DEPTH = 0.1
"""Relative difference of the depths that half a track and all of it tell."""
WORST_FIT = 0.25
"""Median relative error of the fitted depth at the points."""


GeometryEstimator = Callable[[Video, Cameras | None], tuple[Cameras, Depth]]
"""Anything that finds a sequence's cameras and depth, in one unit. The cameras that it gets are the
source's own, if it has any; they may be used or not."""
Geometry = Callable[[Video, Cameras | None], PosedVideo]


def load_geometry(name: str, depth_estimator: DepthEstimator) -> Geometry:
    """The geometry of that name, one of `NAMES`; what it gives is checked.

    Raises:
        ValueError: an unknown name, or a missing package.
    """
    if name == "files":
        estimator: GeometryEstimator = partial(_from_files, depth_estimator)
    elif name == "colmap":
        estimator = partial(_from_colmap, depth_estimator, Colmap())
    elif name.partition(":")[2]:
        estimator = load_plugin(name, "geometry", NAMES)
    else:
        raise ValueError(unknown_name(name, "geometry", NAMES))

    def checked(video: Video, cameras: Cameras | None) -> PosedVideo:
        found, depth = estimator(video, cameras)
        if len(found) != len(video):
            raise ValueError(f"Expected {len(video)} cameras from geometry; got {len(found)}.")
        found = check_cameras(found, "geometry").resized(video.height, video.width)
        return PosedVideo(video, replace(check_depth(depth, video), K=found.K), found)

    return checked


def _from_files(
    depth_estimator: DepthEstimator, video: Video, cameras: Cameras | None
) -> tuple[Cameras, Depth]:
    """The source's cameras, and estimated depth in their unit."""
    if cameras is None:
        raise RejectedError("geometry", "there is no file with cameras")
    depth = replace(depth_estimator(video), K=cameras.K)
    return cameras, fit_to_cameras(depth, video, cameras)


def _from_colmap(
    depth_estimator: DepthEstimator, colmap: Colmap, video: Video, cameras: Cameras | None
) -> tuple[Cameras, Depth]:
    """Cameras by structure from motion, in the unit of the estimated depth."""
    depth = depth_estimator(video)
    if cameras is not None:
        depth = replace(depth, K=cameras.K)
    try:
        return colmap(video, depth), depth
    except ValueError as error:
        raise RejectedError("geometry", str(error)) from error


# ---------------------------------------------------------------------- the unit of the cameras


def fit_to_cameras(depth: Depth, video: Video, cameras: Cameras) -> Depth:
    """The depth with the scale and the shift of disparity that triangulated points ask for.

    Raises:
        RejectedError: too few points (plain pictures, or a camera that only turns), or points that
            the depth does not fit.
    """
    frame, pixel, true = triangulated(video, cameras)
    if len(true) < FEWEST_POINTS:
        raise RejectedError("geometry", f"{len(true)} points could be triangulated")
    x, y = pixel.floor().long().unbind(-1)
    # Corners are mostly found at outlines, where they belong to either side.
    z = torch.where(depth.valid, depth.z, torch.inf)
    nearest = -F.max_pool2d(-z, 5, stride=1, padding=2)
    farthest = F.max_pool2d(z, 5, stride=1, padding=2)
    inside = depth.valid & (farthest < 1.15 * nearest)
    guess, valid = depth.z[frame, 0, y, x], inside[frame, 0, y, x]
    if int(valid.sum()) < FEWEST_POINTS:
        raise RejectedError("geometry", "the triangulated points have no depth")
    scale, shift = fit_disparity((1 / guess)[valid], 1 / true[valid].double(), "ratios")
    disparity = scale / depth.z + shift
    error = ((scale / guess + shift) * true - 1).abs()[valid].median()
    if scale <= 0 or error > WORST_FIT:
        raise RejectedError("geometry", f"depth misses triangulated points by {error:.0%}")
    # Nothing is believed to be a thousand times farther than the nearest point.
    least = 1e-3 * (1 / true.min())
    positive = disparity > least
    z = torch.where(positive, 1 / disparity.clamp(min=least), 1.0)
    return Depth(z, depth.valid & positive, cameras.K)


def triangulated(
    video: Video, cameras: Cameras
) -> tuple[Int[Tensor, " N"], Float[Tensor, "N 2"], Float[Tensor, " N"]]:
    """Tracked points: their frame, their place there in pixels, and their depth there.

    Kept are points whose track leads there and back again, whose rays meet up to a pixel and at an
    angle that tells their depth, and for which half the track tells the same depth.
    """
    grays = to_gray(video.frames)
    gap = max(2, min(len(video) // 2, 12))
    frames, pixels, depths = [torch.empty(0).long()], [torch.empty(0, 2)], [torch.empty(0)]
    beginnings = np.linspace(0, len(video) - 1 - gap, BEGINNINGS).round().astype(int)
    for first in np.unique(beginnings.clip(min=0)):
        here, middle, there = _tracks(grays[first : first + gap + 1])
        half, last = int(first) + gap // 2, min(int(first) + gap, len(video) - 1)
        depth, good = _meeting(here, there, cameras, int(first), last)
        other, also_good = _meeting(here, middle, cameras, int(first), half)
        good &= also_good & ((other / depth - 1).abs() < SAME_DEPTH)
        frames.append(torch.full((int(good.sum()),), int(first)))
        pixels.append(here[good])
        depths.append(depth[good])
    return torch.cat(frames), torch.cat(pixels), torch.cat(depths)


def _tracks(grays: list[UInt8[np.ndarray, "H W"]]) -> tuple[Tensor, Tensor, Tensor]:
    """Where corners of the first picture are there, half way and in the last; centers at +0.5."""
    # OpenCV's type stub does not know that there may be no corners.
    start: Any = cv2.goodFeaturesToTrack(grays[0], TRACKS, 0.01, 5)
    if start is None or len(grays) < 3:
        return torch.empty(0, 2), torch.empty(0, 2), torch.empty(0, 2)
    half = (len(grays) - 1) // 2
    middle, kept = _followed(grays[: half + 1], start)
    there, kept_on = _followed(grays[half:], middle)
    back, kept_back = _followed(grays[::-1], there)
    good = kept & kept_on & kept_back & (np.abs(back - start).max(axis=(1, 2)) < 0.7)
    height, width = grays[0].shape
    here = start[:, 0] + 0.5
    good &= (here > 0).all(1) & (here < (width, height)).all(1)
    return (
        torch.from_numpy(here[good]),
        torch.from_numpy(middle[good, 0] + 0.5),
        torch.from_numpy(there[good, 0] + 0.5),
    )


def _followed(
    grays: list[UInt8[np.ndarray, "H W"]], points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The points from picture to picture, and which were never lost."""
    kept = np.ones(len(points), bool)
    for before, after in zip(grays, grays[1:]):
        follow: Any = cv2.calcOpticalFlowPyrLK
        points, found, _ = follow(before, after, points, None, winSize=(15, 15), maxLevel=3)
        kept &= found[:, 0] == 1
    return points, kept


def _meeting(
    here: Float[Tensor, "N 2"], there: Float[Tensor, "N 2"], cameras: Cameras, first: int, last: int
) -> tuple[Float[Tensor, " N"], Bool[Tensor, " N"]]:
    """Depth in the first camera where the rays pass closest, and whether it can be trusted."""
    motion = cameras.world_to_camera[last].double() @ cameras.camera_to_world[first].double()
    ray, other = (
        F.pad(pixels, (0, 1), value=1.0).double() @ torch.linalg.inv(K.double()).T
        for pixels, K in ((here, cameras.K[first]), (there, cameras.K[last]))
    )
    turned = ray @ motion[:3, :3].T
    # z turned + t is along `other`: the cross product with it vanishes, least squares in z.
    a = torch.linalg.cross(other, turned)
    b = torch.linalg.cross(other, motion[:3, 3].expand_as(ray))
    z = -(a * b).sum(-1) / (a * a).sum(-1).clamp(min=1e-12)
    point = z[:, None] * turned + motion[:3, 3]
    pixel = (point / point[:, 2:].clamp(min=1e-9)) @ cameras.K[last].double().T
    miss = (pixel[:, :2] - there).norm(dim=-1)
    angle = torch.rad2deg(torch.atan2(a.norm(dim=-1), (other * turned).sum(-1)))
    good = (z > 0) & (point[:, 2] > 0) & (miss < 1) & (angle > LEAST_ANGLE_DEG)
    return z.float(), good
