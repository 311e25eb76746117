"""The second condition: what the source saw at other moments, in the target's cameras.

The one thing a reader would get wrong: frame i shows every chosen moment but i, whose points the
first condition has. What moved meanwhile stands where it was then, so this is a hint, not a truth.
"""

import numpy as np
import torch

from ..geometry.cameras import Cameras
from ..rendering.point_cloud import DynamicPointCloud
from ..rendering.render import Render, render


def other_moments(cloud: DynamicPointCloud, cameras: Cameras, count: int) -> Render:
    """Points of `count` moments spread over the clip, for each camera those that are not its own.

    Args:
        cloud: moment i belongs to camera i.

    Raises:
        ValueError: fewer than two moments, or another number of cameras.
    """
    if len(cloud) < 2 or len(cloud) != len(cameras):
        raise ValueError(
            f"Other moments need two at least, one per camera; got {len(cloud)} moments and "
            f"{len(cameras)} cameras."
        )
    views = []
    for i in range(len(cloud)):
        others = [moment for moment in range(len(cloud)) if moment != i]
        places = np.linspace(0, len(others) - 1, min(count, len(others))).round().astype(int)
        views.append(render(_joined(cloud[[others[p] for p in places]]), cameras[[i]]))
    return Render(
        torch.cat([view.frames for view in views]),
        torch.cat([view.depth for view in views]),
        torch.cat([view.visible for view in views]),
    )


def _joined(cloud: DynamicPointCloud) -> DynamicPointCloud:
    """All moments as one."""
    return DynamicPointCloud(
        cloud.points.flatten(0, 1)[None],
        cloud.colors.flatten(0, 1)[None],
        cloud.valid.flatten(0, 1)[None],
        cloud.spacing.flatten(0, 1)[None],
    )
