"""Dynamic scenes of textured meshes, drawn with OpenGL: pictures with their exact depth.

The world's axes are OpenCV's (y down), its origin is the source camera's base place, and its unit
is the meter. The sky is a dome 80 m around that place, so every pixel has a finite depth.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ....geometry.cameras import Cameras
from ....video.clip import Depth, Video
from ..shared import Place, Split, as_clip, check_times
from .content import Stock
from .layout import furnish_room, lay_ground
from .motion import Matrix
from .plot import lay_plot
from .renderer import Body, Light, draw


@dataclass(frozen=True)
class MeshScene:
    """People, furniture, trees and balls in a room or on open ground, many of them moving."""

    pivot: Float[Tensor, "3"]
    """What cameras look at; 3 to 7 m ahead of the origin, where the source camera stands."""
    eye: float
    """Height of the origin above the floor, meters."""
    bodies: tuple[Body, ...]
    light: Light

    @classmethod
    def make(cls, seed: int, *, split: Split, place: Place, assets: Path) -> "MeshScene":
        """The scene of a seed, whatever was made before it.

        Cameras on the arc about the vertical axis through the pivot, at the origin's distance, stay
        in free space: to 70 degrees on both sides, 5 below to 25 above, half a meter off the arc.

        Args:
            split: whose models, photographs and drawn pictures are used; no two splits share any.
            assets: a folder with the furniture catalogues and the miniworld wheel; see
                `docs/reference/synthetic_meshes.md`.

        Raises:
            ValueError: for an unknown split or place.
            FileNotFoundError: if something is missing below `assets`.
            ImportError: without trimesh.
        """
        salt: list[int] = []
        for value, known in ((split, get_args(Split)), (place, get_args(Place))):
            if value not in known:
                raise ValueError(f"Expected one of {', '.join(known)}; got {value!r}.")
            salt.append(known.index(value))
        stock = Stock.open(Path(assets), split, np.random.default_rng([seed, *salt]))
        plot = lay_plot(stock, place)
        light = (furnish_room if place == "room" else lay_ground)(stock, plot)
        x, y, z = plot.pivot
        return cls(torch.tensor([x, plot.eye - y, -z]), plot.eye, tuple(plot.bodies), light)

    @property
    def to_world(self) -> Matrix:
        """From the axes of the bodies (y up, floor at 0) to the world (y down, eye at 0)."""
        matrix = np.diag([1.0, -1.0, -1.0, 1.0])
        matrix[1, 3] = self.eye
        return matrix

    def render(
        self, cameras: Cameras, times: Float[Tensor, " T"], samples: int = 2
    ) -> tuple[Video, Depth]:
        """What `cameras` see at `times`, and its exact depth.

        Args:
            times: seconds, one per camera; their step sets the clip's frame rate.
            samples: color samples per pixel and axis; depth is that of the pixel center.

        Raises:
            ValueError: if the counts differ or `samples` is less than 1.
            ImportError: without moderngl.
            RuntimeError: without EGL.
        """
        check_times(cameras, times)
        if samples < 1:
            raise ValueError(f"Expected at least one color sample per pixel; got {samples}.")
        drawn = draw(self.bodies, self.light, self.to_world, cameras, times, samples)
        return as_clip(*drawn, cameras, times)
