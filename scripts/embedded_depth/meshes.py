"""Meshes and textures for the rendered training views: furniture, people, trees and plain shapes.

Needs Debian `sweethome3d-furniture` (unpack the five .sh3f zips into one folder each), PyPI
`miniworld` and `scikit-image==0.17.2` wheels and Debian `opencv-doc` for textures, and `trimesh`.

The one thing a reader would get wrong: a mesh is a list of parts, each a plain triangle soup
`N x 8` (position, normal, texture coordinate) with one texture name and one tint.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import trimesh

TEST_ONLY = ("aloe", "motorcycle")
"""Pictures that are never trained on, since the result is measured on them."""


@dataclass
class Part:
    vertices: np.ndarray
    """N x 8 float32, three rows a triangle."""
    texture: str | None
    tint: tuple[float, float, float]
    lasting: bool = False
    """True if it is drawn in many views and should stay on the graphics side."""


@dataclass
class Mesh:
    parts: list[Part]
    size: np.ndarray
    """Width, height, depth in metres; it stands on y = 0, centred in x and z."""


@dataclass
class Entry:
    """One model of the furniture catalogues."""

    name: str
    category: str
    path: Path
    size: np.ndarray


def catalogue(folder: Path) -> list[Entry]:
    """Every model with its category and true size in metres."""
    entries = []
    for listing in sorted(folder.glob("*/PluginFurnitureCatalog.properties")):
        fields: dict[str, dict[str, str]] = {}
        for line in listing.read_text("latin1").splitlines():
            found = re.match(r"(\w+)#(\d+)=(.*)", line)
            if found:
                fields.setdefault(found[2], {})[found[1]] = found[3].strip()
        for item in fields.values():
            path = listing.parent / item.get("model", "").lstrip("/")
            if not path.is_file() or "width" not in item or "modelRotation" in item:
                continue
            size = np.array([float(item[k]) for k in ("width", "height", "depth")]) / 100
            entries.append(Entry(item.get("name", ""), item.get("category", ""), path, size))
    return entries


def soup(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray | None = None) -> np.ndarray:
    """Triangle soup with flat normals."""
    p = vertices[faces].astype(np.float32)
    normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    t = np.zeros((len(faces), 3, 2), np.float32) if uv is None else uv[faces].astype(np.float32)
    return np.concatenate([p, np.repeat(normal[:, None], 3, 1), t], axis=2).reshape(-1, 8)


def load_mesh(entry: Entry, textures: "Textures", max_triangles: int = 60000) -> Mesh | None:
    """The model at its true size, or None if it cannot be read or is too heavy."""
    try:
        scene = trimesh.load(entry.path, force="scene", process=False)
    except Exception:  # Some files of the catalogues are broken in ways of their own.
        return None
    parts = []
    for g in scene.geometry.values():
        if not isinstance(g, trimesh.Trimesh) or len(g.faces) == 0:
            continue
        material = getattr(g.visual, "material", None)
        uv = getattr(g.visual, "uv", None)
        image = getattr(material, "image", None)
        color = np.asarray(getattr(material, "diffuse", [160, 160, 160, 255]), float) / 255
        if color[3] < 0.4:
            continue
        name = None
        if image is not None and uv is not None:
            name = textures.add(f"{entry.path.parent}/{id(image)}", np.array(image.convert("RGBA")))
            color = np.ones(4)
        data = soup(
            np.asarray(g.vertices), np.asarray(g.faces), None if uv is None else np.asarray(uv)
        )
        data[:, 3:6] = smooth_normals(g)
        parts.append(Part(data, name, tuple(color[:3].clip(0.03, 1)), lasting=True))
    if not parts or sum(len(p.vertices) for p in parts) > 3 * max_triangles:
        return None
    low = np.min([p.vertices[:, :3].min(0) for p in parts], axis=0)
    high = np.max([p.vertices[:, :3].max(0) for p in parts], axis=0)
    stretch = entry.size / np.maximum(high - low, 1e-6)
    if not np.isfinite(stretch).all():
        return None
    middle = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    for part in parts:
        part.vertices[:, :3] = (part.vertices[:, :3] - middle) * stretch
    return Mesh(parts, entry.size)


def smooth_normals(g: trimesh.Trimesh) -> np.ndarray:
    return np.asarray(g.vertex_normals)[np.asarray(g.faces)].reshape(-1, 3).astype(np.float32)


class Textures:
    """Pictures by name, at most 512 pixels large; made from photographs and from noise."""

    def __init__(self):
        self.images: dict[str, np.ndarray] = {}
        self.surfaces: list[str] = []
        self.photos: list[str] = []

    def add(self, name: str, image: np.ndarray) -> str:
        """Store an RGBA picture in a power-of-two size."""
        if name not in self.images:
            side = [min(512, 2 ** max(3, round(np.log2(max(s, 8))))) for s in image.shape[:2]]
            image = cv2.resize(image, (side[1], side[0]), interpolation=cv2.INTER_AREA)
            self.images[name] = np.ascontiguousarray(image[::-1])
        return name

    def add_file(self, path: Path) -> str | None:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None or min(image.shape[:2]) < 32:
            return None
        rgba = np.dstack([image[:, :, ::-1], np.full(image.shape[:2], 255, np.uint8)])
        return self.add(str(path), rgba)


def gather_textures(sources: Path, rng: np.random.Generator) -> Textures:
    """Photographs from the unpacked packages below `sources`, and procedural ones."""
    textures = Textures()
    surfaces = sorted(sources.glob("whl/miniworld*/miniworld/textures/*.png"))
    photos = sorted(sources.glob("whl/scikit_image*/skimage/data/*.[pj][np]g"))
    photos += sorted(sources.glob("deb/usr/share/doc/opencv-doc/examples/data/*.[pj][np]g"))
    for path in surfaces + photos:
        if any(word in path.name.lower() for word in TEST_ONLY):
            continue
        if re.match(r"(left|right)\d|text|page|.*Text[NR]|mask|pic\d|phantom|notes", path.name):
            continue
        name = textures.add_file(path)
        if name:
            (textures.surfaces if path in surfaces else textures.photos).append(name)
    for i in range(60):
        textures.surfaces.append(textures.add(f"noise{i}", noise_texture(rng)))
    for i in range(16):
        textures.add(f"grass{i}", grass_texture(rng))
        textures.add(f"leaves{i}", leaf_texture(rng))
        textures.add(f"facade{i}", facade_texture(rng))
        textures.add(f"line{i}", treeline_texture(rng))
    return textures


def fractal(
    rng: np.random.Generator, size: int = 256, octaves: int = 6, gain: float = 0.6
) -> np.ndarray:
    """Tiling noise in [0, 1]."""
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


def _opaque(rgb: np.ndarray) -> np.ndarray:
    rgb = (rgb.clip(0, 1) * 255).astype(np.uint8)
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])


def noise_texture(rng: np.random.Generator) -> np.ndarray:
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


def grass_texture(rng: np.random.Generator) -> np.ndarray:
    green = np.array([rng.uniform(0.2, 0.5), rng.uniform(0.35, 0.6), rng.uniform(0.05, 0.25)])
    dry = np.array([rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.5), rng.uniform(0.15, 0.35)])
    mix = fractal(rng, gain=0.9)[:, :, None] ** 1.5 * rng.uniform(0.2, 1)
    light = 0.5 + fractal(rng, octaves=8, gain=1.1)[:, :, None]
    return _opaque((green * (1 - mix) + dry * mix) * light)


def leaf_texture(rng: np.random.Generator) -> np.ndarray:
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


def treeline_texture(rng: np.random.Generator) -> np.ndarray:
    """A row of far crowns against the sky, once around."""
    leaves = leaf_texture(rng)
    height = 0.55 + 0.4 * fractal(rng, gain=0.8)[0] * rng.uniform(0.3, 1)
    ragged = fractal(rng, octaves=7, gain=1.0) * 0.12
    y = np.linspace(1, 0, 256)[:, None]
    leaves[:, :, 3] = (y + ragged < height[None, :]) * 255
    return leaves


def facade_texture(rng: np.random.Generator) -> np.ndarray:
    wall = np.ones((256, 256, 3)) * (rng.random() * 0.6 + 0.3 + rng.normal(0, 0.06, 3))
    wall *= 0.85 + 0.3 * fractal(rng, gain=0.9)[:, :, None]
    rows, columns = rng.integers(2, 6), rng.integers(2, 6)
    h, w = 256 // rows, 256 // columns
    glass = rng.random(3) * 0.35
    for r in range(rows):
        for c in range(columns):
            y0, x0 = int((r + 0.25) * h), int((c + 0.25) * w)
            pane = (slice(y0, y0 + h // 2), slice(x0, x0 + w // 2))
            wall[pane] = glass * rng.uniform(0.5, 1.8)
            cv2.rectangle(wall, (x0, y0), (x0 + w // 2, y0 + h // 2), (0.85,) * 3, 2)
    return _opaque(wall)


def box(uv_per_metre: float | None = None, size: np.ndarray | None = None) -> np.ndarray:
    """Unit box standing on y = 0; with `size`, texture coordinates in metres of the scaled box."""
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
            if uv_per_metre is not None:
                t = t * scale[[u, v]] * uv_per_metre
            data = soup(corners, np.array([[0, 1, 2], [0, 2, 3]]), t)
            data[:, 3:6] = np.eye(3)[axis] * np.sign(side)
            out.append(data)
    out = np.concatenate(out)
    out[:, 1] += 0.5
    return out


def revolve(
    profile: np.ndarray, segments: int = 24, wobble: np.ndarray | None = None
) -> np.ndarray:
    """Surface of revolution of (radius, height) points."""
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    r, y = profile[:, :1], profile[:, 1:]
    ring = np.stack([r * np.cos(angle), np.repeat(y, segments + 1, 1), r * np.sin(angle)], -1)
    if wobble is not None:
        wobble = np.concatenate([wobble, wobble[:, :1]], axis=1)
        ring = ring * wobble[:, :, None]
    rows = len(profile)
    grid = np.arange(rows * (segments + 1)).reshape(rows, -1)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    faces = np.concatenate(
        [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)]
    )
    length = np.linspace(0, 1, rows)[:, None].repeat(segments + 1, 1)
    uv = np.stack([np.repeat(angle[None] / (2 * np.pi), rows, 0), length], -1).reshape(-1, 2)
    mesh = trimesh.Trimesh(ring.reshape(-1, 3), faces, process=False)
    data = soup(ring.reshape(-1, 3), faces, uv)
    data[:, 3:6] = smooth_normals(mesh)
    return data


def sphere(segments: int = 24) -> np.ndarray:
    t = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    return revolve(np.stack([0.5 * np.cos(t), 0.5 * np.sin(t) + 0.5], -1), segments)


def blob(rng: np.random.Generator) -> np.ndarray:
    """A sphere dented by noise, about one unit large."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 17)
    noise = fractal(rng, 32, 3, 0.7)[:17, :32]
    noise[[0, -1]] = 0.5
    return revolve(np.stack([0.5 * np.cos(t), 0.5 * np.sin(t)], -1), 32, 0.6 + 0.8 * noise)


