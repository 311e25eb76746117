"""Where rays meet boxes, balls and cylinders, by search instead of formulas.

A unit part is where a gauge, a convex function of space, is at most 1. Along a ray the gauge is
convex, too: its lowest place is found by ternary search, the surface before that by bisection.
"""

from collections.abc import Iterable

import numpy as np

BOX, BALL, CYLINDER = 0, 1, 2


def gauge(kind: int, points: np.ndarray) -> np.ndarray:
    """Of points `... 3` in the part's frame."""
    if kind == BOX:
        return np.abs(points).max(-1)
    if kind == BALL:
        return np.sqrt((points**2).sum(-1))
    return np.maximum(np.sqrt(points[..., 0] ** 2 + points[..., 2] ** 2), np.abs(points[..., 1]))


def slow_hits(
    kind: int,
    to_world: np.ndarray,
    origin: np.ndarray,
    directions: np.ndarray,
    furthest: float = 200.0,
):
    """Distances `N` along rays to a part, inf for a miss, and `N` lowest gauges.

    Args:
        to_world: `4 4` from the unit part.
        origin: outside of the part.
        directions: `N 3`; distances count in their lengths.
    """
    turn, shift = to_world[:3, :3], to_world[:3, 3]
    start = np.linalg.solve(turn, origin - shift)
    way = np.linalg.solve(turn, directions.T).T

    def at(t: np.ndarray):
        return gauge(kind, start + t[:, None] * way)

    low, high = np.zeros(len(way)), np.full(len(way), furthest)
    for _ in range(100):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        left = at(a) < at(b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    lowest = at(low)
    near, far = np.zeros(len(way)), low
    for _ in range(60):
        middle = (near + far) / 2
        inside = at(middle) <= 1
        near, far = np.where(inside, near, middle), np.where(inside, middle, far)
    return np.where(lowest <= 1, far, np.inf), lowest


def slow_nearest(
    kinds: Iterable[int],
    to_worlds: Iterable[np.ndarray],
    origin: np.ndarray,
    directions: np.ndarray,
):
    """Distance `N` to the nearest part, and True where a ray only just meets or misses one."""
    nearest, grazing = np.full(len(directions), np.inf), np.zeros(len(directions), bool)
    for kind, to_world in zip(kinds, to_worlds, strict=True):
        found, lowest = slow_hits(kind, to_world, origin, directions)
        nearest, grazing = np.minimum(nearest, found), grazing | (np.abs(lowest - 1) < 1e-6)
    return nearest, grazing


def slow_room(low: np.ndarray, high: np.ndarray, origin: np.ndarray, directions: np.ndarray):
    """Distance `N` from inside a box to its walls."""
    with np.errstate(divide="ignore"):
        both = np.stack([(low - origin) / directions, (high - origin) / directions])
    return np.where(both > 0, both, np.inf).min((0, 2))


def slow_ground(floor: float, sky: float, origin: np.ndarray, directions: np.ndarray):
    """Distance `N` to the floor, or from within to a ball of radius `sky` around the origin."""
    a = (directions**2).sum(1)
    b = directions @ origin / a
    ball = -b + np.sqrt(b**2 + (sky**2 - origin @ origin) / a)
    with np.errstate(divide="ignore"):
        down = np.where(directions[:, 1] > 0, (floor - origin[1]) / directions[:, 1], np.inf)
    return np.minimum(ball, down)
