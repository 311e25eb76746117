"""How bodies of a mesh scene move and bend over time.

Everything is a function of the time alone, without state, so that any moment can be drawn in any
order; walking feet do not slide, since the rhythm of the legs follows from the speed along the
path.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..shared import Vector
from .shapes import Soup

Matrix = Float[np.ndarray, "4 4"]


def turned(axis: int, angle: float) -> Matrix:
    """Rotation about x (0), y (1) or z (2) by `angle` radians."""
    c, s = math.cos(angle), math.sin(angle)
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(4)
    matrix[first, first] = matrix[second, second] = c
    matrix[first, second], matrix[second, first] = -s, s
    return matrix


def moved(x: float, y: float, z: float) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


@dataclass(frozen=True)
class Motion:
    """Where a body is over time; the defaults stand still. Meters, radians, seconds."""

    at: Vector = (0.0, 0.0, 0.0)
    """The place at rest, or the middle of the path."""
    turn: float = 0.0
    """About the vertical, at time 0."""
    scale: Vector = (1.0, 1.0, 1.0)
    spin: float = 0.0
    """Radians per second about the vertical."""
    swing: Vector = (0.0, 0.0, 0.0)
    """Furthest displacement to and fro along a line."""
    period: float = 3.0
    """Of the swing, the rocking and the bounce."""
    phase: float = 0.0
    rock: float = 0.0
    """Largest angle of rocking about the body's own z axis."""
    roll_radius: float = 0.0
    """Of a ball that rolls along its swing; 0 for what slides."""
    bounce: float = 0.0
    """Height of the jumps."""
    squash: float = 0.0
    """Share of its height that the body loses when it lands."""
    path: tuple[float, float] = (0.0, 0.0)
    """Half axes in x and z of an ellipse walked around `at`, facing ahead; 0 for none."""
    speed: float = 1.0
    """Meters per second along the path, in the mean."""

    def matrix(self, time: float) -> Matrix:
        """Model to world at `time` seconds."""
        angle = 2 * math.pi * time / self.period + self.phase
        sine, place = math.sin(angle), np.array(self.at)
        turn = self.turn + self.spin * time
        if any(self.path):
            x, z, turn = self._on_path(time)
            place = place + [x, 0, z]
        place = place + np.array(self.swing) * sine
        roll = self._rolled(sine) if self.roll_radius else np.eye(4)
        scale = np.array(self.scale, float)
        if self.bounce:
            share = (angle / (2 * math.pi)) % 1
            height = 4 * share * (1 - share)
            flat = 1 - self.squash * max(0.0, 1 - 6 * height)
            # Width grows as height shrinks: the volume stays.
            scale = scale * [flat**-0.5, flat, flat**-0.5]
            place = place + [0, self.bounce * height, 0]
        rocked = turned(2, self.rock * sine)
        return moved(*place) @ turned(1, turn) @ rocked @ np.diag([*scale, 1.0]) @ roll

    def _on_path(self, time: float) -> tuple[float, float, float]:
        """x, z and turn; even speed along the ellipse, so that feet do not slide."""
        a, b = self.path
        angles = np.linspace(0, 2 * np.pi, 1025)
        steps = np.hypot(np.diff(np.cos(angles)) * a, np.diff(np.sin(angles)) * b)
        length = np.concatenate([[0.0], np.cumsum(steps)])
        gone = (self.phase / (2 * math.pi) * length[-1] + self.speed * time) % length[-1]
        angle = float(np.interp(gone, length, angles))
        ahead = (-a * math.sin(angle), b * math.cos(angle))
        return a * math.cos(angle), b * math.sin(angle), math.atan2(ahead[0], ahead[1])

    def _rolled(self, sine: float) -> Matrix:
        """A ball's turn after rolling, about its own center, which lies `roll_radius` high."""
        x, _, z = self.swing
        heading = math.atan2(x, z)
        about = turned(1, heading) @ turned(0, math.hypot(x, z) * sine / self.roll_radius)
        lift = moved(0, 0.5, 0)  # The unit ball of `shapes.sphere`.
        return lift @ about @ turned(1, -heading) @ np.linalg.inv(lift)

    def track(self) -> Float[np.ndarray, "P 2"]:
        """Places (x, z) that the body's foot visits, close enough together to test for hits."""
        x, _, z = self.at
        if any(self.path):
            angle = np.linspace(0, 2 * np.pi, 33)[:-1]
            ring = np.stack([np.cos(angle) * self.path[0], np.sin(angle) * self.path[1]], 1)
            return ring + [x, z]
        along = np.linspace(-1, 1, 9)[:, None] if any(self.swing) else np.zeros((1, 1))
        return along * [self.swing[0], self.swing[2]] + [x, z]


@dataclass(frozen=True)
class Sway:
    """What stands in the wind: bends sideways with the square of the height."""

    height: float
    """Where the deflection is `reach`."""
    reach: float
    period: float
    phase: float
    heading: float

    def __call__(self, vertices: Soup, time: float) -> Soup:
        angle = 2 * math.pi * time / self.period + self.phase
        # The second term is the flutter of single twigs.
        place = vertices[:, :3] @ np.array([1.7, 0.6, 2.3], np.float32)
        flutter = 0.15 * np.sin(3.7 * angle + place)
        share = (vertices[:, 1] / self.height).clip(0) ** 2
        shift = self.reach * share * (0.4 + math.sin(angle) + flutter)
        out = vertices.copy()
        out[:, 0] += shift * math.sin(self.heading)
        out[:, 2] += shift * math.cos(self.heading)
        return out


