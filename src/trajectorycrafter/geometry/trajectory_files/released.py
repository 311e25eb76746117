"""The released three-line text file: elevation, azimuth (degrees) and dolly, and nothing else."""

from pathlib import Path

import torch

from ..cameras import Cameras
from ..interpolation import Interpolation
from ..trajectories import Trajectory, parse_released_text
from .checks import read_text, wrong


def read(path: Path, frames: int | None, interpolation: Interpolation) -> Trajectory:
    """A trajectory through the file's numbers; `frames` None = as many as its longest line."""
    curves = parse_released_text(read_text(path), str(path))
    frames = max(len(line) for line in curves) if frames is None else frames
    return Trajectory.from_curves(*curves, frames, interpolation=interpolation)


def encode(value: Trajectory | Cameras) -> str:
    """Elevation, azimuth and dolly of every frame."""
    if isinstance(value, Cameras) or value.absolute is not None:
        raise wrong("format released", "relative motion", "absolute cameras; use format json")
    plain = Trajectory.static(len(value))
    names = ("pan", "zoom", "roll_deg", "source_frame")
    lost = [name for name in names if not torch.equal(getattr(value, name), getattr(plain, name))]
    names = ("relative_to", "anchor")
    lost += [name for name in names if getattr(value, name) != getattr(plain, name)]
    if lost:
        expected = "a path of elevation, azimuth and dolly only"
        raise wrong("format released", expected, f"{', '.join(lost)} as well; use format json")
    rows = (value.elevation_deg, value.azimuth_deg, value.dolly)
    return "".join(" ".join(f"{x:.9g}" for x in row.tolist()) + "\n" for row in rows)
