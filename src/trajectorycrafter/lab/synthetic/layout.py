"""Draws what stands where: room or ground, people, things that move, things that do not, light.

Everything keeps clear of two areas for the whole of `CLIP_S`: of each other's ground, so that
nothing walks through anything, and of the arc around the pivot that cameras go along, so that no
camera stands in a tree. Later moments promise neither.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .materials import Material
from .shared import Place, Split, Vector, triple
from .things import BOX, WALK, Kit, Solid, Thing, ThingMotion

CLIP_S = 2.0
"""Seconds, from time 0, for which the layout holds."""
REACH = 0.68
"""What is filmed keeps within this share of the source camera's distance from the pivot."""
ARC = 1.05
"""Furthest camera, as a share of the source camera's distance."""
WALL_DEPTH = 1.0
"""What stands along the back wall takes this much of the room, meters."""


@dataclass(frozen=True)
class RayLight:
    """A sun (a direction) or a lamp (a place), and how much light comes from everywhere."""

    at: Vector
    color: Vector
    ambient: float
    drift: Vector = (0.0, 0.0, 0.0)
    """Where it moves, per second."""

    def row(self, time: float) -> np.ndarray:
        """As the ray caster reads it."""
        at = np.array(self.at) + time * np.array(self.drift)
        return np.array([*at, *self.color, self.ambient])


