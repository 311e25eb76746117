"""What surfaces look like: solid patterns, drawn from a catalogue that the splits share out.

A material is a number. Material 17 is the same in every scene and on every machine, and belongs to
one split only.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .shared import Color, Split, Vector, triple

CATALOGUE = 1000
"""Materials, and designs of things, that there are."""
FAMILIES = (
    "mottled", "checks", "stripes", "bricks", "planks", "marble", "dots", "plaid", "tiles",
    "patches",
)  # fmt: skip
"""Patterns, in the order of the numbers that `patterns.py` knows them by."""
ROW = 15
"""Numbers of a material as the ray caster reads it."""

Kind = Literal["wall", "floor", "ceiling", "ground", "cloth", "hard", "leaves", "skin", "hair"]
USUAL: dict[Kind, tuple[str, ...]] = {
    "wall": ("mottled", "stripes", "bricks", "patches", "plaid", "tiles"),
    "floor": ("planks", "tiles", "checks", "marble", "plaid"),
    "ceiling": ("mottled", "planks", "tiles"),
    "ground": ("mottled", "patches", "tiles", "bricks"),
    "cloth": ("stripes", "plaid", "dots", "mottled", "checks", "patches"),
    "hard": ("mottled", "planks", "marble", "checks", "stripes", "dots", "tiles", "patches"),
    "leaves": ("patches", "mottled"),
    "skin": ("mottled",),
    "hair": ("mottled",),
}
"""Which patterns a surface may have."""


@dataclass(frozen=True)
class Material:
    """A solid pattern of three colors."""

    family: int
    """Index into `FAMILIES`."""
    scale: float
    """Cells of the pattern per meter."""
    grain: float
    """How much fine noise lies over the pattern, in units of color."""
    offset: Vector
    """Where in the pattern the surface lies."""
    colors: tuple[Color, ...]
    """Three, RGB in [0, 1]."""

    @property
    def row(self) -> np.ndarray:
        """The numbers as the ray caster reads them."""
        colors = [value for color in self.colors for value in color]
        return np.array([self.family, self.scale, self.grain, *self.offset, *colors], np.float32)


def split_of(number: int) -> Split:
    """The split that entry `number` of a catalogue belongs to: three of five are for training."""
    return ("test", "dev", "train", "train", "train")[number % 5]


def draw_number(rng: np.random.Generator, split: Split) -> int:
    """A number from the catalogue's part for `split`."""
    ends = [end for end in range(5) if split_of(end) == split]
    return int(rng.integers(CATALOGUE // 5)) * 5 + ends[int(rng.integers(len(ends)))]


def material(number: int, kind: Kind) -> Material:
    """Entry `number` of the catalogue, as it looks on such a surface."""
    kinds = list(USUAL)
    rng = np.random.default_rng([1, kinds.index(kind), number])
    usual = USUAL[kind]
    family = FAMILIES.index(usual[int(rng.integers(len(usual)))])
    coarse = {"wall": 1.2, "floor": 1.8, "ceiling": 1.0, "ground": 0.8}.get(kind, 4.0)
    scale = coarse * float(np.exp(rng.uniform(-0.5, 0.7)))
    offset = triple(rng.uniform(0, 30, 3))
    return Material(family, scale, float(rng.uniform(0.12, 0.4)), offset, _colors(rng, kind))


def _colors(rng: np.random.Generator, kind: Kind) -> tuple[Color, ...]:
    """Three colors that go together: a hue, a shade of it, and sometimes a stranger."""
    if kind == "skin":
        tone = rng.uniform(0.35, 0.95)
        base = np.array([0.9, 0.66, 0.52]) * tone
        return _tones(base, base * 0.92, base * 1.05)
    if kind == "leaves":
        base = np.array([rng.uniform(0.12, 0.36), rng.uniform(0.34, 0.55), rng.uniform(0.05, 0.2)])
        return _tones(base, base * rng.uniform(0.4, 0.7), base * 1.3)
    if kind == "ground":
        base = np.array([0.42, 0.4, 0.33]) + rng.normal(0, 0.06, 3)
        if rng.random() < 0.5:
            base = np.array([0.28, 0.42, 0.16]) + rng.normal(0, 0.05, 3)
        return _tones(base, base * rng.uniform(0.6, 0.85), base * 1.2)
    if kind == "hair":
        base = np.array([0.75, 0.6, 0.42]) ** rng.uniform(0.8, 1.6) * rng.uniform(0.08, 0.8)
        return _tones(base, base * 0.8, base * 1.1)
    light = rng.uniform(0.5, 0.9) if kind in ("wall", "ceiling") else rng.uniform(0.1, 0.9)
    base = (light + rng.normal(0, 0.22, 3)).clip(0.04, 0.97)
    other = rng.uniform(0.05, 0.95, 3)
    share = rng.uniform(0.25, 1.0) if kind != "ceiling" else 0.15
    low, high = (0.1, 0.45) if kind in ("wall", "ceiling", "floor") else (0.35, 1.0)
    strength = rng.uniform(low, high)
    tones = (base, base + (other - base) * share, base * rng.uniform(0.5, 1.2))
    warm = np.array([1.0, 0.93, 0.84]) if kind == "floor" else np.ones(3)
    return _tones(*((tone.mean() + (tone - tone.mean()) * strength) * warm for tone in tones))


def _tones(*colors: np.ndarray) -> tuple[Color, ...]:
    return tuple(triple(color.clip(0.02, 0.98)) for color in colors)
