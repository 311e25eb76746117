"""The surroundings of a mesh scene: rooms with furniture, grounds with trees and houses, lights.

Y points up, the floor is y = 0 and the source camera looks along -z; a room's ceiling is as high as
the highest camera of the arc needs it.
"""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from . import shapes
from .content import Stock, at
from .middle import fill_middle
from .motion import Motion, Vector
from .plot import CLEAR, ELEVATION_DEG, SLACK, Plot
from .renderer import Body, Light
from .shapes import Part
from .textures import as_texture, treeline_texture

DOME = 80.0
"""Radius of the sky, meters."""


def furnish_room(stock: Stock, plot: Plot) -> Light:
    """Walls, furniture along them and around the pivot, and a lamp."""
    # The ceiling is above the highest camera.
    base = math.asin((plot.eye - plot.pivot[1]) / plot.distance)
    top = plot.distance * math.sin(base + math.radians(ELEVATION_DEG[1]))
    height = plot.pivot[1] + top + SLACK + 2 * CLEAR + stock.between(0.0, 0.4)
    plot.bodies += shell(stock, plot.bounds, height)
    fill_middle(stock, plot, ("furniture",))
    for _ in range(stock.count(9, 16)):
        _against_wall(stock, plot)
    if stock.chance(0.5):
        _curtain(stock, plot)
    x, _, z = plot.pivot
    place = (x + stock.between(-0.8, 0.8), height - 0.35, z + stock.between(-0.3, 1.2))
    return lamplight(stock, place, plot.pivot)


def lamplight(stock: Stock, place: Vector, middle: Vector) -> Light:
    """A warm lamp, which now and then swings."""
    lamp = Motion(at=place)
    if stock.chance(0.35):
        swing = (stock.between(-1.0, 1.0), 0.0, stock.between(-0.6, 0.6))
        lamp = replace(lamp, swing=swing, period=stock.between(4, 8))
    warm = (1.0, stock.between(0.82, 1.0), stock.between(0.65, 0.95))
    dim = stock.between(0.12, 0.35)
    return Light(lamp, True, warm, (dim, dim, dim), (0.8 * dim, 0.76 * dim, 0.7 * dim), middle, 8.0)


def shell(stock: Stock, bounds: Float[np.ndarray, "2 2"], height: float) -> list[Body]:
    """Floor, ceiling, four walls with pictures and skirting; `bounds` as a plot's."""
    (x0, z0), (x1, z1) = bounds
    middle, width, depth = ((x0 + x1) / 2, (z0 + z1) / 2), x1 - x0, z1 - z0
    floor = shapes.scaled(shapes.ground(1.0, 1.0), width / 2, 1.0, depth / 2)
    floor[:, 6:] = floor[:, [0, 2]] * stock.between(0.4, 0.8)
    ceiling = floor.copy()
    ceiling[:, 4] = -1
    paint, colors = stock.surface("wall"), [stock.tint(0.8, 1.05) for _ in range(2)]
    bodies = [at(stock.shape("floor", floor, "floor"), middle[0], 0, middle[1])]
    above = stock.shape("ceiling", ceiling, "wall", casts_shadow=False)
    bodies.append(at(above, middle[0], height, middle[1]))
    sides = (
        (middle[0], z0, 0.0, width), (middle[0], z1, math.pi, width),
        (x0, middle[1], math.pi / 2, depth), (x1, middle[1], -math.pi / 2, depth),
    )  # fmt: skip
    for x, z, turn, length in sides:
        repeat = stock.between(0.3, 0.6)
        data = shapes.quad(length, height, (length * repeat, height * repeat))
        data[:, 3:6] = 0, 0, 1
        wall = Part(data, paint[0], colors[0] if stock.chance(0.7) else colors[1])
        skirting = shapes.scaled(shapes.box(), length, 0.09, 0.03)
        parts = (wall, Part(skirting, None, (0.85, 0.84, 0.82)), *_on_wall(stock, length, height))
        bodies.append(at(Body("wall", parts, casts_shadow=False), x, 0, z, turn))
    return bodies


