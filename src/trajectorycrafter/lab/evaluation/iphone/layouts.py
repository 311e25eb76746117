"""The iPhone benchmark on disk: three layouts, read as one kind of scene.

- `dycheck`: the data set itself (Gao et al. 2022, arXiv 2210.13445; KAIR-BAIR/dycheck,
  docs/DATASETS.md): `camera`, `rgb`, `depth`, `covisible`, `splits`, `extra.json`.
- `som`: as processed by Shape of Motion (vye16/shape-of-motion, flow3d/data/iphone_dataset.py):
  `flow3d_preprocessed` beside `rgb` and `splits`, with COLMAP cameras and aligned depth.
- `camdirector`: as processed by CamDirector (arXiv 2603.02256, its README and vis_benchmark.py):
  `camera_poses`, `depth_maps`, `source_imgs`, `target_imgs`.

The one thing a reader would get wrong: a target frame is known by its moment, the number of the
source frame filmed at the same time. Held-out cameras start late and have gaps, so the n-th target
frame is in general not the partner of the n-th source frame.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ....geometry.cameras import Cameras, check_cameras, rigid_inverse
from ....geometry.trajectory_files import colmap
from .files import DepthKind, DepthMaps, Masks, StoredFrames, float16, read_json, read_npy

Layout = Literal["dycheck", "som", "camdirector"]

COMPARED = ("apple", "block", "paper-windmill", "spin", "teddy")
"""The five scenes of the papers' tables (shape-of-motion issue 67; TrajectoryCrafter Sec. 4)."""
CAMDIRECTOR_FPS = 30.0
"""Their folders name no rate; this one is only for playing and is no part of any number."""


@dataclass(frozen=True)
class TargetView:
    """What a held-out camera saw."""

    camera: str
    moments: tuple[int, ...]
    """The source frame that was filmed at the same time as each target frame; increasing."""
    pictures: StoredFrames
    cameras: Cameras
    """One per target frame, in the source's world."""
    covisible: Masks | None


@dataclass(frozen=True)
class BenchmarkScene:
    """A filmed scene: a moving source camera and what others saw of it."""

    name: str
    layout: Layout
    pictures: StoredFrames
    """The source clip."""
    cameras: Cameras
    """One per source frame; meters with `dycheck` and `som`."""
    targets: tuple[TargetView, ...]
    """First camera first."""
    depths: dict[DepthKind, DepthMaps] = field(default_factory=dict)
    """The depth that comes with the data, by its origin."""


def find_scenes(data: Path) -> dict[str, Path]:
    """Scene folders by name: those inside `data`, or `data` itself if it is one.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no scene in it.
    """
    if not data.is_dir():
        raise FileNotFoundError(f"No folder {data}; expected the iPhone benchmark's scenes in it.")
    folders = [data, *sorted(path for path in data.iterdir() if path.is_dir())]
    found = {path.name: path for path in folders if _layouts(path)}
    if not found:
        raise ValueError(
            f"No scene in {data}: expected folders such as apple with camera/ (DyCheck), "
            "flow3d_preprocessed/ (Shape of Motion) or camera_poses/ (CamDirector)."
        )
    return found


def load_scene(folder: Path, factor: int = 1, layout: Layout | None = None) -> BenchmarkScene:
    """The scene of one folder; pictures, masks and depth are read later.

    Args:
        factor: which of the stored sizes, `1x` or `2x`; CamDirector stores one.
        layout: whose cameras, masks and depth, where the folder has several; default: CamDirector's
            or Shape of Motion's before DyCheck's.

    Raises:
        FileNotFoundError: a file that the layout needs is missing.
        ValueError: a folder of no known or of another layout, or files that do not fit together.
    """
    layouts = _layouts(folder)
    if not layouts or (layout is not None and layout not in layouts):
        wanted = layout or "dycheck, som or camdirector"
        raise ValueError(f"{folder}: expected layout {wanted}; found {layouts or 'none'}.")
    chosen = layout or layouts[0]
    if chosen == "camdirector":
        return _load_camdirector(folder)
    return _load_dycheck(folder, factor, chosen)


def _layouts(folder: Path) -> list[Layout]:
    signs: dict[Layout, Path] = {
        "camdirector": folder / "camera_poses",
        "som": folder / "flow3d_preprocessed",
        "dycheck": folder / "camera",
    }
    return [layout for layout, sign in signs.items() if sign.is_dir()]


# ------------------------------------------------------------------ DyCheck and Shape of Motion


