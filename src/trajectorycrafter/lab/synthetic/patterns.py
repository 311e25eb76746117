"""Solid patterns: what color a material has at a place, as fine as a pixel can show.

All functions are compiled into the ray caster's loops, so they take and give plain numbers, and a
color is written into an array that is handed in.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, no_type_check

from numba import njit

CELLS = 32
"""Cells of the noise volume along each axis; it is periodic."""
MEANS = (
    (0.49, 0.0), (0.5, 0.0), (0.5, 0.13), (0.42, 0.14), (0.45, 0.12), (0.5, 0.08), (0.23, 0.0),
    (0.5, 0.25), (0.4, 0.19), (0.36, 0.09),
)  # fmt: skip
"""Mean shares of each pattern's second and third color: what it looks like from afar."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile without the lock, kept on disk between runs where some folder can be written."""
    compiled = partial(njit, nogil=True, forceinline=True, fastmath=True, error_model="numpy")
    try:
        return compiled(cache=True)(function)
    except RuntimeError:
        return compiled()(function)


@kernel
@no_type_check
def noise_at(noise, x, y, z):
    """Trilinear value noise, periodic in `CELLS`."""
    x, y, z = x % CELLS, y % CELLS, z % CELLS
    i, j, k = min(int(x), CELLS - 1), min(int(y), CELLS - 1), min(int(z), CELLS - 1)
    a, b, c = x - i, y - j, z - k
    low = noise[i, j, k] * (1 - a) + noise[i + 1, j, k] * a
    low = low * (1 - b) + (noise[i, j + 1, k] * (1 - a) + noise[i + 1, j + 1, k] * a) * b
    high = noise[i, j, k + 1] * (1 - a) + noise[i + 1, j, k + 1] * a
    high = high * (1 - b) + (noise[i, j + 1, k + 1] * (1 - a) + noise[i + 1, j + 1, k + 1] * a) * b
    return low * (1 - c) + high * c


@kernel
@no_type_check
def fractal(noise, x, y, z, footprint):
    """Four octaves about 0; those finer than the pixel's footprint (in cells) fade away."""
    total, weight, frequency = 0.0, 0.55, 1.0
    for octave in range(4):
        fade = min(max(2.0 - 2.5 * footprint * frequency, 0.0), 1.0)
        if fade <= 0:
            break
        at = noise_at(noise, x * frequency + 7.3 * octave, y * frequency, z * frequency)
        total += weight * fade * (at - 0.5)
        weight *= 0.6
        frequency *= 2.1
    return total


@kernel
@no_type_check
def step(x, width):
    """A soft step from 0 to 1 about x = 0."""
    return min(max(0.5 + x / width, 0.0), 1.0)


@kernel
@no_type_check
def _pattern(family, u, v, w, blur, noise):
    """Shares of the second and third color at cell coordinates; `blur` is a pixel in cells."""
    soft = 0.06 + blur
    if family == 0:  # mottled
        return step(fractal(noise, u, v, w, blur) * 2.2, 0.5 + soft), 0.0
    if family == 1:  # checks
        waves = math.sin(u * math.pi) * math.sin(v * math.pi) * math.cos(w * math.pi)
        return step(waves, 0.3 + 3 * blur), 0.0
    if family == 2:  # stripes
        bend = fractal(noise, u * 0.3, v * 0.3, w * 0.3, blur)
        wave = math.sin((u + v * 0.35 + 0.5 * bend) * math.pi * 2)
        return step(wave, 0.4 + 6 * blur), step(math.sin(u * 0.7) - 0.8, 0.2 + blur) * 0.6
    if family in (3, 4, 8):  # bricks, planks, tiles: fields between joints
        long = 1.0 if family == 8 else (2.0 if family == 3 else 5.0)
        row = math.floor(v)
        shift = 0.0 if family == 8 else row * 0.37 * long
        column = math.floor((u + shift) / long)
        a, b = (u + shift) - column * long, v - row
        edge = min(min(a, long - a), min(b, 1 - b))
        joint = 1 - step(edge - 0.05, 0.05 + blur)
        tint = noise_at(noise, column * 5.7 + 0.5, row * 3.3 + 0.5, 1.5)
        if family == 4:
            tint += 0.5 * math.sin(6 * v + 9 * fractal(noise, u * 0.25, v, w, blur))
        return min(max(tint * (1 - joint), 0.0), 1.0), joint
    if family == 5:  # marble
        vein = math.sin((u + 0.6 * v + 3.5 * fractal(noise, u, v, w, blur)) * 2.2)
        return step(vein, 1.2 + blur), step(vein - 0.93, 0.1 + blur) * 0.7
    if family == 6:  # dots
        a, b = u - math.floor(u) - 0.5, v - math.floor(v) - 0.5
        size = 0.16 + 0.22 * noise_at(noise, math.floor(u) + 0.5, math.floor(v) + 0.5, 3.5)
        return step(size - math.sqrt(a * a + b * b), soft), 0.0
    if family == 7:  # plaid
        a, b = math.sin(u * 2 * math.pi), math.sin(v * 2 * math.pi)
        first, second = step(a, 0.3 + 5 * blur), step(b, 0.3 + 5 * blur)
        return 0.5 * (first + second), 0.5 * step(math.sin(u * 0.9 + v * 0.4), 0.3 + blur)
    first = step(fractal(noise, u, v, w, blur) * 2 - 0.08, 0.12 + soft)  # patches
    return first, step(fractal(noise, v + 9.1, u, w, blur) * 2 - 0.3, 0.12 + soft)


@kernel
@no_type_check
def albedo(m, x, y, z, axis, footprint, noise, out):
    """Fill `out` with a material's color at local coordinates on a face across `axis`."""
    scale = m[1]
    u, v, w = x * scale + m[3], y * scale + m[4], z * scale + m[5]
    if axis == 0:
        u, v, w = w, v, u
    elif axis == 1:
        u, v, w = u, w, v
    blur = footprint * scale
    second, third = _pattern(int(m[0]), u, v, w, blur, noise)
    # What is finer than two pixels shows its mean.
    fade = min(max(1.6 - 2.2 * blur, 0.0), 1.0)
    mean = MEANS[int(m[0])]
    second, third = mean[0] + (second - mean[0]) * fade, mean[1] + (third - mean[1]) * fade
    fine = 9.0 + m[2] * 10
    grain = m[2] * fractal(noise, x * fine, y * fine + m[3], z * fine, footprint * fine)
    for c in range(3):
        value = m[6 + c] * (1 - second) + m[9 + c] * second
        value = value * (1 - third) + m[12 + c] * third
        out[c] = min(max(value + grain, 0.01), 1.0)
