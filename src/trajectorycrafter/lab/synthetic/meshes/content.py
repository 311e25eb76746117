"""The bodies of mesh scenes: models, people who walk, trees in the wind, balls, cloths, walls.

Y points up here, the floor is y = 0, and the camera's base place looks along -z. All chance comes
from the generator that a `Stock` holds, in a fixed order, so that a seed gives one scene whatever
was made before it.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..shared import Chance, Color, Split, Vector, triple
from . import shapes, textures
from .catalogue import (
    SURFACES,
    Mesh,
    ModelFile,
    catalogue,
    kinds,
    load_mesh,
    photographs,
    split_of,
)
from .motion import Flutter, Gait, Motion, Sway
from .renderer import Body
from .shapes import Image, Part, Soup

MOST_TRIANGLES = 25000
"""Models heavier than this are left out: they would take most of the drawing time."""
DRAWN = {
    "wall": textures.plaster_texture,
    "floor": textures.planks_texture,
    "street": textures.street_texture,
    "tiles": textures.tiles_texture,
    "pattern": textures.pattern_texture,
    "grass": textures.grass_texture,
    "leaves": textures.leaf_texture,
    "facade": textures.facade_texture,
    "treeline": textures.treeline_texture,
    "sky": textures.sky_texture,
    "bark": textures.noise_texture,
}


@dataclass(frozen=True)
class Stock(Chance):
    """What a scene of one split may be made of, and the chance it is drawn by."""

    models: dict[str, list[ModelFile]]
    """The split's models by use."""
    photos: dict[str, Image]
    """The split's photographs by name."""

    @classmethod
    def open(cls, assets: Path, split: Split, rng: np.random.Generator) -> "Stock":
        """The models and photographs below `assets` that belong to `split`.

        Raises:
            FileNotFoundError: if the catalogues or the photographs are missing.
        """
        models = kinds([entry for entry in catalogue(assets) if split_of(entry.key) == split])
        photos = {k: v for k, v in photographs(assets).items() if split_of(k) == split}
        return cls(rng, models, photos)

    def tint(self, low: float, high: float) -> Color:
        """A factor near gray that makes the same picture look like another."""
        return triple(self.between(low, high) * self.rng.uniform(0.88, 1.1, 3))

    def surface(self, kind: str) -> tuple[Image, Color]:
        """A photograph that suits the kind, or a drawn picture, and its tint."""
        words = SURFACES.get(kind, ())
        fitting = [photo for name, photo in self.photos.items() if any(w in name for w in words)]
        if fitting and self.chance(0.5):
            return self.pick(fitting), self.tint(0.75, 1.05)
        if kind == "floor" and self.chance(0.4):
            kind = "tiles"
        return textures.as_texture(DRAWN[kind](self.rng)), self.tint(0.85, 1.05)

    def shape(self, name: str, data: Soup, kind: str, **more: Any) -> Body:
        """A plain body dressed in one surface."""
        return Body(name, (Part(data, *self.surface(kind)),), **more)

    def mesh(self, *uses: str, most: float = math.inf) -> tuple[str, Mesh]:
        """A model of the first use that has any no wider than `most`; else a plain box."""
        for use in uses:
            pool = [e for e in self.models.get(use, []) if math.hypot(e.size[0], e.size[2]) <= most]
            while pool:
                entry = pool.pop(self.count(0, len(pool)))
                mesh = load_mesh(entry, MOST_TRIANGLES)
                if mesh is not None:
                    return entry.key, mesh
        size = self.rng.uniform(0.3, min(1.2, most / 1.5), 3)
        data = shapes.scaled(shapes.box(1.0, size), *size)
        return "box", Mesh((Part(data, *self.surface("pattern")),), triple(size))

    def model(self, *uses: str, most: float = math.inf) -> tuple[Body, Vector]:
        """A model as a body at the origin, now and then in other colors, and its size."""
        name, mesh = self.mesh(*uses, most=most)
        parts = mesh.parts
        if self.chance(0.4):
            shade = self.rng.uniform(0.55, 1.1) * self.rng.uniform(0.75, 1.15, 3)
            parts = tuple(replace(part, tint=_shaded(part.tint, shade)) for part in parts)
        return Body(name, parts, shine=self.pick([0.0, 0.0, 0.2])), mesh.size

    def walker(self, met: set[str]) -> tuple[Body, float]:
        """Somebody who walks on the spot, feet at the origin, and the speed of the legs.

        Args:
            met: names of those who are there already; nobody comes twice.
        """
        speed, phase = self.between(0.6, 1.4), self.between(0, 2 * math.pi)
        new = [entry for entry in self.models.get("standing", []) if entry.key not in met]
        entry = self.pick(new) if new else None
        mesh = None if entry is None else load_mesh(entry, MOST_TRIANGLES)
        if entry is not None and mesh is not None and self.chance(0.85):
            name = entry.key
            shade = self.rng.uniform(0.7, 1.1) * self.rng.uniform(0.9, 1.1, 3)
            parts = tuple(replace(part, tint=_shaded(part.tint, shade)) for part in mesh.parts)
            height = mesh.size[1]
        else:
            height = self.between(1.5, 1.95)
            name, parts = "figure", self._figure(height)
        gait = Gait(height, speed, phase, self.between(0.25, 0.6))
        return Body(name, parts, bend=gait), speed

    def _figure(self, height: float) -> tuple[Part, ...]:
        """An upright figure of rounded rods in shirt, trousers and shoes."""
        skin = np.array([0.86, 0.64, 0.52]) * self.rng.uniform(0.35, 1.05)
        rods: dict[str, list[Soup]] = {"skin": [], "hair": [], "shirt": [], "legs": [], "shoes": []}
        rod = shapes.capsule
        flat = (1.1, 1.0, 0.75)  # Chests are wider than deep.
        rods["shirt"].append(shapes.scaled(rod([0, 0.55, 0], [0, 0.75, 0], 0.085, 1.1), *flat))
        rods["legs"].append(shapes.scaled(rod([0, 0.5, 0], [0, 0.54, 0], 0.09), *flat))
        rods["skin"].append(rod([0, 0.8, 0], [0, 0.88, 0.01], 0.032))
        rods["skin"].append(rod([0, 0.9, 0.012], [0, 0.945, 0.012], 0.052))
        rods["hair"].append(rod([0, 0.925, -0.008], [0, 0.95, -0.006], 0.055))
        for side in (-1, 1):
            hip, knee, heel = side * 0.05, [side * 0.052, 0.28, 0], [side * 0.052, 0.035, 0]
            rods["legs"].append(rod(knee, [hip, 0.5, 0], 0.037, 1.35))
            rods["legs"].append(rod(heel, knee, 0.024, 1.5))
            rods["shoes"].append(rod([*heel[:1], 0.02, -0.02], [*heel[:1], 0.018, 0.085], 0.022))
            shoulder, elbow = [side * 0.118, 0.79, 0], [side * 0.15, 0.63, 0]
            rods["shirt"].append(rod(elbow, shoulder, 0.024, 1.3))
            rods["skin"].append(rod([side * 0.155, 0.47, 0.01], elbow, 0.017, 1.3))
        dress: dict[str, tuple[Image | None, Color]] = {
            "skin": (None, _shaded((1.0, 1.0, 1.0), skin)),
            "hair": (None, _shaded((0.35, 0.25, 0.15), self.rng.uniform(0.2, 2.0, 3).mean())),
            "shirt": self.surface("pattern"),
            "legs": (None, _shaded(self.rng.uniform(0.08, 0.95, 3), 0.6)),
            "shoes": (None, _shaded(self.rng.uniform(0.08, 0.95, 3), 0.4)),
        }
        full = (height, height, height)
        return tuple(
            Part(shapes.scaled(np.concatenate(soups), *full), *dress[name])
            for name, soups in rods.items()
        )

    def ball(self, radius: float) -> Body:
        size = Motion(scale=(2 * radius, 2 * radius, 2 * radius))
        return self.shape("ball", shapes.sphere(), "pattern", motion=size, shine=0.3)

    def tree(self, height: float) -> Body:
        """Trunk and crown of leaf cards, both in the same wind; or a tree of the catalogue."""
        sway = Sway(
            height, self.between(0.01, 0.05) * height, self.between(2.0, 4.0),
            self.between(0, 6.3), self.between(0, 6.3),
        )  # fmt: skip
        if self.models.get("plants") and self.chance(0.4):
            name, mesh = self.mesh("plants")
            scale = height / max(mesh.size[1], 0.3)
            # The wind bends the body before it is scaled.
            sway = replace(sway, height=mesh.size[1], reach=sway.reach / scale)
            return Body(name, mesh.parts, Motion(scale=(scale, scale, scale)), sway)
        rods = [shapes.capsule([0, -0.2, 0], [0, 0.8 * height, 0], height * 0.025, 0.4)]
        for _ in range(self.count(2, 6)):
            start = np.array([0, self.between(0.3, 0.7) * height, 0])
            away = self.rng.normal(0, 0.15, 3) * height
            away[1] = self.between(0.05, 0.25) * height
            rods.append(shapes.capsule(start, start + away, height * 0.01, 0.3))
        bark = _shaded((0.42, 0.32, 0.24), self.between(0.5, 1.4))
        trunk = Part(np.concatenate(rods), self.surface("street")[0], bark)
        crown = shapes.leaf_crown(self.rng, self.count(90, 200))
        low, wide = self.between(0.2, 0.45) * height, height * self.between(0.4, 0.8)
        crown = shapes.scaled(crown, wide, height - low, wide)
        crown[:, 1] += (height + low) / 2
        return Body("tree", (trunk, Part(crown, *self.surface("leaves"))), bend=sway)

    def cloth(self, width: float, height: float, flag: bool) -> Body:
        """A curtain that hangs from its top edge, or a flag that flies from its left edge."""
        grid = np.stack(np.meshgrid(np.linspace(0, 1, 25), np.linspace(0, 1, 17)), -1)
        points = np.dstack([(grid[..., 0] - 0.5) * width, grid[..., 1] * height, 0 * grid[..., 0]])
        faces = shapes.strips(np.arange(25 * 17).reshape(17, 25))
        data = shapes.soup(points.reshape(-1, 3), faces, grid.reshape(-1, 2))
        reach = self.between(0.1, 0.2) * width if flag else self.between(0.06, 0.18)
        bend = Flutter(width, height, reach, self.between(1.0, 2.5), self.between(0, 6.3), flag)
        return self.shape("cloth", data, "pattern", bend=bend)


def at(body: Body, x: float, y: float, z: float, turn: float = 0.0) -> Body:
    """The body in its place; its own motion goes on from there."""
    return replace(body, motion=replace(body.motion, at=(x, y, z), turn=turn))


def _shaded(color: Color | np.ndarray, factor: Any) -> Color:
    return triple((np.array(color) * factor).clip(0.02, 1.2))
