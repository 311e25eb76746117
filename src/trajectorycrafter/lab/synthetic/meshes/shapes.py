"""Plain bodies as triangle soups: boxes, balls, rods, leaf crowns, grounds.

Y points up and things stand on y = 0, as in the catalogues; `scene.py` turns the finished scene
into the package's OpenCV axes. A soup has three rows per triangle, each with position, normal and
texture coordinate.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Integer, UInt8
from numpy.typing import ArrayLike

from ..shared import Color
from .textures import fractal

Soup = Float32[np.ndarray, "N 8"]
"""Position, normal and texture coordinate of every corner, three rows a triangle."""
Image = UInt8[np.ndarray, "H W 4"]
"""RGBA, bottom row first, sides that are powers of two."""
SQUARE = np.array([[0, 1, 2], [0, 2, 3]])
"""Two triangles of four corners."""


@dataclass(frozen=True)
class Part:
    """Triangles of one material."""

    vertices: Soup
    image: Image | None
    """What the texture coordinates look up; None for plain color."""
    tint: Color = (1.0, 1.0, 1.0)
    """Factor on the image, or the color itself; sRGB."""


def soup(
    vertices: Float[np.ndarray, "V 3"],
    faces: Integer[np.ndarray, "F 3"],
    uv: Float[np.ndarray, "V 2"] | None = None,
) -> Soup:
    """Indexed triangles as a soup with flat normals."""
    p = vertices[faces].astype(np.float32)
    normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    t = np.zeros((len(faces), 3, 2), np.float32) if uv is None else uv[faces].astype(np.float32)
    return np.concatenate([p, np.repeat(normal[:, None], 3, 1), t], axis=2).reshape(-1, 8)


def scaled(data: Soup, x: float, y: float, z: float) -> Soup:
    """The soup itself, made larger along the axes; its normals stay."""
    data[:, :3] *= np.array([x, y, z], np.float32)
    return data


def smoothed(data: Soup) -> Soup:
    """The same soup with the mean normal of the triangles that meet in each place."""
    p = data[:, :3].reshape(-1, 3, 3)
    area = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]).repeat(3, axis=0)
    _, place = np.unique(data[:, :3].round(5), axis=0, return_inverse=True)
    total = np.zeros((place.max() + 1, 3), np.float32)
    np.add.at(total, place.reshape(-1), area)
    normal = total[place.reshape(-1)]
    out = data.copy()
    out[:, 3:6] = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12)
    return out


def strips(grid: Integer[np.ndarray, "R C"]) -> Integer[np.ndarray, "F 3"]:
    """Two triangles for every cell of a grid of vertex numbers, rows from the bottom up."""
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    halves = [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)]
    return np.concatenate(halves)


def box(uv_per_meter: float | None = None, size: np.ndarray | None = None) -> Soup:
    """Unit box standing on y = 0; with `size`, texture coordinates in meters of the scaled box."""
    out = []
    scale = np.ones(3) if size is None else np.asarray(size, float)
    for axis in range(3):
        u, v = [(2, 1), (0, 2), (0, 1)][axis]
        for side in (-0.5, 0.5):
            corners = np.zeros((4, 3))
            corners[:, axis] = side
            corners[:, u] = [-0.5, 0.5, 0.5, -0.5]
            corners[:, v] = [-0.5, -0.5, 0.5, 0.5]
            t = corners[:, [u, v]] + 0.5
            if uv_per_meter is not None:
                t = t * scale[[u, v]] * uv_per_meter
            data = soup(corners, SQUARE, t)
            data[:, 3:6] = np.eye(3)[axis] * np.sign(side)
            out.append(data)
    out = np.concatenate(out)
    out[:, 1] += 0.5
    return out


def revolve(profile: np.ndarray, segments: int = 24, wobble: np.ndarray | None = None) -> Soup:
    """Surface of revolution of (radius, height) points."""
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    r, y = profile[:, :1], profile[:, 1:]
    ring = np.stack([r * np.cos(angle), np.repeat(y, segments + 1, 1), r * np.sin(angle)], -1)
    if wobble is not None:
        wobble = np.concatenate([wobble, wobble[:, :1]], axis=1)
        ring = ring * wobble[:, :, None]
    rows = len(profile)
    faces = strips(np.arange(rows * (segments + 1)).reshape(rows, -1))
    length = np.linspace(0, 1, rows)[:, None].repeat(segments + 1, 1)
    uv = np.stack([np.repeat(angle[None] / (2 * np.pi), rows, 0), length], -1).reshape(-1, 2)
    return smoothed(soup(ring.reshape(-1, 3), faces, uv))


def sphere(segments: int = 24) -> Soup:
    t = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    return revolve(np.stack([0.5 * np.cos(t), 0.5 * np.sin(t) + 0.5], -1), segments)


def blob(rng: np.random.Generator) -> Soup:
    """A sphere dented by noise, about one unit large."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 17)
    noise = fractal(rng, 32, 3, 0.7)[:17, :32]
    noise[[0, -1]] = 0.5
    return revolve(np.stack([0.5 * np.cos(t), 0.5 * np.sin(t)], -1), 32, 0.6 + 0.8 * noise)