class Layout:
    """Draws one scene, thing after thing; the order of calls decides what is drawn."""

    def __init__(self, rng: np.random.Generator, split: Split, place: Place):
        self.rng, self.kit = rng, Kit(rng, split)
        self.place: Place = place
        self.floor = self.kit.between(1.2, 1.7)
        near, far = (3.0, 4.6) if place == "room" else (3.5, 6.0)
        self.distance = self.kit.between(near, far)
        self.pivot = (0.0, self.floor - self.kit.between(0.6, 1.0), self.distance)
        # Large enough for an arc of 70 degrees.
        side = self.distance * 0.95 + 0.7
        back, height = self.distance + self.kit.between(2.0, 3.5), self.kit.between(2.7, 3.6)
        low = [-side - self.kit.between(0, 1), self.floor - height, -1.2]
        self.room = np.array([low, [side + self.kit.between(0, 1), self.floor, back]])
        """`2 3`, lowest and highest corner."""
        self.taken: list[Vector] = []
        """Discs on the floor: x, z, radius."""

    def surroundings(self) -> tuple[Material, ...]:
        """The six walls (-x, x, ceiling, floor, -z, z), or ground, sky and haze."""
        if self.place == "room":
            wall, other = self.kit.material("wall"), self.kit.material("wall")
            ceiling, floor = self.kit.material("ceiling"), self.kit.material("floor")
            return (other, other, ceiling, floor, wall, wall)
        sky = self.kit.material("ground")
        blue = np.array([0.35, 0.55, 0.85]) * self.kit.between(0.75, 1.1)
        pale = np.array([0.75, 0.82, 0.9]) * self.kit.between(0.8, 1.05)
        cloud = np.array([0.93, 0.93, 0.95]) * self.kit.between(0.7, 1.0)
        tones = tuple(triple(color.clip(0, 1)) for color in (blue, cloud, pale))
        sky = replace(sky, colors=tones)
        return (self.kit.material("ground"), sky, replace(sky, colors=(tones[2],) * 3))

    def things(self) -> tuple[Thing, ...]:
        """All that stands or moves."""
        people = self._several(1, 2, self._person)
        movers = self._several(3, 5, self._mover)
        still = self._several(4, 7, self._standing)
        edges = self._along_walls() if self.place == "room" else self._several(8, 13, self._far)
        return (*people, *movers, *still, *edges)

    def light(self) -> RayLight:
        """A lamp under the ceiling or a sun; three of ten move."""
        warm = self.rng.uniform(0.85, 1.0, 3)
        color = (1.0, float(warm[0]), float(warm[1] * warm[0]))
        moves = self.kit.chance(0.3)
        if self.place == "room":
            z = self.distance + self.kit.between(-2.2, 0.5)
            at = (self.kit.between(-2, 2), float(self.room[0, 1]) + 0.25, z)
            x, z = [self.kit.between(-0.5, 0.5) if moves else 0.0 for _ in range(2)]
            return RayLight(at, color, self.kit.between(0.42, 0.6), (x, 0.0, z))
        # From the camera's side or from aside: houses stand behind and would darken all.
        angle, up = math.pi * self.kit.between(0.4, 1.6), self.kit.between(0.6, 1.2)
        level = math.cos(up)
        sun = (level * math.sin(angle), -math.sin(up), level * math.cos(angle))
        drift = (self.kit.between(-0.15, 0.15) if moves else 0.0, 0.0, 0.0)
        return RayLight(sun, color, 0.45, drift)

    def _several(self, low: int, high: int, draw: Callable[[], Thing | None]) -> list[Thing]:
        """So many things, as far as there is room for them."""
        count = self.kit.count(low, high + 1)
        drawn: list[Thing] = []
        for _ in range(6 * count):
            thing = draw() if len(drawn) < count else None
            drawn += [] if thing is None else [thing]
        return drawn

    def _free(self, x: float, z: float, radius: float) -> bool:
        """Whether a disc on the floor is nobody's, and no wall's."""
        if self.place == "room" and z + radius > self.room[1, 2] - WALL_DEPTH:
            return False
        return all(math.hypot(x - a, z - b) > radius + c for a, b, c in self.taken)

    def _spot(self, radius: float) -> tuple[float, float] | None:
        """A free place about the pivot for something that takes `radius`; now taken."""
        reach = REACH * self.distance - radius
        for _ in range(20 if reach > 0 else 0):
            angle, r = self.kit.between(0, 2 * math.pi), reach * math.sqrt(self.rng.random())
            x, z = r * math.sin(angle), self.distance + r * math.cos(angle)
            if self._free(x, z, radius):
                self.taken.append((x, z, radius))
                return x, z
        return None

    def _placed(self, thing: Thing, x: float, z: float, **motion: Any) -> Thing:
        turn = motion.pop("turn", self.kit.between(0, 2 * math.pi))
        return replace(thing, motion=ThingMotion((x, self.floor, z), turn=turn, **motion))

    def _person(self) -> Thing | None:
        """Somebody who walks: in circles, or straight past the pivot."""
        person, sign = self.kit.thing("person"), 1 if self.kit.chance(0.5) else -1
        if self.kit.chance(0.5):
            return self._passing(person, sign)
        circle = self.kit.between(0.4, 0.8)
        spot = self._spot(circle + person.radius)
        if spot is None:
            return None
        path = {"circle": circle, "rate": sign * WALK / circle}
        return self._placed(person, *spot, turn=0.0, phase=self.kit.between(0, 2 * math.pi), **path)

    def _passing(self, person: Thing, sign: int) -> Thing | None:
        start, z = -sign * self.kit.between(0.6, 1.3), self.distance * self.kit.between(0.7, 1.3)
        way, reach = (sign * WALK, 0.0, self.kit.between(-0.3, 0.3)), REACH * self.distance
        steps = [(start + way[0] * t, z + way[2] * t) for t in np.linspace(0, CLIP_S, 9)]
        inside = all(math.hypot(a, b - self.distance) + person.radius < reach for a, b in steps)
        if not inside or not all(self._free(a, b, person.radius) for a, b in steps):
            return None
        self.taken += [(a, b, person.radius) for a, b in steps]
        return self._placed(person, start, z, turn=math.atan2(way[0], way[2]), velocity=way)

    def _mover(self) -> Thing | None:
        """Something that swings, turns, jumps, squashes or sways."""
        thing = self.kit.thing("ball", "blob", "mobile", "crate", "cart", "chair", "bush", "plant")
        motion = self._motion(thing)
        # Flattened to the utmost it takes the most ground.
        wide = thing.radius / math.sqrt(1 - motion.get("squash", 0.0))
        way = math.hypot(*motion.get("swing", (0.0, 0.0, 0.0)))
        spot = self._spot(wide + way + motion.get("sway", 0.0))
        return None if spot is None else self._placed(thing, *spot, **motion)

    def _motion(self, thing: Thing) -> dict[str, Any]:
        rate, phase = self.kit.between(1.2, 3.5), self.kit.between(0, 2 * math.pi)
        if thing.name == "ball":
            way = (self.kit.between(-0.5, 0.5), 0.0, self.kit.between(-0.3, 0.3))
            return {"bounce": self.kit.between(0.2, 0.8), "squash": 0.12, "bend_rate": rate + 1,
                    "swing": way, "rate": 0.6 * rate, "phase": phase}  # fmt: skip
        if thing.name in ("blob", "bush", "plant"):
            squash, sway = self.kit.between(0.1, 0.3), self.kit.between(0.0, 0.25)
            return {"squash": squash, "sway": sway, "bend_rate": rate,
                    "spin": self.kit.between(-0.8, 0.8), "phase": phase}  # fmt: skip
        if thing.name == "cart":
            turn, reach = self.kit.between(0, 2 * math.pi), self.kit.between(0.3, 0.7)
            way = (reach * math.sin(turn), 0.0, reach * math.cos(turn))
            return {"turn": turn, "swing": way, "rate": 0.6 * rate, "phase": phase}
        return {"spin": self.kit.between(-1.5, 1.5), "bounce": self.kit.between(0, 0.15),
                "bend_rate": rate}  # fmt: skip

    def _standing(self) -> Thing | None:
        indoors = ("table", "chair", "sofa", "lamp", "plant", "crate", "shelf")
        outdoors = ("bush", "crate", "fence", "tree", "cart", "mobile", "chair")
        thing = self.kit.thing(*(indoors if self.place == "room" else outdoors))
        spot = self._spot(thing.radius)
        return None if spot is None else self._placed(thing, *spot)

    def _along_walls(self) -> list[Thing]:
        """Furniture along the back wall, pictures, a rug."""
        things, (low, high) = [], self.room
        for x in np.arange(low[0] + 1.2, high[0] - 1.2, 1.6):
            if self.kit.chance(0.7):
                thing = self.kit.thing("shelf", "sofa", "lamp", "plant", "table")
                z = high[2] - (0.2 if thing.name == "shelf" else 0.56)
                things.append(self._placed(thing, float(x), float(z), turn=math.pi))
        things += [self._picture(side) for side in (0, 0, 1, 1, 2, 2)]
        rug = (self.kit.between(0.8, 1.8), 0.006, self.kit.between(0.8, 1.5))
        part = Solid(BOX, (0, -0.006, 0), rug, self.kit.material("cloth"))
        rug_thing = Thing("rug", (part,), math.hypot(rug[0], rug[2]))
        return [*things, self._placed(rug_thing, self.kit.between(-0.8, 0.8), self.distance)]

    def _picture(self, side: int) -> Thing:
        """A framed picture on the left, right or back wall."""
        low, high = self.room
        w, h = self.kit.between(0.25, 0.7), self.kit.between(0.2, 0.5)
        y = -self.kit.between(1.3, 1.9)
        frame, inner = self.kit.material("hard"), self.kit.material("cloth")
        parts = (
            Solid(BOX, (0, y, 0), (w, h, 0.03), frame),
            Solid(BOX, (0, y, 0), (0.88 * w, 0.88 * h, 0.035), inner),
        )
        thing = Thing("picture", parts, w)
        if side == 2:
            x = self.kit.between(low[0] + 1, high[0] - 1)
            return self._placed(thing, x, float(high[2]) - 0.03, turn=0.0)
        x = float(low[0]) + 0.03 if side == 0 else float(high[0]) - 0.03
        return self._placed(thing, x, self.kit.between(1.0, high[2] - 0.8), turn=math.pi / 2)

    def _far(self) -> Thing | None:
        """A house or tree behind what is filmed, away from the arc."""
        thing = self.kit.thing("house", "tree", "tree", "bush", "fence")
        angle, r = self.kit.between(-1.5, 1.5), self.kit.between(5.5, 22)
        x, behind = r * math.sin(angle), abs(r * math.cos(angle)) * 0.9 + 1.5
        gap = math.hypot(x, behind) - thing.radius
        if gap < (REACH if behind > thing.radius else ARC + 0.3) * self.distance + 0.5:
            return None
        if not self._free(x, self.distance + behind, thing.radius):
            return None
        self.taken.append((x, self.distance + behind, thing.radius))
        return self._placed(thing, x, self.distance + behind, turn=self.kit.between(-0.4, 0.4))
