"""All that is drawn at random for a sample: its path, and how much of it is to be hole.

The one thing a reader would get wrong: a sample's randomness comes from the run's seed and its own
name, never from a generator that samples share; so it is the same in whatever order, by however
many workers, and in a run that was killed and went on.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...config.curation import HoleSettings, PathSettings
from ...geometry.keyframes import Keyframe
from ...geometry.trajectories import RelativeTo, Trajectory
from .rejected import RejectedError

RANGES = {
    "azimuth_deg": "azimuth", "elevation_deg": "elevation",
    **{name: name for name in ("dolly", "right", "up", "zoom")},
}  # fmt: skip
"""A keyframe's field to the setting it is drawn from."""


def rng_for(seed: int, name: str) -> np.random.Generator:
    """The generator of one thing of that name in a run of that seed."""
    return np.random.default_rng(list(hashlib.sha256(f"{seed}/{name}".encode()).digest()))


@dataclass(frozen=True)
class RandomPath:
    """A camera path that can be walked in part."""

    keys: tuple[Keyframe, ...]
    """Evenly over the clip."""
    amount: float = 1.0
    """How far each key is from the source camera, 0 to 1."""

    def walked(self) -> list[Keyframe]:
        """The keys, as far along as `amount`."""
        keys = []
        for key in self.keys:
            moved = {name: getattr(key, name) * self.amount for name in RANGES if name != "zoom"}
            keys.append(replace(key, zoom=key.zoom**self.amount, **moved))
        return keys

    def trajectory(self, frames: int, relative_to: RelativeTo = "shown_frame") -> Trajectory:
        """The path in so many frames, starting and stopping softly."""
        return Trajectory.from_keyframes(self.walked(), frames, ease=True, relative_to=relative_to)

    def as_numbers(self) -> list[dict[str, float]]:
        """The keys in plain numbers, for a sample's info."""
        return [{name: round(getattr(k, name), 5) for name in RANGES} for k in self.walked()]


def draw_path(settings: PathSettings, rng: np.random.Generator) -> RandomPath:
    """A path whose end, and maybe begin and middle, lie anywhere in the ranges."""
    away, bent = rng.random(2) < (settings.away, settings.bent)
    ranges = {name: getattr(settings, setting) for name, setting in RANGES.items()}
    begin, middle, end = (
        Keyframe(**{name: rng.uniform(*limits) for name, limits in ranges.items()})
        for _ in range(3)
    )
    begin = begin if away else Keyframe()
    return RandomPath((begin, middle, end) if bent else (begin, end))


def paths(settings: PathSettings, rng: np.random.Generator) -> Iterator[RandomPath]:
    """One random path after the other."""
    while True:
        yield draw_path(settings, rng)


def wanted_holes(settings: HoleSettings, rng: np.random.Generator) -> tuple[float, float]:
    """The smallest and largest share of holes that a sample is to have."""
    if settings.hole_histogram is None:
        return settings.holes
    weights = np.array(settings.hole_histogram, dtype=float)
    edges = np.linspace(*settings.holes, len(weights) + 1)
    chosen = int(rng.choice(len(weights), p=weights / weights.sum()))
    return float(edges[chosen]), float(edges[chosen + 1])


def seek_path(
    candidates: Iterator[RandomPath],
    share: Callable[[RandomPath], float],
    wanted: tuple[float, float],
    settings: HoleSettings,
) -> RandomPath:
    """A path whose share of holes is as wanted.

    With a wanted histogram a path that leads too far is walked in part, by bisection; else paths
    are drawn until one is right, so that their own distribution is kept between the limits.

    Args:
        share: the holes of a path; infinity for one that cannot be walked.

    Raises:
        RejectedError: none in so many tries.
    """
    steered, found = settings.hole_histogram is not None, 0.0
    path, nearest, farthest = next(candidates), 0.0, 1.0
    for _ in range(settings.tries):
        found = share(path)
        if wanted[0] <= found <= wanted[1]:
            return path
        if not steered or (found < wanted[0] and path.amount == 1):
            path, nearest, farthest = next(candidates), 0.0, 1.0
            continue
        if found > wanted[1]:
            farthest = path.amount
        else:
            nearest = path.amount
        path = replace(path, amount=(nearest + farthest) / 2)
    raise rejected_holes(found, wanted)


def rejected_holes(found: float, wanted: tuple[float, float]) -> RejectedError:
    """The error of a share that is not as wanted."""
    reason = "holes too small" if found < wanted[0] else "holes too large"
    return RejectedError(reason, f"{found:.3f} is not in {wanted[0]:.3f} to {wanted[1]:.3f}")


def check_holes(settings: HoleSettings) -> None:
    """Raises ValueError unless some sample can be as wanted."""
    low, high = settings.holes
    if not 0 <= low < high <= 1:
        raise ValueError(f"holes are two shares, 0 <= low < high <= 1; got {low:g} and {high:g}.")
    weights: Any = settings.hole_histogram
    if weights is not None and (not weights or min(weights) < 0 or sum(weights) <= 0):
        raise ValueError(f"hole_histogram has weights >= 0, one > 0 at least; got {weights}.")
    if settings.tries < 1:
        raise ValueError(f"tries is at least 1; got {settings.tries}.")
