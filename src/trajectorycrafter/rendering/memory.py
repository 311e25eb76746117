"""The second condition: what the source saw at other moments, in the new cameras.

The one thing a reader would get wrong: a frame shows every chosen moment but its own, whose points
the first condition has. What moved meanwhile stands where it was then: a hint, not a truth.
"""

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ..geometry.cameras import Cameras
from ..geometry.frames import joined, mapped
from .point_cloud import DynamicPointCloud
from .render import Render, render


def other_moments(
    cloud: DynamicPointCloud,
    cameras: Cameras,
    count: int,
    source_frame: Int[Tensor, " T"] | None = None,
) -> Render:
    """Points of `count` moments spread over the clip, for each camera those that are not its own.

    Args:
        source_frame: the moment that each camera shows; None if moment i belongs to camera i.

    Raises:
        ValueError: fewer than two moments, or another number of cameras than of shown moments.
    """
    shown = list(range(len(cloud))) if source_frame is None else source_frame.tolist()
    if len(cloud) < 2 or len(shown) != len(cameras):
        raise ValueError(
            f"Other moments need two at least, one shown per camera; got {len(cloud)} moments, "
            f"{len(shown)} of them shown by {len(cameras)} cameras."
        )
    views = []
    for i, own in enumerate(shown):
        others = [moment for moment in range(len(cloud)) if moment != own]
        places = np.linspace(0, len(others) - 1, min(count, len(others))).round().astype(int)
        moments = cloud[[others[p] for p in places]]
        as_one = mapped(moments, lambda tensor: tensor.flatten(0, 1)[None])
        views.append(render(as_one, cameras[[i]]))
    return joined(views)