def cylinder(taper: float = 1.0) -> np.ndarray:
    profile = np.array([[0, 0], [0.5, 0], [0.5 * taper, 1], [0, 1]])
    return revolve(profile, 16)


def capsule(a: np.ndarray, b: np.ndarray, radius: float, taper: float = 1.0) -> np.ndarray:
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


def leaf_crown(rng: np.random.Generator, leaves: int) -> np.ndarray:
    """Random square leaf cards in a unit ball around the origin."""
    cards = []
    for _ in range(leaves):
        place = rng.normal(size=3)
        place *= rng.uniform(0.2, 0.5) ** 0.6 / np.linalg.norm(place)
        u, v = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2] * rng.uniform(0.12, 0.3)
        corners = place + np.array([-u - v, u - v, u + v, -u + v])
        data = soup(
            corners, np.array([[0, 1, 2], [0, 2, 3]]), np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
        )
        # Normals point outwards from the crown, so that it is lit like one round body.
        data[:, 3:6] = place / np.linalg.norm(place)
        cards.append(data)
    return np.concatenate(cards)


def quad(width: float, height: float, repeat: tuple[float, float] = (1, 1)) -> np.ndarray:
    """Upright picture in the x, y plane, standing on y = 0."""
    corners = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0.5, 1, 0], [-0.5, 1, 0]]) * [width, height, 1]
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]) * repeat
    return soup(corners, np.array([[0, 1, 2], [0, 2, 3]]), uv)


