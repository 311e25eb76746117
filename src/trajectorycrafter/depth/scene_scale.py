"""How far is far: the distance of the pivot in a scene, and how wide a path is for it.

The one thing a reader would get wrong: `scene_radius` is a quarter's quantile of valid depth, since
what a film is about stands before its background; `released_radius` is the one center pixel of
frame 0, capped, as the released system has it.
"""

import math

from ..video.clip import Depth

RELEASED_MAX_RADIUS = 5.0
"""Cap of the released pivot distance, in its depth units."""


def scene_radius(depth: Depth, frame: int = 0, region: float = 1.0, share: float = 0.25) -> float:
    """Distance of the pivot, scene units: where the nearer things in a frame stand.

    A pivot in the background would carry the camera past the foreground. There is no cap.

    Args:
        frame: source frame, for instance the moment that bullet holds.
        region: side of a middle window as a fraction of the picture; if nothing in it is valid
            the whole frame counts.
        share: of the valid depth in it that is nearer than the pivot.

    Raises:
        ValueError: no such frame or no valid depth in it.
    """
    if not 0 <= frame < len(depth):
        raise ValueError(f"scene_radius: expected a frame 0..{len(depth) - 1}; got {frame}.")
    z, valid = depth.z[frame, 0], depth.valid[frame, 0]
    height, width = z.shape
    half_h, half_w = max(height * region / 2, 0.5), max(width * region / 2, 0.5)
    rows = slice(math.floor(height / 2 - half_h), math.ceil(height / 2 + half_h))
    columns = slice(math.floor(width / 2 - half_w), math.ceil(width / 2 + half_w))
    inside = z[rows, columns][valid[rows, columns]]
    inside = z[valid] if inside.numel() == 0 else inside
    if inside.numel() == 0:
        raise ValueError(
            f"Frame {frame} has no valid depth; choose another frame or depth estimator."
        )
    return float(inside.float().kthvalue(1 + int(share * (inside.numel() - 1))).values)


def released_radius(depth: Depth, scale: float = 1.0) -> float:
    """The released pivot distance: center depth of frame 0 times `scale`, at most 5."""
    height, width = depth.z.shape[-2:]
    return min(float(depth.z[0, 0, height // 2, width // 2]) * scale, RELEASED_MAX_RADIUS)
