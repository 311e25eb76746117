"""The five calls that are nodes; their types and settings make the sockets and widgets.

The one thing a reader would get wrong: frames pass between nodes without their rate, so `load`
gives it beside them, for the node that saves the video.
"""

from functools import lru_cache

from ..config.redirect import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    GeneratorSettings,
    MachineSettings,
    RedirectSettings,
)
from ..depth.estimator import check_depth
from ..geometry.trajectories import Trajectory
from ..job.generation import check_model
from ..job.pipeline import TrajectoryCrafter
from ..job.reshoot import frame_choice, make_trajectory
from ..rendering.render import Render
from ..rendering.shot import Shot
from ..video.clip import Depth, Video
from ..video.pictures import colorize_depth
from ..video.reading import clip_path, probe


def load(clip: str = "demo", frames: ClipSettings = ClipSettings()) -> tuple[Video, float]:  # noqa: B008
    """Read a clip: a video, a folder of images, an image, or the word demo.

    Returns:
        The frames, and how many of them make a second.

    Raises:
        FileNotFoundError: no such clip.
        ValueError: not a clip, or frames that it has not got.
    """
    path = clip_path(clip)
    video = Video.read(path, frame_choice(probe(path), RedirectSettings(clip=frames)))
    return video, float(video.fps)


def depth(
    frames: Video,
    estimator: DepthSettings = DepthSettings(),  # noqa: B008
    machine: MachineSettings = MachineSettings(),  # noqa: B008
) -> tuple[Depth, Video]:
    """How far things are, frame by frame, and a coloured picture of it.

    Raises:
        FileNotFoundError: weights that are not there.
        ValueError: an unknown estimator.
    """
    crafter = _crafter(RedirectSettings(depth=estimator, machine=machine))
    found = check_depth(crafter.depth_estimator(frames), frames)
    return found, Video(colorize_depth(found), frames.fps)


def trajectory(
    frames: Video,
    path: CameraSettings = CameraSettings(camera="orbit-right"),  # noqa: B008
) -> tuple[Trajectory]:
    """Where the new camera goes, for a clip of so many frames.

    Raises:
        FileNotFoundError: no such trajectory file.
        ValueError: none or more than one way to name the path, or a wrong one.
    """
    return (make_trajectory(path, len(frames)),)


def render(
    frames: Video,
    depth: Depth,
    trajectory: Trajectory,
    source: str = "static",
    radius: float | None = None,
) -> tuple[Render, Shot]:
    """What the new camera sees of the point cloud, where it sees anything, and all that led to it.

    Args:
        source: Where the source camera was: static, colmap, or file:PATH.
        radius: Distance to the pivot, scene units; default: where the nearer things in the middle
            are.

    Raises:
        ValueError: depth or a trajectory made for other frames.
    """
    settings = RedirectSettings(camera=CameraSettings(source=source, radius=radius))
    shot = TrajectoryCrafter(depth=lambda video: depth, settings=settings).shoot(frames, trajectory)
    return shot.view, shot


def generate(
    shot: Shot,
    generator: GeneratorSettings = GeneratorSettings(),  # noqa: B008
    machine: MachineSettings = MachineSettings(),  # noqa: B008
) -> tuple[Video]:
    """Complete the render: the finished video.

    Raises:
        FileNotFoundError: weights that are not there.
        ValueError: an unknown model.
    """
    settings = RedirectSettings(generator=generator, machine=machine)
    check_model(settings)
    return (_crafter(settings).complete(shot).video,)


@lru_cache(maxsize=2)
def _crafter(settings: RedirectSettings) -> TrajectoryCrafter:
    """One for these settings, its parts kept loaded from run to run."""
    return TrajectoryCrafter(settings=settings)
