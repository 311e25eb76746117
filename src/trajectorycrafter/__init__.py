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
    from .config.redirect import RedirectSettings as RedirectSettings
    from .depth.estimator import load_depth_estimator as load_depth_estimator
    from .geometry.cameras import Cameras as Cameras
    from .geometry.keyframes import Keyframe as Keyframe
    from .geometry.presets import preset as preset
    from .geometry.trajectories import Trajectory as Trajectory
    from .geometry.trajectory_files import read_trajectory as read_trajectory
    from .geometry.trajectory_files import write_trajectory as write_trajectory
    from .job.pipeline import Result as Result
    from .job.pipeline import TrajectoryCrafter as TrajectoryCrafter
    from .job.reshoot import redirect as redirect
    from .model.sampling import TrajectoryCrafterPipeline as TrajectoryCrafterPipeline
    from .model.transformer import DualStreamTransformer as DualStreamTransformer
    from .rendering.completion import fill as fill
    from .rendering.point_cloud import DynamicPointCloud as DynamicPointCloud
    from .rendering.point_cloud import lift as lift
    from .rendering.render import Render as Render
    from .rendering.render import double_reproject as double_reproject
    from .rendering.render import render as render
    from .rendering.shot import Shot as Shot
    from .source_cameras import load_source_cameras as load_source_cameras
    from .video.clip import Depth as Depth
    from .video.clip import Video as Video

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