def _load_dycheck(folder: Path, factor: int, layout: Layout) -> BenchmarkScene:
    fps = float(read_json(folder / "extra.json")["fps"])
    source, held_out = _ids(folder, "train"), _ids(folder, "val")
    if not source or [moment for _, _, moment in source] != list(range(len(source))):
        raise ValueError(
            f"{folder}: expected source frames 0, 1, 2, ... of camera 0; got "
            f"{[name for name, _, _ in source[:3]]} ... ({len(source)} frames)."
        )
    som = folder / "flow3d_preprocessed"
    # COLMAP's unit is arbitrary; scale.npy says how many meters it is.
    scale = float(read_npy(som / "colmap" / "scale.npy").item()) if layout == "som" else 1.0
    read = _colmap_cameras(som / "colmap" / "sparse", scale) if layout == "som" else None

    def pictures(names: list[str]) -> StoredFrames:
        return StoredFrames(tuple(folder / "rgb" / f"{factor}x" / f"{n}.png" for n in names), fps)

    def cameras(names: list[str]) -> Cameras:
        found = read(names) if read else _camera_files([folder / f"camera/{n}.json" for n in names])
        size = pictures(names).size
        wanted = round(found.height / factor), round(found.width / factor)
        if size != wanted:
            raise ValueError(
                f"{folder}: expected pictures of {wanted[0]}x{wanted[1]} at {factor}x, which the "
                f"cameras are for; got {size[0]}x{size[1]}."
            )
        return check_cameras(found.resized(*size), str(folder))

    masks = (som if layout == "som" else folder) / "covisible" / f"{factor}x" / "val"
    targets = []
    for camera in sorted({camera for _, camera, _ in held_out}):
        views = sorted((moment, name) for name, c, moment in held_out if c == camera)
        names = [name for _, name in views]
        covisible = Masks(tuple(masks / f"{n}.png" for n in names)) if masks.is_dir() else None
        moments = tuple(moment for moment, _ in views)
        targets.append(TargetView(str(camera), moments, pictures(names), cameras(names), covisible))
    names = [name for name, _, _ in source]
    depths: dict[DepthKind, DepthMaps] = {}
    stored: list[tuple[DepthKind, Path, float]] = [("lidar", folder / "depth", 1.0)]
    if layout == "som":
        stored.append(("som", som / "aligned_depth_anything_colmap", scale))
    for kind, place, unit in stored:
        if (place / f"{factor}x").is_dir():
            maps = tuple(place / f"{factor}x" / f"{n}.npy" for n in names)
            depths[kind] = DepthMaps(maps, kind, unit)
    return BenchmarkScene(
        folder.name, layout, pictures(names), cameras(names), tuple(targets), depths
    )


def _ids(folder: Path, split: str) -> list[tuple[str, int, int]]:
    """Name, camera and moment of the frames of a split, from its file or the data set's list."""
    path = folder / "splits" / f"{split}.json"
    if path.is_file():
        found = read_json(path)
        names, cameras, moments = (found[k] for k in ("frame_names", "camera_ids", "time_ids"))
        if not len(names) == len(cameras) == len(moments):
            raise ValueError(f"{path}: its three lists differ in length.")
        return [(str(n), int(c), int(m)) for n, c, m in zip(names, cameras, moments)]
    # Without splits, DyCheck makes them from the same names: <camera>_<frame>.
    names = read_json(folder / "dataset.json")[f"{split}_ids"]
    parts = [(name, *name.split("_")) for name in names]
    return [(name, int(camera), int(moment)) for name, camera, moment in parts]


def _camera_files(files: list[Path]) -> Cameras:
    """DyCheck's files: OpenCV axes, `orientation` turns the world into the camera, centers +0.5."""
    matrices, lenses, sizes = [], [], set()
    for path in files:
        value = read_json(path)
        rotation = np.array(value["orientation"], dtype=np.float64)
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = -rotation @ np.array(value["position"], dtype=np.float64)
        tangential = value.get("tangential_distortion", value.get("tangential", []))
        if any(value.get("radial_distortion", [])) or any(tangential):
            raise ValueError(
                f"{path}: expected no lens distortion, as in the iPhone scenes; undistort first."
            )
        focal, (cx, cy) = value["focal_length"], value["principal_point"]
        aspect = value.get("pixel_aspect_ratio", 1.0)
        matrices.append(matrix)
        lenses.append([[focal, value.get("skew", 0.0), cx], [0, focal * aspect, cy], [0, 0, 1]])
        sizes.add(tuple(int(side) for side in value["image_size"]))
    if len(sizes) != 1:
        raise ValueError(f"{files[0].parent}: expected one image_size; got {sorted(sizes)}.")
    width, height = sizes.pop()
    world_to_camera = torch.from_numpy(np.stack(matrices)).float()
    return Cameras(world_to_camera, torch.tensor(lenses, dtype=torch.float32), height, width)


