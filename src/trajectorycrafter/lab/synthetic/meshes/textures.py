"""Pictures for surfaces, drawn from noise or read from photographs.

Texture images are RGBA with the bottom row first, as OpenGL counts, while files and the drawing
functions here have the top row first; `as_texture` turns them.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Picture = UInt8[np.ndarray, "H W 4"]
"""RGBA, top row first."""


def as_texture(image: Picture, most: int = 512) -> UInt8[np.ndarray, "h w 4"]:
    """A picture in power-of-two sides of at most `most` pixels, bottom row first."""
    side = [min(most, 2 ** max(3, round(np.log2(max(s, 8))))) for s in image.shape[:2]]
    image = cv2.resize(image, (side[1], side[0]), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[::-1])


def fractal(
    rng: np.random.Generator, size: int = 256, octaves: int = 6, gain: float = 0.6
) -> Float[np.ndarray, "S S"]:
    """Tiling noise in [0, 1], `size` pixels square; each octave weighs `gain` times the last."""
    total, weight = np.zeros((size, size), np.float32), 1.0
    for o in range(1, octaves + 1):
        cells = 2**o
        coarse = rng.random((cells, cells)).astype(np.float32)
        coarse = np.pad(coarse, 2, mode="wrap")
        fine = cv2.resize(
            coarse, None, fx=size / cells, fy=size / cells, interpolation=cv2.INTER_CUBIC
        )
        edge = 2 * size // cells
        total += weight * fine[edge : edge + size, edge : edge + size]
        weight *= gain
    return (total - total.min()) / (np.ptp(total) + 1e-9)


def _opaque(rgb: Float[np.ndarray, "H W 3"]) -> Picture:
    rgb = (rgb.clip(0, 1) * 255).astype(np.uint8)
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])


def noise_texture(rng: np.random.Generator) -> Picture:
    a, b = rng.random(3), rng.random(3)
    mix = fractal(rng, gain=rng.uniform(0.4, 0.95))[:, :, None]
    kind = rng.integers(4)
    if kind == 1:
        y, x = np.mgrid[:256, :256] / 256
        waves = np.sin(
            2 * np.pi * (rng.integers(1, 12) * x + rng.integers(0, 12) * y + mix[:, :, 0])
        )
        mix = (waves * 2).clip(-1, 1)[:, :, None] / 2 + 0.5
    if kind == 2:
        y, x = np.mgrid[:256, :256] // (256 // int(rng.choice([2, 4, 8, 16])))
        mix = ((x + y) % 2)[:, :, None] * 0.8 + 0.2 * mix
    if kind == 3:
        a = rng.random() * np.ones(3) + rng.normal(0, 0.05, 3)
        b = a + rng.normal(0, 0.1, 3)
    return _opaque(a * mix + b * (1 - mix))


def grass_texture(rng: np.random.Generator) -> Picture:
    green = np.array([rng.uniform(0.2, 0.5), rng.uniform(0.35, 0.6), rng.uniform(0.05, 0.25)])
    dry = np.array([rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.5), rng.uniform(0.15, 0.35)])
    mix = fractal(rng, gain=0.9)[:, :, None] ** 1.5 * rng.uniform(0.2, 1)
    light = 0.5 + fractal(rng, octaves=8, gain=1.1)[:, :, None]
    return _opaque((green * (1 - mix) + dry * mix) * light)


def leaf_texture(rng: np.random.Generator) -> Picture:
    """Foliage with holes in its alpha."""
    hue = np.array([rng.uniform(0.1, 0.5), rng.uniform(0.25, 0.55), rng.uniform(0.03, 0.25)])
    if rng.random() < 0.15:
        hue = np.array([rng.uniform(0.5, 0.8), rng.uniform(0.3, 0.5), rng.uniform(0.05, 0.2)])
    density = fractal(rng, octaves=7, gain=1.0)
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    alpha = density - 0.75 * np.sqrt(x**2 + y**2) ** 3 > rng.uniform(0.3, 0.45)
    rgb = _opaque(hue * (0.35 + 1.1 * fractal(rng, octaves=8, gain=1.05)[:, :, None]))
    rgb[:, :, 3] = alpha * 255
    return rgb


def treeline_texture(rng: np.random.Generator) -> Picture:
    """A row of far crowns against the sky, once around."""
    leaves = leaf_texture(rng)
    height = 0.55 + 0.4 * fractal(rng, gain=0.8)[0] * rng.uniform(0.3, 1)
    ragged = fractal(rng, octaves=7, gain=1.0) * 0.12
    y = np.linspace(1, 0, 256)[:, None]
    leaves[:, :, 3] = (y + ragged < height[None, :]) * 255
    return leaves


def facade_texture(rng: np.random.Generator) -> Picture:
    wall = np.ones((256, 256, 3)) * (rng.random() * 0.6 + 0.3 + rng.normal(0, 0.06, 3))
    wall *= 0.85 + 0.3 * fractal(rng, gain=0.9)[:, :, None]
    rows, columns = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    h, w = 256 // rows, 256 // columns
    glass = rng.random(3) * 0.35
    for r in range(rows):
        for c in range(columns):
            y0, x0 = int((r + 0.25) * h), int((c + 0.25) * w)
            pane = (slice(y0, y0 + h // 2), slice(x0, x0 + w // 2))
            wall[pane] = glass * rng.uniform(0.5, 1.8)
            cv2.rectangle(wall, (x0, y0), (x0 + w // 2, y0 + h // 2), (0.85,) * 3, 2)
    return _opaque(wall)


def plaster_texture(rng: np.random.Generator) -> Picture:
    """A painted wall or a plain cloth: one color, faintly uneven."""
    paint = rng.uniform(0.45, 0.9) + rng.normal(0, 0.07, 3)
    grain = fractal(rng, octaves=8, gain=rng.uniform(0.6, 1.1))[:, :, None]
    return _opaque(paint * (1 + rng.uniform(0.1, 0.35) * (grain - 0.5)))


def planks_texture(rng: np.random.Generator) -> Picture:
    """Wooden boards along y, each of its own shade."""
    wood = np.array([0.55, 0.38, 0.24]) * rng.uniform(0.5, 1.5) + rng.normal(0, 0.03, 3)
    rows, boards = np.zeros((256, 256, 3)), int(rng.choice([4, 8]))
    width, grain = 256 // boards, fractal(rng, octaves=7, gain=0.9)
    # Grain runs along the boards: stretched in y.
    grain = cv2.resize(grain[:32], (256, 256), interpolation=cv2.INTER_CUBIC)[:, :, None]
    for i in range(boards):
        side = slice(i * width, (i + 1) * width)
        shifted = np.roll(grain[:, side], int(rng.integers(256)), axis=0)
        rows[:, side] = wood * rng.uniform(0.8, 1.2) * (0.65 + 0.7 * shifted)
        rows[:, i * width] *= 0.4
        rows[int(rng.integers(256)), side] *= 0.4
    return _opaque(rows)


def tiles_texture(rng: np.random.Generator) -> Picture:
    """Square tiles in one or two colors with joints."""
    a = rng.uniform(0.3, 0.9) + rng.normal(0, 0.08, 3)
    b = a if rng.random() < 0.5 else rng.uniform(0.2, 0.9) + rng.normal(0, 0.08, 3)
    count = int(rng.choice([2, 4, 8]))
    y, x = np.mgrid[:256, :256] // (256 // count)
    stone = 0.8 + 0.4 * fractal(rng, octaves=7, gain=0.85)[:, :, None]
    tiles = np.where(((x + y) % 2)[:, :, None] > 0, a, b) * stone
    joint = (np.mgrid[:256, :256] % (256 // count) < 3).any(axis=0)
    tiles[joint] *= 0.6
    return _opaque(tiles)


def pattern_texture(rng: np.random.Generator) -> Picture:
    """Stripes, checks or dots in strong colors, for cloth and balls."""
    colors = rng.uniform(0.05, 0.95, (3, 3))
    y, x = np.mgrid[:256, :256] / 256
    n, kind = int(rng.integers(2, 7)), rng.integers(4)
    stripe = ((x if kind == 0 else y) * n * 2).astype(int)
    check = (x * n * 2).astype(int) + (y * n * 2).astype(int)
    dots = (((x * n * 2) % 1 - 0.5) ** 2 + ((y * n * 2) % 1 - 0.5) ** 2 < 0.08).astype(int)
    index = [stripe % 3, stripe % 2, check % 2, dots][kind]
    return _opaque(colors[index] * (0.85 + 0.3 * fractal(rng, gain=0.9)[:, :, None]))


def street_texture(rng: np.random.Generator) -> Picture:
    """Asphalt: gray with fine grain and faint patches."""
    gray = rng.uniform(0.28, 0.5) + rng.normal(0, 0.01, 3)
    grain = 0.6 * fractal(rng, octaves=8, gain=1.2) + 0.4 * fractal(rng, octaves=4)
    return _opaque(gray * (0.65 + 0.7 * grain[:, :, None]))


def sky_texture(rng: np.random.Generator) -> Picture:
    """The dome of the sky: horizon in the bottom row, zenith in the top row, clouds between."""
    zenith = np.array([0.22, 0.42, 0.8]) * rng.uniform(0.7, 1.2) + rng.normal(0, 0.03, 3)
    horizon = np.array([0.78, 0.86, 0.95]) * rng.uniform(0.85, 1.05)
    share = np.linspace(1, 0, 256)[:, None, None] ** 0.6
    clear = horizon + (zenith - horizon) * share * np.ones((1, 256, 1))
    clouds = (fractal(rng, gain=0.6)[:, :, None] - rng.uniform(0.35, 0.75)) * rng.uniform(1.5, 4)
    clouds = clouds.clip(0, 1) * rng.uniform(0.3, 1)
    return _opaque(clear * (1 - clouds) + clouds * rng.uniform(0.8, 1))