@dataclass(frozen=True)
class Flutter:
    """A cloth in the x, y plane that hangs from its left edge (a flag) or top edge (a curtain)."""

    width: float
    height: float
    reach: float
    """Largest displacement along z at the free end."""
    period: float
    phase: float
    flag: bool

    def __call__(self, vertices: Soup, time: float) -> Soup:
        along = vertices[:, 0] / self.width + 0.5
        down = 1 - vertices[:, 1] / self.height
        free = along if self.flag else down
        angle = 2 * math.pi * (time / self.period - 1.6 * free + 0.3 * along) + self.phase
        out = vertices.copy()
        out[:, 2] += self.reach * free * np.sin(angle)
        slope = (
            self.reach
            * (np.sin(angle) - 2 * math.pi * 1.6 * free * np.cos(angle))
            / (self.width if self.flag else self.height)
        )
        normal = np.zeros((len(vertices), 3), np.float32)
        normal[:, 0 if self.flag else 1] = -slope if self.flag else slope
        normal[:, 2] = 1
        out[:, 3:6] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        return out


THIGH, SHIN, HIP = 0.23, 0.25, 0.51
"""Lengths from hip to knee and from knee to ankle, and height of the hip, in body heights."""


@dataclass(frozen=True)
class Gait:
    """Walking for a body that stands upright, arms down, facing +z.

    Joints are guessed from the proportions of an adult, and every corner turns with the joints
    above it by smooth weights. The ankles follow a path, on the ground for half of the time and
    against the body's speed, from which the angles of hip and knee follow.
    """

    height: float
    speed: float
    """Meters per second along the path."""
    phase: float
    arms: float = 0.45
    """Largest swing of the arms, radians."""

    @property
    def step(self) -> float:
        """How far an ankle comes ahead of the hip, in body heights: more at higher speed."""
        return min(0.09 + 0.09 * self.speed, 0.21)

    @property
    def rhythm(self) -> float:
        """Cycles per second: the body moves on by four steps ahead in each."""
        return self.speed / (4 * self.step * self.height)

    def __call__(self, vertices: Soup, time: float) -> Soup:
        cycle, out = self.phase / (2 * math.pi) + self.rhythm * time, vertices.copy()
        x, y = vertices[:, 0] / self.height, vertices[:, 1] / self.height
        arm = _ramp(np.abs(x), 0.105, 0.14) * _ramp(y, 0.36, 0.42) * _ramp(y, 0.85, 0.78)
        # The hip is higher while the leg on the ground is upright, by 0.6 of what a stiff leg would
        # lift it. Legs never stretch quite, or the angle of the knee would jump.
        longest, (ahead, _) = 0.985 * (THIGH + SHIN), self._ankle(cycle % 0.5)
        low = math.sqrt(longest**2 - self.step**2)
        hip = low + 0.6 * (math.sqrt(longest**2 - ahead**2) - low)
        for side, share in ((1, cycle % 1), (-1, (cycle + 0.5) % 1)):
            own = _ramp(side * x, -0.004, 0.004)
            thigh, knee = _leg(*self._ankle(share), hip)
            leg = own * (1 - arm)
            # The joint furthest from the body turns first; the foot stays nearly level.
            _turn(out, leg * _ramp(y, 0.06, 0.035), 0.03 * self.height, 0.9 * (thigh - knee))
            _turn(out, leg * _ramp(y, 0.31, 0.25), (HIP - THIGH) * self.height, knee)
            _turn(out, leg * _ramp(y, 0.56, 0.46), HIP * self.height, -thigh)
            shoulder = -self.arms * math.cos(2 * math.pi * share)
            _turn(out, arm * own * _ramp(y, 0.66, 0.6), 0.63 * self.height, -0.35)
            _turn(out, arm * own, 0.81 * self.height, -shoulder)
        out[:, 1] -= (THIGH + SHIN - hip) * self.height
        return out

    def _ankle(self, share: float) -> tuple[float, float]:
        """How far ahead and how high an ankle is at a share of its cycle: first on the ground."""
        if share < 0.5:
            return self.step * (1 - 4 * share), 0.0
        swing = math.pi * (2 * share - 1)
        return -self.step * math.cos(swing), 0.055 * math.sin(swing)


def _leg(ahead: float, lift: float, hip: float) -> tuple[float, float]:
    """Angles of thigh (forward) and knee (backward) that bring the ankle there; law of cosines."""
    reach = math.hypot(ahead, hip - lift)
    knee = math.pi - math.acos((THIGH**2 + SHIN**2 - reach**2) / (2 * THIGH * SHIN))
    lead = math.acos((THIGH**2 + reach**2 - SHIN**2) / (2 * THIGH * reach))
    return math.atan2(ahead, hip - lift) + lead, knee


Bend = Sway | Flutter | Gait
"""A change of shape in the body's own frame, a function of its corners and the time."""


def _ramp(value: np.ndarray, none: float, full: float) -> np.ndarray:
    """0 at `none`, 1 at `full`, smooth between; `none` may be the larger."""
    share = ((value - none) / (full - none)).clip(0, 1)
    return share * share * (3 - 2 * share)


def _turn(data: Soup, weight: np.ndarray, y: float, angle: float) -> None:
    """Turn corners and normals about the x axis at height y, each by its share of `angle`."""
    c, s = np.cos(weight * angle), np.sin(weight * angle)
    for offset, joint in ((0, y), (3, 0.0)):
        dy, z = data[:, offset + 1] - joint, data[:, offset + 2].copy()
        data[:, offset + 1], data[:, offset + 2] = joint + c * dy - s * z, s * dy + c * z
