"""Depth that was computed elsewhere, or by us, read from a file.

Read are
- `.npz`: the map under `z`, `depth`, `depths` (distance along the optical axis), `inverse_depth`
  (one over it) or `disparity` (relative, scale and shift unknown); `valid` (True where it can be
  trusted); intrinsics under `K` or `intrinsics`, or `fov_deg`, the horizontal field of view;
- `.npy`: the map alone;
- `.exr`, or a folder of them: the map in the channel `Z`, `Y`, `V`, `R`, or the only one there is;
- 16-bit `.png`, or a folder of them: `depth = number * scale`, number 0 = unknown, with a file
  `depth.json` beside them: `{"scale": 0.001, "fov_deg": 55}` or `{"scale": 0.001, "K": [[...]]}`.
  `.exr` take the same file, `scale` being 1 if it is not given.

Frames of a folder come in natural order: 2 before 10. K counts pixels with centers at +0.5.

The one thing a reader would get wrong: a number that is not a distance is an error here, not a
hole, because NaN and minus signs mostly mean that the file holds something else. Holes are said
aloud: by `valid` in an npz, by 0 in a png, or by `"holes": true` in depth.json.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry.cameras import check_cameras, focal_from_fov, intrinsics, static_cameras
from ..video.clip import Depth, Video
from ..video.depth_npz import MAPS, lens_in, read_arrays
from .temporal import disparity_to_depth

_KINDS = "an .npz, an .npy, an .exr, a 16-bit .png, or a folder of .exr or .png"


@dataclass(frozen=True)
class DepthFile:
    """A depth estimator that has looked it up: reads the file for whatever clip it is given."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.expanduser().exists():
            raise FileNotFoundError(f"No depth file {self.path}; expected {_KINDS}.")

    def __call__(self, video: Video) -> Depth:
        """The file's depth.

        Raises:
            ValueError: as `read_depth`, or if size or number of frames are not the clip's.
        """
        depth = read_depth(self.path)
        if len(depth) != len(video):
            raise ValueError(
                f"{self.path} holds {len(depth)} frames of depth but the clip has {len(video)}; "
                "choose the same frames (start, stride, count), one map each."
            )
        height, width = depth.z.shape[2:]
        if (height, width) != (video.height, video.width):
            raise ValueError(
                f"{self.path}: frame 0 is {height}x{width} but the clip is "
                f"{video.height}x{video.width}; set the clip's size to the depth's, or compute the "
                "depth on the resized clip."
            )
        return depth


