"""Procedural dynamic scenes, seen exactly: rooms and outdoor grounds full of things that move.

Depth is that of the surface at the pixel's center and never blended, while color is the mean over
the pixel, as a lens makes it. A pixel on a silhouette has one surface's depth and a mixture of both
colors, as in filmed material with perfect depth.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...geometry.cameras import Cameras
from ...video.clip import Depth, Video
from .layout import Layout, RayLight
from .materials import Material
from .patterns import CELLS
from .posing import balls_around, pose
from .raycast import GROUND, ROOM, SKY, Moment, cast
from .shared import SPLITS, Place, Split, Vector, as_clip, check_times
from .things import Thing


@dataclass(frozen=True)
class RayScene:
    """A dynamic scene. World axes are OpenCV's, y down, meters; the source camera's place is the
    origin and it looks along z."""

    place: Place
    room: np.ndarray = field(repr=False)
    """`2 3`: lowest and highest corner; outdoors only the floor counts."""
    surroundings: tuple[Material, ...] = field(repr=False)
    """The six walls (-x, x, ceiling, floor, -z, z), or ground, sky and haze."""
    things: tuple[Thing, ...] = field(repr=False)
    light: RayLight
    pivot: Vector
    """What is filmed: the middle of things."""

    @classmethod
    def make(cls, seed: int, *, split: Split = "train", place: Place | None = None) -> "RayScene":
        """A scene drawn from `seed`, the same on every machine.

        Args:
            split: whose materials and designs it is made of; splits share none.
            place: a room or an outdoor ground; default: drawn.
        """
        rng = np.random.default_rng([3, SPLITS.index(split), seed])
        drawn: Place = "room" if rng.random() < 0.5 else "ground"
        layout = Layout(rng, split, place or drawn)
        surroundings, things, light = layout.surroundings(), layout.things(), layout.light()
        return cls(place or drawn, layout.room, surroundings, things, light, layout.pivot)

    def render(
        self, cameras: Cameras, times: Float[Tensor, " T"], *, samples: int = 2
    ) -> tuple[Video, Depth]:
        """What `cameras` see at `times`, and the exact depth.

        Args:
            times: seconds; their step sets the clip's frame rate.
            samples: rays per pixel and axis for color.

        Raises:
            ValueError: the counts differ, or a camera is below the floor or outside of the room.
        """
        check_times(cameras, times)
        self._check_inside(cameras)
        count, size = len(cameras), (cameras.height, cameras.width)
        frames, z = np.zeros((count, 3, *size), np.float32), np.zeros((count, *size), np.float32)
        moments = self._posed(times.double().numpy())
        to_world = cameras.camera_to_world.double().numpy()
        K = cameras.K.double().numpy()

        def draw(i: int) -> None:
            lens = K[i, 0, 0], K[i, 1, 1], K[i, 0, 2], K[i, 1, 2]
            pose = np.ascontiguousarray(to_world[i, :3, 3]), np.ascontiguousarray(to_world[i])
            cast(moments[i], *pose, *lens, samples, frames[i], z[i])

        workers = max(1, min(torch.get_num_threads(), os.cpu_count() or 1))
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(draw, range(count)))
        return as_clip(torch.from_numpy(frames), torch.from_numpy(z), cameras, times)

    def _check_inside(self, cameras: Cameras) -> None:
        low, high = torch.from_numpy(self.room).float()
        if self.place == "ground":
            low, high = torch.full((3,), -SKY / 2), torch.tensor([SKY / 2, float(high[1]), SKY / 2])
        inside = ((cameras.centers > low) & (cameras.centers < high)).all(dim=1)
        if not inside.all():
            frame = int((~inside).nonzero()[0])
            raise ValueError(
                f"Camera {frame} at {cameras.centers[frame].tolist()} is outside the room "
                f"{low.tolist()} to {high.tolist()}; move it inside."
            )

    def _posed(self, times: np.ndarray) -> list[Moment]:
        """The scene as flat arrays, a moment each."""
        parts = [part for thing in self.things for part in thing.parts]
        ends = np.cumsum([0] + [len(thing.parts) for thing in self.things])
        ranges = np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int64)
        matrices = pose(self.things, times)
        part_balls, thing_balls = balls_around(matrices, ranges)
        to_unit = np.ascontiguousarray(np.linalg.inv(matrices)[..., :3, :])
        rows = [*self.surroundings, *(part.material for part in parts)]
        kinds = np.array([part.kind for part in parts], np.int64)
        sizes = np.array([part.half_size for part in parts]).reshape(-1, 3)
        owners = np.arange(len(self.surroundings), len(rows))
        materials = np.stack([material.row for material in rows]).astype(float)
        return [
            Moment(
                place=ROOM if self.place == "room" else GROUND,
                room=self.room.astype(float),
                spheres=thing_balls[i],
                ranges=ranges,
                part_spheres=part_balls[i],
                kinds=kinds,
                to_unit=to_unit[i],
                sizes=sizes,
                owners=owners,
                materials=materials,
                light=self.light.row(time),
                noise=_noise(),
            )
            for i, time in enumerate(times)
        ]


@lru_cache(1)
def _noise() -> np.ndarray:
    """Periodic noise, the first layer repeated at the end of each axis."""
    return np.pad(np.random.default_rng(4).random((CELLS,) * 3), ((0, 1),) * 3, mode="wrap")
