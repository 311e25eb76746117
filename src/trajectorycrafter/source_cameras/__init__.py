"""Where the source camera was while it filmed: one protocol, and loading by name.

The one thing a reader would get wrong: the cameras must be in the units of the depth, else the
point clouds of different frames do not meet. `colmap` sees to it; a file's author has to.
"""

from pathlib import Path
from typing import Protocol, runtime_checkable

from ..geometry.cameras import Cameras, check_cameras, static_cameras
from ..runtime.plugins import load_plugin, unknown_name
from ..video.clip import Depth, Video

NAMES = {
    "static": "the camera stood still",
    "colmap": "structure from motion over the clip (extra `poses`)",
    "colmap:refine": "the same, and the focal length is fitted as well",
    "file:PATH": "cameras from a depth npz or any trajectory file",
    "module:attribute": "an object of your own that takes a Video and a Depth and returns Cameras",
}
"""What `load_source_cameras` understands."""


@runtime_checkable
class SourceCameras(Protocol):
    """Anything that says where the camera was, one camera per frame, in the depth's units."""

    def __call__(self, video: Video, depth: Depth) -> Cameras: ...


def static_source(video: Video, depth: Depth) -> Cameras:
    """The default: the source camera stood still, at the world's origin, with the depth's K.

    Raises:
        ValueError: depth without intrinsics, or with some that cannot be used.
    """
    if depth.K is None:
        raise ValueError(
            "This depth comes without intrinsics; give it K (Depth.of(z, K)) or a field of view."
        )
    return check_cameras(static_cameras(depth.K, video.height, video.width), "depth")


def load_source_cameras(name: str = "static") -> SourceCameras:
    """The source of cameras of that name, one of `NAMES`.

    Raises:
        ValueError: an unknown name, or a missing package.
        FileNotFoundError: a file that is not there.
    """
    kind, _, rest = name.partition(":")
    if name == "static":
        return static_source
    if name in ("colmap", "colmap:refine"):
        from .colmap import Colmap

        return Colmap(refine_focal=rest == "refine")
    if kind == "file" and rest:
        from .from_file import CameraFile

        return CameraFile(Path(rest))
    if kind and rest and kind not in ("static", "colmap"):
        return load_plugin(name, "source of cameras", NAMES)
    raise ValueError(unknown_name(name, "source of cameras", NAMES))
