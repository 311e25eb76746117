"""What the rendered training views are made of: the package's meshes and textures, and photographs.

Needs Debian `sweethome3d-furniture` (its .sh3f files anywhere below SOURCES), PyPI `miniworld` and
`scikit-image==0.17.2` wheels and Debian `opencv-doc` for textures, the ComfyUI template packages
(`comfyui-workflow-templates-media-*`) and wallpapers for photographs, and `trimesh`.

The one thing a reader would get wrong: the photographs in `TEST_ONLY` are never used, whatever
folder they lie in.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from trajectorycrafter.lab.synthetic.meshes.catalogue import (  # noqa: F401  (the renderer's one door)
    Entry,
    Mesh,
    catalogue,
    kinds,
    load_mesh,
)
from trajectorycrafter.lab.synthetic.meshes.shapes import (  # noqa: F401
    Image,
    Part,
    blob,
    box,
    capsule,
    cylinder,
    ground,
    hills,
    leaf_crown,
    quad,
    soup,
    sphere,
)
from trajectorycrafter.lab.synthetic.meshes.textures import (
    as_texture,
    facade_texture,
    fractal,  # noqa: F401
    grass_texture,
    leaf_texture,
    noise_texture,
    treeline_texture,
)

TEST_ONLY = ("aloe", "motorcycle")
"""Pictures that are never trained on, since the result is measured on them."""


@dataclass
class Textures:
    """Pictures by use."""

    surfaces: list[Image] = field(default_factory=list)
    photos: list[Image] = field(default_factory=list)
    details: list[Image] = field(default_factory=list)
    """Small cuts out of photographs: surfaces with the statistics of real ones."""
    grass: list[Image] = field(default_factory=list)
    leaves: list[Image] = field(default_factory=list)
    facades: list[Image] = field(default_factory=list)
    lines: list[Image] = field(default_factory=list)


def read_texture(path: Path) -> Image | None:
    """A picture file as a texture; None if it cannot be read or is tiny."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None or min(image.shape[:2]) < 32:
        return None
    return opaque(image[:, :, ::-1])


def opaque(rgb: np.ndarray) -> Image:
    return as_texture(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]))


def detail(rgb: np.ndarray, rng: np.random.Generator) -> Image:
    """A square cut of a photograph, mirrored both ways so that it repeats without a seam."""
    side = int(min(rgb.shape[:2]) * rng.uniform(0.12, 0.4))
    y, x = (int(rng.integers(0, size - side + 1)) for size in rgb.shape[:2])
    cut = cv2.resize(rgb[y : y + side, x : x + side], (128, 128), interpolation=cv2.INTER_AREA)
    row = np.hstack([cut, cut[:, ::-1]])
    return opaque(np.vstack([row, row[::-1]]))


def photographs(sources: Path) -> list[Path]:
    """Stills and clips of the ComfyUI template packages, and wallpapers."""
    found = sorted(sources.glob("whl/comfyui*/*/templates/*.[jpw][pne]*"))
    found += sorted(sources.glob("deb/usr/share/backgrounds/*.jpg"))
    return found + sorted(sources.glob("deb/usr/share/backgrounds/mate/nature/*.jpg"))


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
        texture = read_texture(path)
        if texture is not None:
            (textures.surfaces if path in surfaces else textures.photos).append(texture)
    stills = photographs(sources)
    for path in stills:
        image = cv2.imread(
            str(path), cv2.IMREAD_REDUCED_COLOR_2 if path.stat().st_size > 1e6 else cv2.IMREAD_COLOR
        )
        if image is None or min(image.shape[:2]) < 200:
            continue
        image = image[:, :, ::-1]
        textures.details += [detail(image, rng) for _ in range(2)]
    for _ in range(60):
        textures.surfaces.append(as_texture(noise_texture(rng)))
    for _ in range(16):
        textures.grass.append(as_texture(grass_texture(rng)))
        textures.leaves.append(as_texture(leaf_texture(rng)))
        textures.facades.append(as_texture(facade_texture(rng)))
        textures.lines.append(as_texture(treeline_texture(rng)))
    return textures
