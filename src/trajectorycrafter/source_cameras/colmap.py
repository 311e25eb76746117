"""Source cameras by structure from motion over the clip, in the units of the depth.

The one thing a reader would get wrong: structure from motion knows no scale. Its points are
compared with the depth map at the pixels where they are seen, and the median ratio sets the scale;
so the cameras fit this depth and no other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..geometry.cameras import Cameras, check_cameras
from ..geometry.trajectories import resample_cameras
from ..video import Depth, Video
from .from_file import from_first
from .static import known_intrinsics

FEWEST_FRAMES = 3
LARGEST_CHANGE = 2.0
"""A fitted focal length further from the given one than this factor is a failed fit."""


@dataclass(frozen=True)
class Colmap:
    """Source cameras from COLMAP's incremental mapping of neighbouring frames."""

    refine_focal: bool = False
    """Also fit the focal length (one for the clip). Off, since on plain surfaces a clip's small
    motion hardly tells focal length from distance; on textured ones it repairs a wrong field of
    view."""
    neighbours: int = 10
    """Each frame is matched with so many frames after it, and with some farther ones."""
    least_share: float = 0.5
    """Fewer frames placed than this is an error; between placed frames the path is interpolated."""
    seed: int = 0

    def __post_init__(self) -> None:
        _pycolmap()

    def __call__(self, video: Video, depth: Depth) -> Cameras:
        """One camera per frame in the depth's units, seen from the first.

        Raises:
            ValueError: too short a clip, depth without intrinsics, or motion that cannot be told
                from the pictures.
        """
        if len(video) < FEWEST_FRAMES:
            raise ValueError(
                f"Structure from motion needs at least {FEWEST_FRAMES} frames; got {len(video)}. "
                "Take more frames, or source cameras `static`."
            )
        K = known_intrinsics(depth)[0].cpu()
        with TemporaryDirectory(prefix="trajectorycrafter-colmap-") as folder:
            found = self._map(video, K, Path(folder))
        placed = sorted(found.images.values(), key=lambda image: image.name)
        placed = [image for image in placed if image.has_pose]
        if len(placed) < self.least_share * len(video):
            raise ValueError(
                f"Structure from motion placed {len(placed)} of {len(video)} frames; expected at "
                f"least {self.least_share:.0%}. If the camera hardly moves, use source cameras "
                "`static`; else give the cameras as a file."
            )
        cameras = _cameras(placed, found if self.refine_focal else K, video)
        change = float(cameras.K[0, 0, 0] / K[0, 0])
        if not 1 / LARGEST_CHANGE < change < LARGEST_CHANGE:
            raise ValueError(
                f"Structure from motion changed the focal length by a factor of {change:.2g}, "
                "which means that this clip does not tell it; use `colmap` and give a field of "
                "view."
            )
        scale = _scale(placed, found, depth)
        return _for_every_frame(cameras, placed, scale, len(video), depth.z.device)

    def _map(self, video: Video, K: Float[Tensor, "3 3"], folder: Path) -> Any:
        """The reconstruction with the most frames."""
        colmap = _pycolmap()
        pictures, database = folder / "frames", folder / "database.db"
        pictures.mkdir()
        for i, frame in enumerate(video.frames):
            pixels = (frame.permute(1, 2, 0).cpu().numpy() * 255).round().clip(0, 255)
            cv2.imwrite(str(pictures / f"{i:06d}.png"), pixels.astype(np.uint8)[..., ::-1])
        lens = colmap.ImageReaderOptions()
        lens.camera_model, lens.camera_params = _lens(K)
        pairs = colmap.SequentialPairingOptions()
        pairs.overlap = self.neighbours
        with _quiet(colmap), tqdm(total=len(video), desc="cameras", leave=False) as progress:
            colmap.set_random_seed(self.seed)
            colmap.extract_features(
                database, pictures, camera_mode=colmap.CameraMode.SINGLE, reader_options=lens
            )
            colmap.match_sequential(database, pairing_options=pairs)
            models = colmap.incremental_mapping(
                database,
                pictures,
                folder,
                options=self._options(colmap, len(video)),
                next_image_callback=progress.update,
            )
        if not models:
            raise ValueError(
                "Structure from motion found no camera motion in this clip: too little texture, or "
                "the camera stands still or only turns. Use source cameras `static`, or give "
                "a file."
            )
        return max(models.values(), key=lambda model: model.num_reg_images())

    def _options(self, colmap: Any, frames: int) -> Any:
        options = colmap.IncrementalPipelineOptions()
        options.ba_refine_focal_length = self.refine_focal
        options.mapper.abs_pose_refine_focal_length = self.refine_focal
        options.ba_refine_extra_params = False
        options.extract_colors = False
        options.random_seed = self.seed
        options.min_model_size = min(FEWEST_FRAMES, frames)
        # A clip's parallax is far smaller than that of photographs, for which 16 degrees is meant.
        options.mapper.init_min_tri_angle = 4.0
        return options


