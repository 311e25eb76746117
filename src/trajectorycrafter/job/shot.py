"""A shot: everything that is known before the new video is made, and what came of it.

The one thing a reader would get wrong: `video`, `depth`, `source` and `cloud` count source frames;
`cameras` and `view` count output frames. `trajectory.source_frame` leads from these to those.
"""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from ..geometry.cameras import Cameras
from ..geometry.trajectories import Trajectory
from ..rendering.point_cloud import DynamicPointCloud
from ..rendering.render import Render
from ..video.clip import Depth, Video


@dataclass(frozen=True)
class Shot:
    """Everything that is known before the generator runs."""

    video: Video
    """The source clip."""
    depth: Depth
    """One map per source frame."""
    source: Cameras
    """Where the source camera was, one per source frame."""
    cloud: DynamicPointCloud
    """One moment per source frame."""
    trajectory: Trajectory
    cameras: Cameras
    """The new cameras, one per output frame."""
    view: Render
    """What the new cameras see of the cloud."""
    reference_frames: Int[Tensor, " R"]
    """Source frames that the model looks at."""

    @property
    def source_frame(self) -> Int[Tensor, " T"]:
        """The source frame whose moment each output frame shows."""
        return self.trajectory.source_frame


@dataclass(frozen=True)
class Result:
    """The re-shot video and how it came about."""

    video: Video
    shot: Shot
    caption: str | None
    """The prompt that was used; None for a generator that reads none."""
