"""What happens around the pivot of a mesh scene: people who walk, balls, things that turn and rock.

People of one scene share one path and one speed, a part of the way apart, so that they never meet;
everything else keeps clear of that path.
"""

import math
from dataclasses import replace

from ..shared import Vector, triple
from . import shapes
from .content import Stock, at
from .motion import Gait, Motion
from .plot import NEAR_PIVOT, Plot
from .renderer import Body
from .shapes import Part

TRIES = 25
"""Places that are tried for a body before it is left out."""
SHOULDERS = 0.42
"""Radius in meters that somebody walking takes."""


def fill_middle(stock: Stock, plot: Plot, uses: tuple[str, ...]) -> None:
    """One to three people who walk, one or two balls, and three to six models, some moving."""
    _walkers(stock, plot)
    for _ in range(stock.count(1, 3)):
        _ball(stock, plot)
    for i in range(stock.count(3, 7)):
        use = "animals" if i and stock.chance(0.25) else stock.pick(uses)
        _model(stock, plot, use, uses[0], moving=i in (1, 3))
    if stock.chance(0.35):
        _flag(stock, plot)


def _walkers(stock: Stock, plot: Plot) -> None:
    count = stock.count(1, 4)
    people: list[tuple[Body, float]] = []
    for _ in range(count):
        people.append(stock.walker({body.name for body, _ in people}))
    speed, start = people[0][1], stock.between(0, 2 * math.pi)
    room = NEAR_PIVOT * plot.distance - SHOULDERS
    x, _, z = plot.pivot
    for _ in range(TRIES):
        across = room * stock.between(0.6, 0.95)
        deep = across * stock.between(0.4, 1.0) * stock.pick([-1, 1])
        shift = 0.0
        if stock.chance(0.4):
            # Behind the pivot there is more room.
            across, shift = across * stock.between(1.0, 1.5), -abs(deep) - stock.between(0.5, 1.2)
        path = Motion(at=(x, 0.0, z + shift), path=(across, deep), speed=speed, phase=start)
        first = replace(people[0][0], motion=path)
        if plot.add(first, SHOULDERS):
            break
    else:
        return
    gap = 2 * math.pi / count
    for i, (body, _) in enumerate(people[1:], start=1):
        bend = body.bend
        assert isinstance(bend, Gait), bend
        own = replace(path, phase=start + i * gap * stock.between(0.85, 1.0))
        plot.bodies.append(replace(body, motion=own, bend=replace(bend, speed=speed)))


def _somewhere(stock: Stock, plot: Plot, height: float) -> tuple[float, float]:
    """A place near the pivot; what is tall stands beside or behind it."""
    x, z = plot.polar(0.58 * math.sqrt(stock.between(0, 1)), stock.between(-math.pi, math.pi))
    if height > 0.6 and z > plot.pivot[2] + 0.12 * plot.distance:
        z = 2 * plot.pivot[2] - z
    return x, z


def _ball(stock: Stock, plot: Plot) -> None:
    radius = stock.between(0.1, 0.3)
    body = stock.ball(radius)
    for _ in range(TRIES):
        x, z = _somewhere(stock, plot, 0.0)
        motion = replace(body.motion, at=(x, 0.0, z), phase=stock.between(0, 6.3))
        if stock.chance(0.5):
            height = stock.between(0.3, 1.3)
            # Up and down again under gravity, 9.81 m/s^2.
            period = 2 * math.sqrt(2 * height / 9.81)
            squash = stock.between(0.1, 0.4)
            motion = replace(motion, bounce=height, period=period, squash=squash)
        else:
            angle, reach = stock.between(0, 6.3), stock.between(0.3, 1.0)
            swing = (reach * math.sin(angle), 0.0, reach * math.cos(angle))
            motion = replace(motion, swing=swing, period=stock.between(2.5, 5), roll_radius=radius)
        if plot.add(replace(body, motion=motion), 1.2 * radius):
            return


def _model(stock: Stock, plot: Plot, use: str, other: str, *, moving: bool) -> None:
    """A model of the catalogue; now and then with small things on it."""
    most = plot.distance * 0.5
    body, (width, height, depth) = stock.model(use, other, "small", most=most)
    radius = math.hypot(width, depth) / 2
    for _ in range(TRIES):
        x, z = _somewhere(stock, plot, height)
        # What is tall shows its front: backs of cupboards are plain.
        turn = float(stock.rng.normal(0, 0.7 if height > 0.8 else 2.0))
        placed = at(body, x, 0, z, turn)
        if moving:
            placed = replace(placed, motion=_moving(stock, placed.motion))
        if plot.add(placed, radius):
            break
    else:
        return
    if not moving and 0.35 < height < 1.1 and stock.chance(0.6):
        plot.bodies += things_on(stock, placed, (width, height, depth))


def _moving(stock: Stock, motion: Motion) -> Motion:
    """Turning, sliding, rocking or hopping."""
    kind, period, phase = stock.rng.integers(4), stock.between(2.5, 5), stock.between(0, 6.3)
    motion = replace(motion, period=period, phase=phase)
    if kind == 0:
        return replace(motion, spin=stock.between(0.4, 1.6) * stock.pick([-1, 1]))
    if kind == 1:
        angle, reach = stock.between(0, 6.3), stock.between(0.3, 0.9)
        swing = (reach * math.sin(angle), 0.0, reach * math.cos(angle))
        return replace(motion, swing=swing, turn=angle)
    if kind == 2:
        return replace(motion, rock=stock.between(0.06, 0.2), period=period / 2)
    return replace(motion, bounce=stock.between(0.1, 0.5), squash=0.25, period=period / 4)


def things_on(stock: Stock, table: Body, size: Vector) -> list[Body]:
    """One to three small models on a table of that width, height and depth."""
    (width, height, depth), things = size, []
    for _ in range(stock.count(1, 4)):
        body, _ = stock.model("small", most=0.5 * min(width, depth) + 0.1)
        x, z = stock.between(-0.3, 0.3) * width, stock.between(-0.3, 0.3) * depth
        place = triple((table.motion.matrix(0.0) @ [x, height, z, 1])[:3])
        things.append(at(body, *place, stock.between(0, 6.3)))
    return things


def _flag(stock: Stock, plot: Plot) -> None:
    """A flag that flies from a pole."""
    width, height, top = stock.between(0.7, 1.2), stock.between(0.45, 0.8), stock.between(1.9, 2.5)
    cloth, turn = stock.cloth(width, height, flag=True), stock.between(-0.7, 0.7)
    rod = shapes.capsule([0, 0, 0], [0, top, 0], 0.025)
    pole = Body("pole", (Part(rod, None, (0.6, 0.6, 0.6)),))
    for _ in range(TRIES):
        x, z = _somewhere(stock, plot, top)
        if plot.add(at(pole, x, 0, z), width + 0.05):
            off = width / 2
            place = (x + off * math.cos(turn), top - height - 0.05, z - off * math.sin(turn))
            plot.bodies.append(at(cloth, *place, turn))
            return