def read_depth(path: str | Path) -> Depth:
    """Depth, with intrinsics if the file has them, from any of the formats above.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown format, wrong shapes, or numbers that are no distances; the message
            names file and frame.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"No depth file {path}; expected {_KINDS}.")
    if path.is_dir():
        return _read_images(_frames_of(path))
    suffix = path.suffix.lower()
    if suffix in (".exr", ".png"):
        return _read_images([path])
    if suffix == ".npz":
        return _read_npz(path)
    if suffix != ".npy":
        raise ValueError(f"{path} is no depth file; expected {_KINDS}.")
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as an array of plain numbers ({error})."
        ) from error
    z = _maps(array, str(path))
    valid = torch.ones_like(z, dtype=torch.bool)
    _check_numbers(z, valid, path)
    return Depth(z, valid)


def _read_npz(path: Path) -> Depth:
    arrays = read_arrays(path)
    name = next((key for key in MAPS if key in arrays), None)
    if name is None:
        raise ValueError(
            f"{path} has no depth: expected one of {', '.join(MAPS)}; got "
            f"{', '.join(arrays) or 'nothing'}."
        )
    raw = _maps(arrays[name], f"{path} ({name})")
    valid = torch.ones_like(raw, dtype=torch.bool)
    if "valid" in arrays:
        valid = _maps(arrays["valid"].astype(np.uint8), f"{path} (valid)") > 0
        if valid.shape != raw.shape:
            raise ValueError(
                f"{path}: valid must have the depth's shape {tuple(raw.shape)}; got "
                f"{tuple(valid.shape)}."
            )
    K = _lens(arrays, raw.shape, path)
    if name == "disparity":
        _check_numbers(raw, valid, path, zero_too=True)
        return Depth(disparity_to_depth(torch.where(valid, raw, 0.0)), valid, K)
    _check_numbers(raw, valid, path)
    z = torch.where(valid, raw, torch.ones_like(raw))
    return Depth(1 / z if name == "inverse_depth" else z, valid, K)


def _frames_of(folder: Path) -> list[Path]:
    found = {
        suffix: [f for f in folder.iterdir() if f.suffix.lower() == suffix and f.name[0] != "."]
        for suffix in (".exr", ".png")
    }
    kinds = [suffix for suffix, files in found.items() if files]
    if len(kinds) != 1:
        raise ValueError(
            f"Expected a folder with .exr or with .png depth maps; {folder} has "
            f"{'both' if kinds else 'neither'}."
        )

    def natural(file: Path) -> list[tuple[int, str]]:
        """Sorts numbers inside names by value, so that frame 2 comes before frame 10."""
        parts = re.split(r"(\d+)", file.name)
        return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]

    return sorted(found[kinds[0]], key=natural)


def _read_images(files: list[Path]) -> Depth:
    notes = _notes(files[0])
    is_png = files[0].suffix.lower() == ".png"
    if is_png and "scale" not in notes:
        raise ValueError(
            f"{files[0].parent / 'depth.json'} is missing or has no scale; expected for example "
            '{"scale": 0.001, "fov_deg": 55}: depth = number in the png * scale.'
        )
    scale = float(notes.get("scale", 1.0))
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"{files[0].parent / 'depth.json'}: scale must be > 0; got {scale:g}.")
    maps: list[np.ndarray] = []
    for file in files:
        values = _read_png(file) if is_png else _read_exr(file)
        if maps and values.shape != maps[0].shape:
            raise ValueError(
                f"{file} is {values.shape[0]}x{values.shape[1]} but {files[0].name} is "
                f"{maps[0].shape[0]}x{maps[0].shape[1]}; all maps need one size."
            )
        maps.append(values)
    z = torch.from_numpy(np.stack(maps))[:, None] * scale
    K = _lens(notes, z.shape, files[0].parent / "depth.json")
    valid = torch.ones_like(z, dtype=torch.bool)
    if notes.get("holes", False):
        valid = torch.isfinite(z) & (z > 0)
    elif is_png:
        valid = z > 0
    _check_numbers(z, valid, files)
    return Depth(torch.where(valid, z, torch.ones_like(z)), valid, K)


def _notes(file: Path) -> dict[str, Any]:
    path = file.parent / "depth.json"
    if not path.exists():
        return {}
    try:
        notes = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}).") from error
    if not isinstance(notes, dict):
        raise ValueError(
            f'{path}: expected an object such as {{"scale": 0.001}}; got {notes!r:.40}.'
        )
    return notes


def _read_png(file: Path) -> np.ndarray:
    values = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError(f"{file} cannot be read as a picture; it is empty or damaged.")
    if values.dtype != np.uint16 or values.ndim != 2:
        raise ValueError(
            f"{file}: expected a grey png of 16 bits; got {values.dtype} with "
            f"{1 if values.ndim == 2 else values.shape[2]} channels. A depth picture made "
            "for looking at has lost its scale."
        )
    return values.astype(np.float32)


def _read_exr(file: Path) -> np.ndarray:
    try:
        import OpenEXR
    except ImportError as error:
        raise ValueError(
            f'Reading {file.name} needs a package: pip install "trajectorycrafter[exr]".'
        ) from error
    try:
        with OpenEXR.File(str(file), separate_channels=True) as picture:
            channels = {name: channel.pixels for name, channel in picture.channels().items()}
    except Exception as error:
        raise ValueError(f"{file} cannot be read as an exr ({error}).") from error
    last = {name.split(".")[-1]: name for name in channels}
    name = next((last[key] for key in ("Z", "Y", "V", "R") if key in last), None)
    if name is None and len(channels) == 1:
        name = next(iter(channels))
    if name is None:
        raise ValueError(f"{file}: expected a channel Z, Y, V or R; got {', '.join(channels)}.")
    return np.asarray(channels[name], dtype=np.float32)


def _maps(array: np.ndarray, where: str) -> Float[Tensor, "T 1 H W"]:
    """(H, W), (T, H, W), (T, 1, H, W) or (T, H, W, 1) numbers as ours."""
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{where}: expected numbers; got {array.dtype}.")
    if array.ndim == 4 and array.shape[1] != 1 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"{where}: expected an array (frames, height, width); got {array.shape}.")
    return torch.from_numpy(array.astype(np.float32))[:, None]


def _lens(
    notes: Mapping[str, Any], shape: tuple[int, ...], where: Path
) -> Float[Tensor, "T 3 3"] | None:
    """K from the entries of a file about maps of that shape: as such, or by the field of view."""
    frames, _, height, width = shape
    lens = lens_in(notes, frames, where)
    if lens is not None:
        check_cameras(static_cameras(lens, height, width), str(where))
    elif "fov_deg" in notes:
        lens = intrinsics(focal_from_fov(float(notes["fov_deg"]), width), height, width, frames)
    return lens


def _check_numbers(
    z: Tensor, valid: Tensor, where: Path | list[Path], *, zero_too: bool = False
) -> None:
    """Raises ValueError at the first frame with a number that cannot be meant, or none that can."""
    problems = [("NaN", z.isnan()), ("infinite", z.isinf()), ("negative", z < 0)]
    if not zero_too:
        problems.append(("zero", z == 0))
    for frame in range(len(z)):
        place = f"{where[frame]}" if isinstance(where, list) else f"{where}, frame {frame}"
        for name, wrong in problems:
            count = int((wrong[frame] & valid[frame]).sum())
            if count:
                raise ValueError(
                    f"{place}: {count} of {z[frame].numel()} pixels are {name}; expected distances "
                    "> 0 along the optical axis. Mark pixels without depth: `valid` in an npz, "
                    '"holes": true in depth.json.'
                )
        if not valid[frame].any():
            raise ValueError(f"{place}: no pixel has a depth; leave this frame out.")