def _on_wall(stock: Stock, length: float, height: float) -> list[Part]:
    """Framed pictures on a wall in the x, y plane."""
    parts, x = [], -length / 2 + 0.5
    while x < length / 2 - 1.5:
        wide, tall = stock.between(0.5, 1.4), stock.between(0.5, 1.2)
        if stock.chance(0.6):
            frame = shapes.scaled(shapes.box(), wide + 0.1, tall + 0.1, 0.05)
            picture = shapes.quad(wide, tall)
            picture[:, 3:6] = 0, 0, 1
            picture[:, 2] += 0.026
            shift = np.array([x + wide / 2, stock.between(1.2, max(1.3, height - tall - 0.6)), 0])
            for data in (frame, picture):
                data[:, :3] += shift.astype(np.float32)
            picture[:, 1] += 0.05
            parts += [Part(frame, None, stock.tint(0.15, 0.8))]
            parts += [Part(picture, *stock.surface(stock.pick(["pattern", "leaves", "facade"])))]
        x += wide + stock.between(0.6, 2.5)
    return parts


def _against_wall(stock: Stock, plot: Plot) -> None:
    """A piece of furniture with its back to a wall, if there is room."""
    body, (width, _, depth) = stock.model("furniture", "indoor", most=2.6)
    (x0, z0), (x1, z1) = plot.bounds
    off = depth / 2 + 0.07
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, 7) * width, np.linspace(-0.5, 0.5, 4) * depth)
    for _ in range(12):
        x, z = stock.between(x0 + width / 2, x1 - width / 2), stock.between(z0 + width / 2, z1)
        # The wall behind the pivot is seen most.
        x, z, turn = stock.pick(
            [(x, z0 + off, 0.0)] * 3
            + [(x0 + off, z, math.pi / 2), (x1 - off, z, -math.pi / 2), (x, z1 - off, math.pi)]
        )
        c, s = math.cos(turn), math.sin(turn)
        footprint = [x + c * u.ravel() + s * v.ravel(), z - s * u.ravel() + c * v.ravel()]
        circles = np.column_stack([*footprint, np.full(u.size, 0.05)])
        if plot.put(at(body, x, 0, z, turn), circles):
            return


def _curtain(stock: Stock, plot: Plot) -> None:
    """A cloth that hangs in a draft before the wall behind the pivot, if there is room."""
    width, height = stock.between(1.0, 1.8), stock.between(1.9, 2.3)
    cloth, z = stock.cloth(width, height, flag=False), float(plot.bounds[0, 1]) + 0.25
    for _ in range(12):
        x = stock.between(plot.bounds[0, 0] + width, plot.bounds[1, 0] - width)
        across = np.linspace(x - width / 2, x + width / 2, 6)
        circles = np.column_stack([across, np.full(6, z), np.full(6, 0.2)])
        if plot.put(at(cloth, x, 0.1, z), circles):
            return


def lay_ground(stock: Stock, plot: Plot) -> Light:
    """Grass or street with trees, facades and a sky, and a sun."""
    plot.bodies += landscape(stock)
    fill_middle(stock, plot, ("exterior", "vehicles", "furniture"))
    for _ in range(stock.count(4, 13)):
        _around(stock, plot)
    return sunlight(stock, plot.pivot, max(9.0, 1.8 * plot.distance))


def sunlight(stock: Stock, middle: Vector, reach: float) -> Light:
    """A sun, which now and then wanders; `reach` is half the width of what it throws shadows on."""
    low = (stock.between(-1, 1), stock.between(0.45, 1.4), stock.between(-0.3, 1.2))
    sun = Motion(at=low)
    if stock.chance(0.35):
        sun = replace(sun, swing=(stock.between(0.2, 0.5), 0.0, 0.1), period=stock.between(6, 12))
    clear = stock.between(0.4, 2.6)
    color = (clear, clear * stock.between(0.85, 1.0), clear * stock.between(0.7, 0.95))
    return Light(sun, False, color, (0.5, 0.55, 0.65), (0.28, 0.27, 0.22), middle, reach)


