"""Named camera moves: each is a few curves over time 0..1, and an amount.

The one thing a reader would get wrong: an amount has the unit of its preset (degrees, fractions of
the scene radius, a factor on the focal length), so the same number means different moves.
"""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .modes import Mode, with_mode
from .trajectories import Trajectory


@dataclass(frozen=True)
class Preset:
    """A named move; its curves are given for time 0..1 and an amount."""

    amount: float
    """Default size of the move, in `unit`."""
    unit: str
    summary: str
    curves: Mapping[str, float] | Callable[[Tensor, float], dict[str, Tensor]] = field(repr=False)
    """Straight lines from 0 to a factor times the amount, or curves over time."""
    mode: Mode = "gradual"


def _zoom(t: Tensor, factor: float) -> dict[str, Tensor]:
    return {"zoom": 1 + (factor - 1) * t}


def _dolly_zoom(t: Tensor, factor: float) -> dict[str, Tensor]:
    zoom = _zoom(t, factor)["zoom"]
    return {"zoom": zoom, "dolly": 1 - zoom}


def _spiral(t: Tensor, angle_deg: float) -> dict[str, Tensor]:
    turn = 2 * math.pi * 2 * t
    azimuth, elevation = angle_deg * t * turn.sin(), angle_deg * t * turn.cos() / 2
    # The released dolly goes along the source's axis, which an orbiting camera has left; the way to
    # the pivot from where it is now has these three parts.
    phi, theta, way = azimuth.deg2rad(), elevation.deg2rad(), 0.3 * t
    return {
        "azimuth_deg": azimuth,
        "elevation_deg": elevation,
        "dolly": way * theta.cos() * phi.cos(),
        "right": -way * phi.sin(),
        "up": -way * theta.sin() * phi.cos(),
    }


def _arc(t: Tensor, angle_deg: float) -> dict[str, Tensor]:
    return {"azimuth_deg": angle_deg * t, "elevation_deg": angle_deg / 3 * (math.pi * t).sin()}


# Signs are those of the released buttons. Amounts are about a third of theirs: what a classical
# fill and depth without a true scale still bear; a generative model bears more (`amount`).
PRESETS: dict[str, Preset] = {
    "orbit-left": Preset(10, "degrees", "around the subject to the left", {"azimuth_deg": -1}),
    "orbit-right": Preset(10, "degrees", "around the subject to the right", {"azimuth_deg": 1}),
    "orbit-up": Preset(8, "degrees", "up and over the subject", {"elevation_deg": 1}),
    "orbit-down": Preset(6, "degrees", "down, looking up at the subject", {"elevation_deg": -1}),
    "pan-left": Preset(0.15, "radius", "straight to the left", {"right": -1}),
    "pan-right": Preset(0.15, "radius", "straight to the right", {"right": 1}),
    "pan-up": Preset(0.15, "radius", "straight up", {"up": 1}),
    "pan-down": Preset(0.15, "radius", "straight down", {"up": -1}),
    "dolly-in": Preset(0.25, "radius", "forward, towards the subject", {"dolly": 1}),
    "dolly-out": Preset(0.25, "radius", "backward", {"dolly": -1}),
    "zoom-in": Preset(1.5, "times", "longer lens, camera still", _zoom),
    "zoom-out": Preset(1.5, "times", "wider lens, camera still", lambda t, a: _zoom(t, 1 / a)),
    "dolly-zoom": Preset(0.7, "final focal factor", "the subject keeps its size", _dolly_zoom),
    "spiral": Preset(6, "degrees", "two widening turns while moving forward", _spiral),
    "arc": Preset(10, "degrees", "to the right in an arc that rises in the middle", _arc),
    "static": Preset(0, "none", "the source camera itself", {}),
    "bullet": Preset(
        10, "degrees", "time stands still while orbiting right", {"azimuth_deg": 1}, "bullet"
    ),
}


def preset(
    name: str,
    frames: int,
    amount: float | None = None,
    *,
    source_frames: int | None = None,
    moment: int | None = None,
    ease: bool = False,
) -> Trajectory:
    """A named move (`PRESETS` lists them).

    Args:
        amount: size of the move in the preset's unit; None = its default.
        source_frames: frames of the clip; None = `frames`. Only presets that hold a moment ask.
        moment: source frame that preset bullet holds; None = the last.

    Raises:
        ValueError: an unknown name (the nearest is suggested) or an amount out of range.
    """
    if name not in PRESETS:
        typed = name.lower().replace("_", "-")
        near = difflib.get_close_matches(typed, PRESETS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"Unknown preset {name!r}; did you mean {near!r}? All: {', '.join(PRESETS)}."
        )
    entry = PRESETS[name]
    amount = entry.amount if amount is None else amount
    if not math.isfinite(amount) or ("zoom" in name and amount <= 0):
        raise ValueError(
            f"Preset {name}: expected a finite amount ({entry.unit}, zoom > 0); got {amount}."
        )
    still = Trajectory.static(frames)
    even = np.linspace(0, 1, frames)
    time = torch.from_numpy(even * even * (3 - 2 * even) if ease else even).float()
    if callable(entry.curves):
        curves = entry.curves(time, amount)
    else:
        curves = {name: factor * amount * time for name, factor in entry.curves.items()}
    pan = torch.stack([curves.pop(axis, torch.zeros(frames)) for axis in ("right", "up")], dim=-1)
    trajectory = replace(still, pan=pan, **curves)
    if entry.mode == "gradual":
        return trajectory
    return with_mode(trajectory, entry.mode, source_frames or frames, moment=moment)
