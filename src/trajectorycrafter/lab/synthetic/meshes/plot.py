"""The ground plan of a mesh scene: what may stand where, so that the cameras' arc stays free.

Cameras move on an arc about the vertical axis through the pivot, at the source camera's distance.
Things may stand near the pivot, behind it, or outside the arc; every other place is refused, for
the whole way that a body moves.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from .content import Stock
from .motion import Vector
from .renderer import Body

ARC_DEG = 70.0
"""Azimuth to which cameras go on either side of the source camera."""
ELEVATION_DEG = (-5.0, 25.0)
"""Elevation of cameras about the pivot, from the source camera's own."""
SLACK = 0.5
"""Meters by which cameras leave the arc."""
CLEAR = 0.15
"""Meters that stay free beyond that."""
NEAR_PIVOT = 0.6
"""Share of the distance to the pivot within which things stand."""


@dataclass
class Plot:
    """The ground plan: what may stand where, and what stands there already."""

    eye: float
    """Height of the source camera over the floor; it looks along -z from x = z = 0."""
    pivot: Vector
    """What cameras look at; y up, floor at 0."""
    bounds: Float[np.ndarray, "2 2"]
    """Lowest and highest x and z inside the walls."""
    bodies: list[Body] = field(default_factory=list)
    taken: list[Float[np.ndarray, "P 3"]] = field(default_factory=list)
    """Circles (x, z, radius) that bodies keep or pass through."""

    @property
    def distance(self) -> float:
        """From the source camera to the pivot."""
        x, y, z = self.pivot
        return math.hypot(x, y - self.eye, z)

    def free(self, circles: Float[np.ndarray, "P 3"]) -> bool:
        """True if things within the circles are inside the walls and off the cameras' arc."""
        x, z, radius = circles.T
        low, high = self.bounds
        inside = (x - radius > low[0]) & (x + radius < high[0])
        inside &= (z - radius > low[1]) & (z + radius < high[1])
        away = np.hypot(x - self.pivot[0], z - self.pivot[2])
        near = away + radius < NEAR_PIVOT * self.distance
        outside = away - radius > self.distance + SLACK + CLEAR
        behind = z + radius < self.pivot[2]
        return bool((inside & (near | outside | behind)).all())

    def fits(self, circles: Float[np.ndarray, "P 3"], gap: float = 0.1) -> bool:
        """True if the circles are free and meet nobody's."""
        if not self.free(circles):
            return False
        for other in self.taken:
            apart = np.hypot(*(circles[:, None, :2] - other[None, :, :2]).transpose(2, 0, 1))
            if (apart < circles[:, None, 2] + other[None, :, 2] + gap).any():
                return False
        return True

    def add(self, body: Body, radius: float) -> bool:
        """Put the body there if its whole way fits; returns whether it did."""
        track = body.motion.track()
        return self.put(body, np.column_stack([track, np.full(len(track), radius)]))

    def put(self, body: Body, circles: Float[np.ndarray, "P 3"]) -> bool:
        """Put the body there if the circles that it takes fit; returns whether they did."""
        if not self.fits(circles):
            return False
        self.taken.append(circles)
        self.bodies.append(body)
        return True

    def polar(self, share: float, angle: float) -> tuple[float, float]:
        """The place at a share of the distance from the pivot; angle 0 is behind it."""
        reach = share * self.distance
        x, _, z = self.pivot
        return x + reach * math.sin(angle), z - reach * math.cos(angle)


def lay_plot(stock: Stock, place: str) -> Plot:
    """A camera height, a pivot and walls that leave the arc free."""
    distance = stock.between(3.0, 4.6) if place == "room" else stock.between(3.2, 6.8)
    # The lowest camera stays clear of the floor.
    sunk = distance * math.sin(math.radians(-ELEVATION_DEG[0])) + SLACK + CLEAR
    eye = stock.between(max(1.2, sunk + 0.05), 1.7)
    drop = stock.between(0.0, min(0.35, eye - sunk))
    pivot = (0.0, eye - drop, -math.sqrt(distance**2 - drop**2))
    if place == "ground":
        return Plot(eye, pivot, np.array([[-60.0, -60.0], [60.0, 60.0]]))
    half = distance + SLACK + stock.between(1.0, 2.2)
    back = pivot[2] - distance * stock.between(0.75, 1.1)
    bounds = np.array([[-half, back], [stock.between(0, 0.8) + half, stock.between(1.4, 2.4)]])
    return Plot(eye, pivot, bounds)
