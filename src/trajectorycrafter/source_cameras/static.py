"""The default: the source camera stood still, at the world's origin."""

from jaxtyping import Float
from torch import Tensor

from ..geometry.cameras import Cameras, check_cameras, static_cameras
from ..video.clip import Depth, Video


def static_source(video: Video, depth: Depth) -> Cameras:
    """One and the same place for every frame, with the depth's intrinsics.

    Raises:
        ValueError: depth without intrinsics, or with unusable ones.
    """
    return check_cameras(
        static_cameras(known_intrinsics(depth), video.height, video.width), "depth"
    )


def known_intrinsics(depth: Depth) -> Float[Tensor, "T 3 3"]:
    """The depth's K.

    Raises:
        ValueError: if it has none.
    """
    if depth.K is None:
        raise ValueError(
            "This depth comes without intrinsics; give it K (Depth.of(z, K)) or a field of view."
        )
    return depth.K
