"""A shot: everything that is known before the new video is made.

The one thing a reader would get wrong: `video`, `depth`, `source` and `cloud` count source frames;
`cameras` and `view` count output frames. `trajectory.source_frame` leads from these to those.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ..geometry.cameras import Cameras
from ..geometry.trajectories import Trajectory
from ..video.clip import Depth, Video
from .point_cloud import DynamicPointCloud, lift
from .render import Render, render


@dataclass(frozen=True)
class Shot:
    """A filmed scene, and what new cameras see of it."""

    video: Video
    """The source clip."""
    depth: Depth
    """One map per source frame."""
    source: Cameras
    """Where the source camera was, one per source frame."""
    cloud: DynamicPointCloud
    """One moment per source frame, row by row of its pixels."""
    trajectory: Trajectory
    cameras: Cameras
    """The new cameras, one per output frame."""
    view: Render
    """What the new cameras see of the cloud."""
    reference_frames: Int[Tensor, " R"]
    """Source frames that the model looks at."""

    def __post_init__(self) -> None:
        """Raises ValueError unless the counts of frames, moments and pixels fit each other."""
        view, cameras, moments = self.view, self.cameras, self.trajectory.source_frame
        if not len(view) == len(cameras) == len(moments):
            raise ValueError(
                "Expected one camera and one source frame per frame of the view; got "
                f"{len(view)} frames, {len(cameras)} cameras, {len(moments)} source frames."
            )
        if (cameras.height, cameras.width) != tuple(view.frames.shape[2:]):
            raise ValueError(
                f"Expected cameras of the view's size {tuple(view.frames.shape[2:])}; got "
                f"{(cameras.height, cameras.width)}. Use cameras.resized(height, width)."
            )
        shape = len(self.source), self.source.height * self.source.width
        if tuple(self.cloud.valid.shape) != shape:
            raise ValueError(
                f"Expected a cloud of {shape[0]} moments and {shape[1]} points, one per pixel of "
                f"the source; got {tuple(self.cloud.valid.shape)}."
            )
        if moments.min() < 0 or moments.max() >= shape[0]:
            raise ValueError(
                f"source_frame must lie in 0 to {shape[0] - 1}; got {int(moments.min())} to "
                f"{int(moments.max())}."
            )

    @classmethod
    def along(cls, video: Video, depth: Depth, source: Cameras, cameras: Cameras) -> "Shot":
        """The shot of cameras in the source's world, frame i at moment i; without references."""
        cloud = lift(video, depth, source)
        path = Trajectory.from_cameras(cameras, relative_to="world")
        view = render(cloud, cameras)
        return cls(video, depth, source, cloud, path, cameras, view, torch.arange(0))
