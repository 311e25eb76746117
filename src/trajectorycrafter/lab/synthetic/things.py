"""Things that stand, move, turn and bend: furniture, people, trees, vehicles, balls and blobs.

A thing's own frame has y down as the world has, and its feet at y = 0, so all its parts lie at
negative y. Lengths are meters, angles radians.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .materials import Kind, Material, draw_number, material
from .raycast import BALL, BOX, CYLINDER
from .shared import Chance, Split, Vector


@dataclass(frozen=True)
class Hinge:
    """Turns a part about a line of its thing: a knee, a fan, a swaying trunk."""

    pivot: Vector
    axis: Vector
    swing: float = 0.0
    """Furthest angle to either side."""
    rate: float = 0.0
    """Radians of phase per second."""
    phase: float = 0.0
    bias: float = 0.0
    """Angle about which it swings."""
    spin: float = 0.0
    """Radians per second, on and on."""


@dataclass(frozen=True)
class Solid:
    """A box, ball (ellipsoid) or cylinder."""

    kind: int
    center: Vector
    half_size: Vector
    material: Material
    turn: Vector = (0.0, 0.0, 0.0)
    """About x, then y, then z, at rest."""
    hinges: tuple[Hinge, ...] = ()
    """Innermost first: elbow, then shoulder."""


@dataclass(frozen=True)
class ThingMotion:
    """Where a thing is over time, and how it turns and bends; everything at rest by default."""

    place: Vector = (0.0, 0.0, 0.0)
    velocity: Vector = (0.0, 0.0, 0.0)
    swing: Vector = (0.0, 0.0, 0.0)
    """Furthest way to either side of the place."""
    circle: float = 0.0
    """Radius of a circle about the place, walked forwards."""
    rate: float = 0.0
    """Radians per second of swing and circle."""
    phase: float = 0.0
    turn: float = 0.0
    spin: float = 0.0
    """Radians per second about the vertical."""
    bounce: float = 0.0
    """Height of its jumps, two for every turn of the phase."""
    squash: float = 0.0
    """How much it is flattened and drawn out again; its volume stays."""
    sway: float = 0.0
    """How far its top leans to either side, as a share of its height."""
    bend_rate: float = 0.0
    """Radians per second of jumps, squash and sway."""


@dataclass(frozen=True)
class Thing:
    """Parts that move together."""

    name: str
    parts: tuple[Solid, ...]
    radius: float
    """How much ground it takes at rest."""
    motion: ThingMotion = field(default_factory=ThingMotion)


@dataclass(frozen=True)
class Kit(Chance):
    """What scenes and designs are drawn with: chance, and the materials and designs of a split."""

    split: Split

    def material(self, kind: Kind) -> Material:
        return material(draw_number(self.rng, self.split), kind)

    def thing(self, *names: str) -> Thing:
        """A design of the split: its shape comes from its number in the catalogue alone."""
        number = draw_number(self.rng, self.split)
        name = self.pick(names)
        shape = np.random.default_rng([2, list(DESIGNS).index(name), number])
        return DESIGNS[name](Kit(shape, self.split))


_box, _ball = partial(Solid, BOX), partial(Solid, BALL)


def _rod(
    center: Vector, radius: float, half_height: float, material: Material, **more: Any
) -> Solid:
    return Solid(CYLINDER, center, (radius, half_height, radius), material, **more)


def _legs(w: float, d: float, height: float, thick: float, material: Material) -> list[Solid]:
    """Four legs at the corners of 2w x 2d."""
    return [
        _box((x * (w - thick), -height / 2, z * (d - thick)), (thick, height / 2, thick), material)
        for x in (-1, 1)
        for z in (-1, 1)
    ]


def table(kit: Kit) -> Thing:
    w, d, h = kit.between(0.4, 0.9), kit.between(0.3, 0.5), kit.between(0.4, 0.8)
    top, legs = kit.material("hard"), kit.material("hard")
    parts = [_box((0, -h, 0), (w, 0.03, d), top), *_legs(w, d, h, 0.04, legs)]
    for _ in range(kit.count(1, 4)):
        x, z, r = kit.between(-0.7, 0.7) * w, kit.between(-0.6, 0.6) * d, kit.between(0.05, 0.13)
        center = (x, -h - 0.03 - r, z)
        shape = kit.pick((_ball, _box))
        parts.append(shape(center, (r, r, r), kit.material("hard")))
    return Thing("table", tuple(parts), math.hypot(w, d))


def chair(kit: Kit) -> Thing:
    w, h, back = kit.between(0.2, 0.28), kit.between(0.4, 0.5), kit.between(0.25, 0.4)
    seat, wood = kit.material("cloth"), kit.material("hard")
    parts = [
        _box((0, -h, 0), (w, 0.04, w), seat),
        _box((0, -h - back, -w), (w, back, 0.03), seat),
        *_legs(w, w, h, 0.025, wood),
    ]
    return Thing("chair", tuple(parts), math.hypot(w, w + 0.03))


def sofa(kit: Kit) -> Thing:
    w, d, h = kit.between(0.6, 1.1), kit.between(0.35, 0.45), kit.between(0.18, 0.24)
    cloth, other = kit.material("cloth"), kit.material("cloth")
    parts = [
        _box((0, -h, 0), (w, h, d), cloth),
        _box((0, -2.4 * h, -d), (w, 2.4 * h, 0.1), cloth),
        _box((-w, -1.5 * h, 0), (0.1, 1.5 * h, d), cloth),
        _box((w, -1.5 * h, 0), (0.1, 1.5 * h, d), cloth),
        _ball((0.5 * w, -2 * h - 0.14, -0.15), (0.2, 0.17, 0.1), other),
    ]
    return Thing("sofa", tuple(parts), math.hypot(w + 0.1, d + 0.1))


def shelf(kit: Kit) -> Thing:
    w, h, boards = kit.between(0.35, 0.7), kit.between(0.5, 1.0), kit.count(3, 6)
    wood = kit.material("hard")
    parts = [_box((x, -h, 0), (0.02, h, 0.16), wood) for x in (-w, w)]
    for i in range(boards):
        y = -2 * h * (i + 0.5) / boards
        parts.append(_box((0, y, 0), (w, 0.02, 0.16), wood))
        r = kit.between(0.3, 0.8) * w
        tall = 0.6 * h / boards
        center = (kit.between(-0.15, 0.15) * w, y - 0.02 - tall, 0)
        parts.append(_box(center, (r, tall, 0.11), kit.material("cloth")))
    return Thing("shelf", tuple(parts), math.hypot(w + 0.02, 0.16))


def lamp(kit: Kit) -> Thing:
    h, r = kit.between(1.2, 1.8), kit.between(0.15, 0.28)
    pole = kit.material("hard")
    parts = (
        _rod((0, -0.02, 0), 0.16, 0.02, pole),
        _rod((0, -h / 2, 0), 0.02, h / 2, pole),
        _rod((0, -h, 0), r, r * 0.7, kit.material("cloth")),
    )
    return Thing("lamp", parts, max(r, 0.16))


def plant(kit: Kit) -> Thing:
    r, h = kit.between(0.12, 0.2), kit.between(0.4, 0.9)
    pot, leaves = kit.material("hard"), kit.material("leaves")
    parts = [_rod((0, -r, 0), r, r, pot)]
    for i in range(7):
        a, up = i * 2.4, kit.between(0.3, 1.0)
        sway = Hinge((0, -2 * r, 0), (math.cos(a), 0, math.sin(a)), 0.09, kit.between(1, 3), a)
        center = (math.sin(a) * 0.16, -2 * r - h * up, math.cos(a) * 0.16)
        parts.append(_ball(center, (0.08, 0.24, 0.035), leaves, turn=(0.5, a, 0), hinges=(sway,)))
    return Thing("plant", tuple(parts), 0.36)


def crate(kit: Kit) -> Thing:
    size = kit.between(0.15, 0.45), kit.between(0.15, 0.45), kit.between(0.15, 0.45)
    parts = [_box((0, -size[1], 0), size, kit.material("hard"))]
    if kit.chance(0.5):
        r = 0.6 * min(size[0], size[2])
        parts.append(_box((0, -2 * size[1] - r, 0), (r, r, r), kit.material("hard"),
                          turn=(0, kit.between(0, 1), 0)))  # fmt: skip
    return Thing("crate", tuple(parts), math.hypot(size[0], size[2]))


def ball(kit: Kit) -> Thing:
    r = kit.between(0.14, 0.38)
    return Thing("ball", (_ball((0, -r, 0), (r, r, r), kit.material("cloth")),), r)


def blob(kit: Kit) -> Thing:
    """Soft bodies on top of each other."""
    r = kit.between(0.22, 0.4)
    skin, other = kit.material("cloth"), kit.material("hard")
    eye = (0.13 * r, 0.13 * r, 0.13 * r)
    parts = (
        _ball((0, -r, 0), (r, r, r), skin),
        _ball((0, -2.2 * r, 0), (0.7 * r, 0.7 * r, 0.7 * r), skin),
        _ball((0.3 * r, -2.4 * r, 0.6 * r), eye, other),
        _ball((-0.3 * r, -2.4 * r, 0.6 * r), eye, other),
    )
    return Thing("blob", parts, r)


def mobile(kit: Kit) -> Thing:
    """A pole with arms that turn, as a toy or a wind wheel."""
    h, arm = kit.between(0.9, 1.7), kit.between(0.35, 0.6)
    pole, wings = kit.material("hard"), kit.material("cloth")
    spin = kit.between(0.8, 2.2) * (1 if kit.chance(0.5) else -1)
    parts = [_rod((0, -h / 2, 0), 0.035, h / 2, pole), _rod((0, -0.03, 0), 0.2, 0.03, pole)]
    for i in range(3):
        hinge = Hinge((0, -h, 0), (0, 1, 0), spin=spin, bias=i * 2 * math.pi / 3)
        parts.append(_box((arm / 2, -h, 0), (arm / 2, 0.025, 0.025), pole, hinges=(hinge,)))
        parts.append(_ball((arm, -h, 0), (0.13, 0.13, 0.13), wings, hinges=(hinge,)))
    return Thing("mobile", tuple(parts), arm + 0.13)


def person(kit: Kit) -> Thing:
    """A person in mid-walk: 13 parts, a stride of `STRIDE_RATE`; z is forwards."""
    k = kit.between(0.88, 1.08)
    skin, shirt, hair = kit.material("skin"), kit.material("cloth"), kit.material("hair")
    trousers, shoe = kit.material("cloth"), kit.material("hard")
    hip, knee, shoulder, wide = 0.9 * k, 0.48 * k, 1.42 * k, 0.19 * k
    parts = [
        _ball((0, -1.18 * k, 0), (0.2 * k, 0.34 * k, 0.13 * k), shirt),
        _ball((0, -0.95 * k, 0), (0.17 * k, 0.16 * k, 0.13 * k), trousers),
        _ball((0, -1.64 * k, 0.01), (0.095 * k, 0.13 * k, 0.11 * k), skin),
        _ball((0, -1.69 * k, -0.02), (0.1 * k, 0.11 * k, 0.11 * k), hair),
        _rod((0, -1.5 * k, 0), 0.05 * k, 0.06 * k, skin),
    ]
    for side, phase in ((-1, 0.0), (1, math.pi)):
        x, a = side * 0.1 * k, side * (wide + 0.05 * k)
        thigh = Hinge((x, -hip, 0), (1, 0, 0), 0.5, STRIDE_RATE, phase)
        shin = Hinge((x, -knee, 0), (1, 0, 0), -0.45, STRIDE_RATE, phase - 1.1, -0.45)
        arm = Hinge((a, -shoulder, 0), (1, 0, 0), 0.45, STRIDE_RATE, phase + math.pi)
        elbow = Hinge((a, -1.14 * k, 0), (1, 0, 0), 0.15, STRIDE_RATE, phase + math.pi, 0.35)
        leg, low = (hip - knee) / 2, knee / 2
        parts += [
            _ball(
                (x, -knee - leg, 0), (0.085 * k, leg + 0.06, 0.09 * k), trousers, hinges=(thigh,)
            ),
            _ball((x, -low, 0), (0.06 * k, low + 0.03, 0.065 * k), trousers, hinges=(shin, thigh)),
            _ball((x, -0.05, 0.06), (0.05 * k, 0.05, 0.13 * k), shoe, hinges=(shin, thigh)),
            _ball((a, -1.28 * k, 0), (0.055 * k, 0.17 * k, 0.06 * k), shirt, hinges=(arm,)),
            _ball((a, -1.0 * k, 0), (0.042 * k, 0.17 * k, 0.045 * k), skin, hinges=(elbow, arm)),
        ]
    return Thing("person", tuple(parts), 0.5)


STRIDE_RATE = 6.2
"""Radians per second of a walk."""
WALK = 1.25
"""Meters per second that fit the stride."""


def tree(kit: Kit) -> Thing:
    h, r = kit.between(1.2, 2.4), kit.between(0.5, 1.0)
    bark, leaves = kit.material("hard"), kit.material("leaves")
    parts = [_rod((0, -h / 2, 0), 0.05 + 0.06 * r, h / 2, bark)]
    for i in range(6):
        a = i * 2.4
        sway = Hinge((0, -h * 0.5, 0), (math.cos(a), 0, math.sin(a)), 0.03, kit.between(1, 2.5), a)
        size = r * kit.between(0.45, 0.7)
        center = (math.sin(a) * 0.5 * r, -h - r * kit.between(0.1, 0.9), math.cos(a) * 0.5 * r)
        parts.append(_ball(center, (size, size * 0.8, size), leaves, hinges=(sway,)))
    return Thing("tree", tuple(parts), 1.2 * r)


def bush(kit: Kit) -> Thing:
    r, leaves = kit.between(0.3, 0.6), kit.material("leaves")
    parts = tuple(
        _ball((math.sin(i * 2.1) * 0.6 * r, -0.6 * r, math.cos(i * 2.1) * 0.6 * r),
              (0.7 * r, 0.65 * r, 0.7 * r), leaves)
        for i in range(3)
    )  # fmt: skip
    return Thing("bush", parts, 1.3 * r)


def cart(kit: Kit) -> Thing:
    """A small car: z is forwards."""
    w, d, h = kit.between(0.32, 0.5), kit.between(0.6, 0.95), kit.between(0.17, 0.26)
    paint, glass, tire = kit.material("hard"), kit.material("hard"), kit.material("hair")
    wheel = kit.between(0.13, 0.2)
    parts = [
        _box((0, -wheel - h, 0), (w, h, d), paint),
        _box((0, -wheel - 2.6 * h, -0.15 * d), (0.85 * w, 0.7 * h, 0.5 * d), glass),
    ]
    for x in (-1, 1):
        for z in (-0.6, 0.6):
            center = (x * w, -wheel, z * d)
            roll = Hinge(center, (1, 0, 0), spin=-3.0)
            parts.append(_rod(center, wheel, 0.07, tire, turn=(0, 0, math.pi / 2), hinges=(roll,)))
    return Thing("cart", tuple(parts), math.hypot(w + 0.1, d))


def fence(kit: Kit) -> Thing:
    w, h, posts = kit.between(0.8, 1.6), kit.between(0.5, 0.9), 6
    wood = kit.material("hard")
    parts = [_box((0, -h * up, 0), (w, 0.04, 0.02), wood) for up in (0.35, 0.8)]
    for i in range(posts):
        x = w * (2 * i / (posts - 1) - 1)
        parts.append(_box((x, -h / 2, 0), (0.05, h / 2, 0.03), wood))
    return Thing("fence", tuple(parts), w + 0.06)


def house(kit: Kit) -> Thing:
    w, d, h = kit.between(1.5, 3), kit.between(1.5, 3), kit.between(1.3, 2.4)
    wall, roof, pane = kit.material("wall"), kit.material("floor"), kit.material("hair")
    parts = [
        _box((0, -h, 0), (w, h, d), wall),
        _box((0, -2 * h, 0), (0.72 * w, 0.72 * w, d - 0.02), roof, turn=(0, 0, math.pi / 4)),
        _box((0, -0.95, -d), (0.4, 0.95, 0.03), kit.material("hard")),
    ]
    for x in (-0.6, 0.6):
        parts.append(_box((x * w, -1.2 * h, -d), (0.3, 0.4, 0.03), pane))
        parts.append(_box((-w, -1.2 * h, x * d), (0.03, 0.4, 0.3), pane))
    return Thing("house", tuple(parts), math.hypot(1.02 * w, d) + 0.05)


DESIGNS: dict[str, Callable[[Kit], Thing]] = {
    made.__name__: made
    for made in (
        table, chair, sofa, shelf, lamp, plant, crate, ball, blob, mobile, person, tree, bush, cart,
        fence, house,
    )
}  # fmt: skip
"""By name; a design's number decides its measures, its name what it is."""