def _colmap_cameras(folder: Path, scale: float) -> Callable[[list[str]], Cameras]:
    """A lookup of COLMAP cameras by frame name, their world in meters."""
    if not folder.is_dir():
        raise FileNotFoundError(f"No COLMAP model {folder}; Shape of Motion's data has it there.")
    recorded = colmap.read(folder)
    # The frames' names in the order of `colmap.read`, by name. A name ends its line in text and is
    # followed by a zero byte in binary.
    files = [p for n in ("images.bin", "images.txt") for p in sorted(folder.rglob(n))]
    found = re.findall(rb"(\d+_\d+)\.png(?=\0|\s*\n)", files[0].read_bytes())
    names = sorted(name.decode() for name in found)
    if len(names) != len(recorded.camera_to_world) or recorded.K is None:
        raise ValueError(
            f"{folder}: expected images named like 0_00000.png; {len(names)} of "
            f"{len(recorded.camera_to_world)} are."
        )
    camera_to_world = recorded.camera_to_world.copy()
    camera_to_world[:, :3, 3] *= scale
    height, width = recorded.size
    world_to_camera = torch.from_numpy(np.linalg.inv(camera_to_world)).float()
    every = Cameras(world_to_camera, torch.from_numpy(recorded.K).float(), height, width)

    def lookup(wanted: list[str]) -> Cameras:
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ValueError(
                f"{folder}: no camera for {missing[0]}.png ({len(missing)} of {len(wanted)} "
                "frames have none)."
            )
        return every[[names.index(name) for name in wanted]]

    return lookup


# -------------------------------------------------------------------------------- CamDirector


def _load_camdirector(folder: Path) -> BenchmarkScene:
    source, moments = _numbered(folder / "source_imgs")
    target, target_moments = _numbered(folder / "target_imgs")
    maps = tuple(folder / "depth_maps" / f"frame_{m:05d}_depth.png" for m in moments)
    # Their code lifts the depth map with K as it is, so K is for the map's size.
    size = float16(maps[0]).shape if maps[0].is_file() else None
    cameras = _tensor_cameras(folder / "camera_poses", "source", moments, size, source.size)
    seen = _tensor_cameras(folder / "camera_poses", "target", target_moments, size, target.size)
    view = TargetView("1", target_moments, target, seen, None)
    depths: dict[DepthKind, DepthMaps] = {}
    if size is not None:
        depths["camdirector"] = DepthMaps(maps, "camdirector")
    return BenchmarkScene(folder.name, "camdirector", source, cameras, (view,), depths)


def _numbered(folder: Path) -> tuple[StoredFrames, tuple[int, ...]]:
    """The frames frame_00000.png, ... of a folder, and their numbers."""
    numbers = sorted(int(path.stem.split("_")[1]) for path in folder.glob("frame_*.png"))
    if not numbers:
        raise FileNotFoundError(f"No frames in {folder}; expected frame_00000.png, ...")
    files = tuple(folder / f"frame_{number:05d}.png" for number in numbers)
    return StoredFrames(files, CAMDIRECTOR_FPS), tuple(numbers)


def _tensor_cameras(
    folder: Path,
    which: str,
    numbers: tuple[int, ...],
    of: tuple[int, int] | None,
    size: tuple[int, int],
) -> Cameras:
    """`<which>_c2ws.pt` and `<which>_Ks.pt` at the pictures' size."""
    loaded = []
    for name in (f"{which}_c2ws.pt", f"{which}_Ks.pt"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"No {folder / name}; CamDirector's data has it there.")
        value = torch.load(folder / name, weights_only=True, map_location="cpu")
        if not isinstance(value, Tensor) or value.ndim != 3 or len(value) <= max(numbers):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"{folder / name}: expected a matrix for each of {max(numbers) + 1} frames; got "
                f"{shape}."
            )
        loaded.append(value[list(numbers)].float())
    camera_to_world = torch.eye(4).repeat(len(numbers), 1, 1)
    camera_to_world[:, :3] = loaded[0][:, :3]
    cameras = Cameras(rigid_inverse(camera_to_world), loaded[1][:, :3, :3], *(of or size))
    return check_cameras(cameras.resized(*size), str(folder))