def ground(half: float, repeat_per_metre: float) -> np.ndarray:
    corners = np.array([[-1, 0, -1], [-1, 0, 1], [1, 0, 1], [1, 0, -1.0]]) * half
    return soup(corners, np.array([[0, 1, 2], [0, 2, 3]]), corners[:, [0, 2]] * repeat_per_metre)


def hills(rng: np.random.Generator, inner: float, outer: float, height: float) -> np.ndarray:
    """A ring of rolling land around the origin that rises from y = 0 at its inner edge."""
    rows, segments = 14, 64
    noise = fractal(rng, 64, 4, 0.6)[:rows]
    r = np.linspace(inner, outer, rows)[:, None]
    rise = np.linspace(0, 1, rows)[:, None]
    angle = np.linspace(0, 2 * np.pi, segments + 1)[None]
    y = height * rise * np.concatenate([noise, noise[:, :1]], 1)
    points = np.stack([r * np.cos(angle), y, r * np.sin(angle)], -1)
    grid = np.arange(rows * (segments + 1)).reshape(rows, -1)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    faces = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    flat = points.reshape(-1, 3)
    mesh = trimesh.Trimesh(flat, faces, process=False)
    data = soup(flat, faces, flat[:, [0, 2]] * 0.1)
    data[:, 3:6] = smooth_normals(mesh)
    return data
