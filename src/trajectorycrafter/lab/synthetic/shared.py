"""What ray-cast and mesh scenes share: splits, places, colors, chance, and the clip they give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...geometry.cameras import Cameras
from ...video.clip import Depth, Video

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
Place = Literal["room", "ground"]
Vector = tuple[float, float, float]
Color = Vector
"""RGB in [0, 1]."""
T = TypeVar("T")


def triple(values: Float[np.ndarray, "3"]) -> Vector:
    """An array's three numbers as plain ones."""
    x, y, z = (float(value) for value in values)
    return x, y, z


@dataclass(frozen=True)
class Chance:
    """What scenes are drawn with. The order of the draws is part of what a seed means."""

    rng: np.random.Generator

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def count(self, low: int, high: int) -> int:
        """One of low .. high - 1."""
        return int(self.rng.integers(low, high))

    def pick(self, options: Sequence[T]) -> T:
        return options[self.count(0, len(options))]


def check_times(cameras: Cameras, times: Float[Tensor, " T"]) -> None:
    """Raises ValueError unless there is one time per camera."""
    if len(times) != len(cameras):
        raise ValueError(f"Expected one time per camera; got {len(times)} and {len(cameras)}.")


def as_clip(
    frames: Float[Tensor, "T 3 H W"],
    z: Float[Tensor, "T H W"],
    cameras: Cameras,
    times: Float[Tensor, " T"],
) -> tuple[Video, Depth]:
    """Drawn pictures and depth as a clip whose frame rate is that of its first two times."""
    step = float(times[1] - times[0]) if len(times) > 1 else 0.0
    return Video(frames, 1 / step if step > 0 else 24.0), Depth.of(z[:, None], cameras.K)
