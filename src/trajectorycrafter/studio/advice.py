"""What a visitor should know before a long run."""

from dataclasses import replace

import torch

from ..geometry.pivot import keyframe_at
from ..geometry.trajectories import Trajectory, check_ranges
from .preparing import PreparedClip
from .preview import FrameShares

MANY_HOLES, MUCH_STRETCHED = 0.4, 0.6
"""Shares of a frame above which a warning is due."""


def path_warnings(path: Trajectory, clip: PreparedClip, shares: FrameShares) -> list[str]:
    """A sentence for each way in which the path asks for more than can be expected."""
    warnings = check_ranges(path if path.absolute is None else as_numbers(path, clip))
    for share, most, what in (
        (shares.holes, MANY_HOLES, "was never seen and has to be invented."),
        (shares.stretched, MUCH_STRETCHED, "is seen from too far away and will be soft."),
    ):
        worst = int(share.argmax())
        if float(share[worst]) > most:
            warnings.append(f"In frame {worst} {float(share[worst]):.0%} of the picture {what}")
    return warnings


def as_numbers(path: Trajectory, clip: PreparedClip) -> Trajectory:
    """A path of matrices as a keyframe's numbers against the shown source frames."""
    cameras = path.cameras(clip.source, clip.radius)
    base = clip.source.world_to_camera[path.source_frame]
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