def cylinder(taper: float = 1.0) -> Soup:
    profile = np.array([[0, 0], [0.5, 0], [0.5 * taper, 1], [0, 1]])
    return revolve(profile, 16)


def capsule(a: ArrayLike, b: ArrayLike, radius: float, taper: float = 1.0) -> Soup:
    """A rounded rod from a to b."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    length = np.linalg.norm(b - a) + 1e-9
    t = np.linspace(0, np.pi / 2, 5)
    low = np.stack([radius * np.sin(t), -radius * np.cos(t)], -1)
    high = np.stack([radius * taper * np.cos(t), length + radius * taper * np.sin(t)], -1)
    data = revolve(np.concatenate([low, high]), 14)
    up = (b - a) / length
    side = np.cross(up, [0.3, 0.1, 1.0])
    side /= np.linalg.norm(side)
    turn = np.stack([side, up, np.cross(side, up)], 0).astype(np.float32)
    data[:, :3] = data[:, :3] @ turn + a
    data[:, 3:6] = data[:, 3:6] @ turn
    return data


def leaf_crown(rng: np.random.Generator, leaves: int) -> Soup:
    """Random square leaf cards in a unit ball around the origin."""
    cards = []
    for _ in range(leaves):
        place = rng.normal(size=3)
        place *= rng.uniform(0.2, 0.5) ** 0.6 / np.linalg.norm(place)
        u, v = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2] * rng.uniform(0.12, 0.3)
        corners = place + np.array([-u - v, u - v, u + v, -u + v])
        data = soup(corners, SQUARE, np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]))
        # Normals point outwards from the crown, so that it is lit like one round body.
        data[:, 3:6] = place / np.linalg.norm(place)
        cards.append(data)
    return np.concatenate(cards)


def quad(width: float, height: float, repeat: tuple[float, float] = (1, 1)) -> Soup:
    """Upright picture in the x, y plane, standing on y = 0."""
    corners = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0.5, 1, 0], [-0.5, 1, 0]]) * [width, height, 1]
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]) * repeat
    return soup(corners, SQUARE, uv)


def ground(half: float, repeat_per_meter: float) -> Soup:
    corners = np.array([[-1, 0, -1], [-1, 0, 1], [1, 0, 1], [1, 0, -1.0]]) * half
    return soup(corners, SQUARE, corners[:, [0, 2]] * repeat_per_meter)


def hills(rng: np.random.Generator, inner: float, outer: float, height: float) -> Soup:
    """A ring of rolling land around the origin that rises from y = 0 at its inner edge."""
    rows, segments = 14, 64
    noise = fractal(rng, 64, 4, 0.6)[:rows]
    r = np.linspace(inner, outer, rows)[:, None]
    rise = np.linspace(0, 1, rows)[:, None]
    angle = np.linspace(0, 2 * np.pi, segments + 1)[None]
    y = height * rise * np.concatenate([noise, noise[:, :1]], 1)
    points = np.stack([r * np.cos(angle), y, r * np.sin(angle)], -1)
    faces = strips(np.arange(rows * (segments + 1)).reshape(rows, -1)[:, ::-1])
    flat = points.reshape(-1, 3)
    return smoothed(soup(flat, faces, flat[:, [0, 2]] * 0.1))
