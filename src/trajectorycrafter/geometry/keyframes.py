"""Keyframes of a camera path, and the moments they stand for.

The one thing a reader would get wrong: keys without a `source_frame` do not hold time. Moments run
linearly between the keys that name one, and by themselves if none does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Keyframe:
    """The camera at one moment of a path, relative to the source camera.

    Give `time` or `frame` in every keyframe of a path, or neither in any (then they are spread
    evenly).
    """

    time: float | None = None
    """Moment of the output, 0 = its first frame, 1 = its last."""
    frame: int | None = None
    """The same moment as an output frame number, from 0."""
    elevation_deg: float = 0.0
    """> 0: the camera rises around the pivot and looks down (released theta)."""
    azimuth_deg: float = 0.0
    """> 0: the camera moves right around the pivot and looks left (released phi)."""
    dolly: float = 0.0
    """Way forward along the source camera's axis before it orbits, as a fraction of the scene
    radius; 1 would reach the pivot (released r)."""
    right: float = 0.0
    """Shift to the right, in the trajectory's `pan_unit` (released x)."""
    up: float = 0.0
    """Shift upwards, in the trajectory's `pan_unit` (released y)."""
    zoom: float = 1.0
    """Focal length over the source's; 2 shows half the field."""
    roll_deg: float = 0.0
    """> 0: the camera turns clockwise about its own axis, so the picture turns the other way."""
    source_frame: int | None = None
    """Source frame shown at this moment; None = the output frame's own number."""


def key_times(keyframes: Sequence[Keyframe], frames: int) -> np.ndarray:
    """The moment of each key in [0, 1].

    Raises:
        ValueError: no keyframes, times out of range or not increasing.
    """
    if not keyframes:
        raise ValueError("A path needs at least one keyframe; got none.")
    if all(k.time is None and k.frame is None for k in keyframes):
        return np.linspace(0, 1, len(keyframes))
    times: list[float] = []
    for i, key in enumerate(keyframes):
        if (key.time is None) == (key.frame is None):
            raise ValueError(
                f"Keyframe {i}: give either time (0..1) or frame (0..{frames - 1}), in every "
                f"keyframe or in none; got time={key.time}, frame={key.frame}."
            )
        time = key.time if key.frame is None else key.frame / max(frames - 1, 1)
        assert time is not None
        if not 0 <= time <= 1:
            got = f"time={key.time}" if key.frame is None else f"frame={key.frame}"
            raise ValueError(
                f"Keyframe {i}: expected time in 0..1 or frame in 0..{frames - 1}; got {got}."
            )
        if times and time <= times[-1]:
            raise ValueError(
                f"Keyframe {i}: its moment must come after that of keyframe {i - 1}; sort them."
            )
        times.append(time)
    return np.array(times)


def key_source_frames(
    keyframes: Sequence[Keyframe], times: np.ndarray, frames: int
) -> Int[Tensor, " T"]:
    """The source frame that each output frame shows, for keys at `times` in [0, 1]."""
    named = [i for i, key in enumerate(keyframes) if key.source_frame is not None]
    if not named:
        return torch.arange(frames)
    at = np.linspace(0, 1, frames)
    # Moments run linearly between the keys that name one: time must not ease in and out by itself.
    moments = np.interp(at, times[named], [float(keyframes[i].source_frame or 0) for i in named])
    return torch.from_numpy(np.floor(moments + 0.5).astype(np.int64))
