"""What a visitor should know before a long run.

The one thing a reader would get wrong: paths given as matrices are judged, too; they are turned
into the numbers that a keyframe would have.
"""

from dataclasses import replace

import torch

from ..geometry.pivot import keyframe_at
from ..geometry.trajectories import Trajectory, check_ranges
from .preparing import PreparedClip
from .preview import FrameShares
from .resolving import bases

MANY_HOLES, MUCH_STRETCHED = 0.4, 0.6
"""Shares of a frame from which on a warning is due."""


def path_warnings(path: Trajectory, clip: PreparedClip, shares: FrameShares) -> list[str]:
    """A sentence for each way in which the path asks for more than can be expected."""
    told = check_ranges(path if path.absolute is None else as_numbers(path, clip))
    holes, stretched = shares.holes, shares.stretched
    if float(holes.max()) > MANY_HOLES:
        told.append(
            f"In frame {int(holes.argmax())} {float(holes.max()):.0%} of the picture was "
            "never seen and has to be invented."
        )
    if float(stretched.max()) > MUCH_STRETCHED:
        told.append(
            f"In frame {int(stretched.argmax())} {float(stretched.max()):.0%} of the picture is "
            "seen from too far away and will be soft."
        )
    return told


def as_numbers(path: Trajectory, clip: PreparedClip) -> Trajectory:
    """A path of matrices as elevation, azimuth, dolly and pan against the shown source frames."""
    cameras = path.cameras(clip.source, clip.radius)
    base = bases("shown_frame", path.source_frame, clip.source)
    keys = []
    for pose, start in zip(cameras.world_to_camera, base, strict=True):
        keys.append(keyframe_at(pose, start, clip.radius, near=keys[-1] if keys else None))
    return replace(
        Trajectory.static(len(path)),
        elevation_deg=torch.tensor([key.elevation_deg for key in keys]),
        azimuth_deg=torch.tensor([key.azimuth_deg for key in keys]),
        dolly=torch.tensor([key.dolly for key in keys]),
        pan=torch.tensor([[key.right, key.up] for key in keys]),
    )
