"""Re-shoot a monocular video along a new camera path.

    from trajectorycrafter import TrajectoryCrafter, Video, preset

    video = Video.read("clip.mp4")
    result = TrajectoryCrafter()(video, preset("orbit-right", len(video)))
    result.video.write("reshot.mp4")

Names are imported on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config.redirect import RedirectSettings
    from .depth.estimator import load_depth_estimator
    from .geometry.cameras import Cameras
    from .geometry.keyframes import Keyframe
    from .geometry.presets import preset
    from .geometry.trajectories import Trajectory
    from .geometry.trajectory_files import read_trajectory, write_trajectory
    from .job.pipeline import Result, TrajectoryCrafter
    from .job.reshoot import redirect
    from .model.sampling import TrajectoryCrafterPipeline
    from .model.transformer import DualStreamTransformer
    from .rendering.completion import fill
    from .rendering.point_cloud import DynamicPointCloud, lift
    from .rendering.render import Render, double_reproject, render
    from .rendering.shot import Shot
    from .source_cameras import load_source_cameras
    from .video.clip import Depth, Video

_HOME = {
    "Cameras": "geometry.cameras",
    "Depth": "video.clip",
    "DualStreamTransformer": "model.transformer",
    "DynamicPointCloud": "rendering.point_cloud",
    "Keyframe": "geometry.keyframes",
    "RedirectSettings": "config.redirect",
    "Render": "rendering.render",
    "Result": "job.pipeline",
    "Shot": "rendering.shot",
    "Trajectory": "geometry.trajectories",
    "TrajectoryCrafter": "job.pipeline",
    "TrajectoryCrafterPipeline": "model.sampling",
    "Video": "video.clip",
    "double_reproject": "rendering.render",
    "fill": "rendering.completion",
    "lift": "rendering.point_cloud",
    "load_depth_estimator": "depth.estimator",
    "load_source_cameras": "source_cameras",
    "preset": "geometry.presets",
    "read_trajectory": "geometry.trajectory_files",
    "redirect": "job.reshoot",
    "render": "rendering.render",
    "write_trajectory": "geometry.trajectory_files",
}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]  # the names are in _HOME


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