def landscape(stock: Stock, radius: float = DOME) -> list[Body]:
    """The sky at `radius`, the land below it, far trees and houses."""
    land, repeat = shapes.ground(radius, stock.between(0.25, 0.6)), stock.between(1.5, 4.0)
    on_grass = stock.chance(0.55)
    bodies = [sky(stock, radius), stock.shape("land", land, "grass" if on_grass else "street")]
    if stock.chance(0.6):
        strip = shapes.scaled(shapes.ground(1.0, 1.0), radius, 1.0, repeat / 2)
        strip[:, 6:] = strip[:, [0, 2]] * 0.4
        kind = "street" if on_grass else stock.pick(["floor", "grass"])
        path = stock.shape("path", strip, kind)
        bodies.append(at(path, 0, 0.012, stock.between(-9, -2), stock.between(-0.5, 0.5)))
    if stock.chance(0.85):
        bodies.append(_treeline(stock))
    for _ in range(stock.count(0, 6)):
        z = -stock.between(16, 45)
        size = np.array([stock.between(6, 22), stock.between(4, 16), stock.between(6, 12)])
        data = shapes.scaled(shapes.box(stock.between(0.1, 0.2), size), *size)
        house, x = stock.shape("house", data, "facade"), stock.between(-1.1, 1.1) * abs(z)
        bodies.append(at(house, x, 0, z - 6, stock.between(-0.4, 0.4)))
    return bodies


def sky(stock: Stock, radius: float) -> Body:
    """A dome that shines by itself, from a little below the horizon up."""
    rise = np.linspace(-0.15, math.pi / 2, 17)
    dome = shapes.revolve(radius * np.stack([np.cos(rise), np.sin(rise)], -1), 48)
    dome[:, 7] = (np.arcsin((dome[:, 1] / radius).clip(0, 1)) / (math.pi / 2)).clip(0.004, 0.996)
    dome[:, 6] *= 2
    part = Part(dome, stock.surface("sky")[0])
    return Body("sky", (part,), Motion(turn=stock.between(0, 6.3)), casts_shadow=False, glow=1.5)


def _treeline(stock: Stock) -> Body:
    """A ring of far crowns."""
    radius, height = stock.between(48, 70), stock.between(4, 9)
    angle = np.linspace(-np.pi, np.pi, 65)
    ring = np.stack([radius * np.sin(angle), np.zeros(65), -radius * np.cos(angle)], -1)
    points = np.concatenate([ring, ring + [0, height, 0]])
    u = np.linspace(0, round(6.28 * radius / height / 2), 65)
    uv = np.concatenate([np.stack([u, 0 * u], -1), np.stack([u, 0 * u + 0.98], -1)])
    data = shapes.soup(points, shapes.strips(np.arange(130).reshape(2, 65)), uv)
    data[:, 3:6] = 0, 1, 0
    image = as_texture(treeline_texture(stock.rng))
    return Body("treeline", (Part(data, image, stock.tint(0.5, 0.9)),), casts_shadow=False)


def _around(stock: Stock, plot: Plot) -> None:
    """A tree, a vehicle or the like behind the pivot or beside the arc."""
    kind = stock.pick(["tree", "tree", "tree", "exterior", "vehicles", "poles"])
    if kind == "tree":
        height = stock.between(2.5, 7.5)
        body, radius = stock.tree(height), 0.5 * height
    else:
        body, (width, _, depth) = stock.model(kind, "exterior", most=6.5)
        radius = math.hypot(width, depth) / 2
    for _ in range(12):
        z = plot.pivot[2] + 2.0 - stock.between(0, 1) ** 1.5 * 26
        x = stock.between(-1.0, 1.0) * (3 + 0.8 * abs(z))
        if plot.add(at(body, x, 0, z, stock.between(0, 6.3)), radius):
            return
