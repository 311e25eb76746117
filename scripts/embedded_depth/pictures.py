"""What the training views are made of and stored in.

Photographs come out of the packages that `make.sh` unpacks below SOURCES.

Prints are whole pictures of the PyPI `scikit-image==0.17.2` wheel and Debian's `opencv-doc`; cuts
come out of the ComfyUI template packages (`comfyui-workflow-templates-media-*`) and wallpapers.
What `TEST_ONLY` names is never used, whatever folder it lies in.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from trajectorycrafter.lab.synthetic.meshes.shapes import Image
from trajectorycrafter.lab.synthetic.meshes.textures import as_texture
from trajectorycrafter.runtime.files import whole

TEST_ONLY = ("aloe", "motorcycle")
"""Pictures that are never trained on, since the result is measured on them."""
NO_PICTURES = r"(left|right)\d|text|page|.*Text[NR]|mask|pic\d|phantom|notes"


def read(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """A picture as OpenCV reads it, channels from blue to red.

    Raises:
        FileNotFoundError: If it is not there or no picture.
    """
    image = cv2.imread(str(path), flags)
    if image is None:
        raise FileNotFoundError(f"Expected a picture at {path}.")
    return image


def photographs(sources: Path) -> list[Path]:
    """Stills and clips of the ComfyUI template packages, and wallpapers."""
    found = sorted(sources.glob("whl/comfyui*/*/templates/*.[jpw][pne]*"))
    found += sorted(sources.glob("deb/usr/share/backgrounds/*.jpg"))
    return found + sorted(sources.glob("deb/usr/share/backgrounds/mate/nature/*.jpg"))


def prints(sources: Path) -> list[Image]:
    """Whole pictures, to hang on walls."""
    paths = sorted(sources.glob("whl/scikit_image*/skimage/data/*.[pj][np]g"))
    paths += sorted(sources.glob("deb/usr/share/doc/opencv-doc/examples/data/*.[pj][np]g"))
    kept = [
        path for path in paths
        if not any(word in path.name.lower() for word in TEST_ONLY)
        and not re.match(NO_PICTURES, path.name)
    ]  # fmt: skip
    images = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in kept]
    return [_texture(i[:, :, ::-1]) for i in images if i is not None and min(i.shape[:2]) >= 32]


def cuts(sources: Path, rng: np.random.Generator) -> list[Image]:
    """Two square cuts of each photograph, mirrored both ways so that they repeat without a seam."""
    found = []
    for path in photographs(sources):
        large = path.stat().st_size > 1e6
        image = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_2 if large else cv2.IMREAD_COLOR)
        if image is None or min(image.shape[:2]) < 200:
            continue
        for _ in range(2):
            side = int(min(image.shape[:2]) * rng.uniform(0.12, 0.4))
            y, x = (int(rng.integers(0, size - side + 1)) for size in image.shape[:2])
            cut = image[y : y + side, x : x + side, ::-1]
            cut = cv2.resize(cut, (128, 128), interpolation=cv2.INTER_AREA)
            row = np.hstack([cut, cut[:, ::-1]])
            found.append(_texture(np.vstack([row, row[::-1]])))
    return found


def store(path: Path, rgb: Iterable[np.ndarray], disparity: Iterable[np.ndarray]) -> None:
    """Write views as training reads them; the file appears when it is whole."""
    with whole(path) as partial:
        np.savez(partial, rgb=np.stack([*rgb]), disparity=np.stack([*disparity]))


def _texture(rgb: np.ndarray) -> Image:
    return as_texture(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]))