def _lens(K: Float[Tensor, "3 3"]) -> tuple[str, str]:
    """COLMAP's words for K; the pixel convention is ours, the first pixel's centre is (0.5, 0.5).

    Square pixels are said to be square: two focal lengths of their own, if fitted, drift apart and
    take the direction of the motion with them.
    """
    square = abs(float(K[0, 0] / K[1, 1]) - 1) < 1e-3
    numbers = [K[0, 0], K[0, 2], K[1, 2]] if square else [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
    model = "SIMPLE_PINHOLE" if square else "PINHOLE"
    return model, ",".join(f"{float(number):.9g}" for number in numbers)


def _pycolmap() -> Any:
    try:
        import pycolmap
    except ImportError as error:
        raise ValueError(
            'Source cameras `colmap` need a package: pip install "trajectorycrafter[poses]".'
        ) from error
    return pycolmap


@contextmanager
def _quiet(colmap: Any) -> Iterator[None]:
    """COLMAP reports every step on the terminal; only what fails is of interest."""
    before = colmap.logging.minloglevel
    colmap.logging.minloglevel = 2
    try:
        yield
    finally:
        colmap.logging.minloglevel = before


def _cameras(placed: list[Any], lens: Any, video: Video) -> Cameras:
    """The placed frames' cameras in COLMAP's scale; `lens` is K or the reconstruction it is in."""
    world_to_camera = torch.eye(4).repeat(len(placed), 1, 1)
    matrices = np.stack([image.cam_from_world().matrix() for image in placed])
    world_to_camera[:, :3] = torch.from_numpy(matrices).float()
    if isinstance(lens, Tensor):
        K = lens.expand(len(placed), 3, 3).clone()
    else:
        matrices = [lens.cameras[image.camera_id].calibration_matrix() for image in placed]
        K = torch.from_numpy(np.stack(matrices)).float()
    return Cameras(world_to_camera, K, video.height, video.width)


def _scale(placed: list[Any], found: Any, depth: Depth) -> float:
    """Scene units per COLMAP unit: the median of depth over distance at all points seen."""
    height, width = depth.z.shape[2:]
    ratios = []
    for image in placed:
        seen = [point for point in image.points2D if point.has_point3D()]
        if not seen:
            continue
        pixels = np.floor([point.xy for point in seen]).astype(int)
        x, y = pixels[:, 0].clip(0, width - 1), pixels[:, 1].clip(0, height - 1)
        world = np.array([found.points3D[point.point3D_id].xyz for point in seen])
        distance = (image.cam_from_world() * world)[:, 2]
        frame = int(Path(image.name).stem)
        z = depth.z[frame, 0].cpu().numpy()[y, x]
        usable = depth.valid[frame, 0].cpu().numpy()[y, x] & (distance > 0)
        ratios.append(z[usable] / distance[usable])
    ratio = np.concatenate(ratios) if ratios else np.empty(0)
    if len(ratio) == 0:
        raise ValueError(
            "No point of the reconstruction has a valid depth; check the depth's validity."
        )
    return float(np.median(ratio))


def _for_every_frame(
    cameras: Cameras, placed: list[Any], scale: float, frames: int, device: torch.device
) -> Cameras:
    """Cameras in scene units; frames between placed ones interpolated, those outside held."""
    times = [int(Path(image.name).stem) for image in placed]
    world_to_camera = cameras.world_to_camera.clone()
    world_to_camera[:, :3, 3] *= scale
    scaled = Cameras(world_to_camera, cameras.K, cameras.height, cameras.width)
    filled = resample_cameras(scaled, times[-1] - times[0] + 1, times)
    index = (torch.arange(frames) - times[0]).clamp(0, len(filled) - 1)
    return check_cameras(from_first(filled[index]).to(device), "colmap")
