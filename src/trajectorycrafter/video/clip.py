"""Moving pictures and their depth: the two values that every stage passes on.

The one thing a reader would get wrong: frames are `T 3 H W`, RGB, float32 in [0, 1], always. Other
ranges and layouts exist only where files are decoded or encoded (`reading.py`, `writing.py`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..geometry.frames import Frames

if TYPE_CHECKING:
    from .reading import FrameChoice, VideoInfo
    from .sound import Sound


@dataclass(frozen=True)
class Video(Frames):
    """A clip in memory."""

    frames: Float[Tensor, "T 3 H W"]
    """RGB in [0, 1], float32."""
    fps: float
    """Frames per second of these frames (a stride of 2 halves the file's rate)."""

    @property
    def height(self) -> int:
        return self.frames.shape[2]

    @property
    def width(self) -> int:
        return self.frames.shape[3]

    @classmethod
    def read(
        cls,
        path: str | Path,
        choice: "FrameChoice | None" = None,
        info: "VideoInfo | None" = None,
    ) -> "Video":
        """Read a clip, a folder of images or a single image; see `reading.read_video`."""
        from .reading import FrameChoice, read_video

        return read_video(path, choice or FrameChoice(), info)

    def write(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        crf: int = 14,
        sound: "Sound | None" = None,
    ) -> Path:
        """Write an H.264 mp4, or PNGs if `path` has no suffix; see `writing.write_video`."""
        from .writing import write_video

        return write_video(self, path, overwrite=overwrite, crf=crf, sound=sound)


@dataclass(frozen=True)
class Depth(Frames):
    """Distance along the optical axis for every pixel of a clip."""

    z: Float[Tensor, "T 1 H W"]
    """Scene units, > 0 and finite where valid."""
    valid: Bool[Tensor, "T 1 H W"]
    """True where `z` can be trusted to be a surface."""
    K: Float[Tensor, "T 3 3"] | None = None
    """Intrinsics in pixels (centers at +0.5) if the estimator knows them."""

    @classmethod
    def of(cls, z: Float[Tensor, "T 1 H W"], K: Float[Tensor, "T 3 3"] | None = None) -> "Depth":
        """Depth whose valid pixels are the finite, positive ones; the others become 1."""
        valid = torch.isfinite(z) & (z > 0)
        return cls(torch.where(valid, z, torch.ones_like(z)), valid, K)
