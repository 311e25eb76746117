"""Source cameras by structure from motion over the clip, in the units of the depth.

The one thing a reader would get wrong: structure from motion knows no scale. Its points are
compared with the depth map at the pixels where they are seen, and the median ratio sets the scale;
so the cameras fit this depth and no other.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from ..geometry.cameras import Cameras, check_cameras
from ..geometry.interpolation import resample_cameras
from ..video.clip import Depth, Video
from . import static_source
from .from_file import from_first

FEWEST_FRAMES = 3
LARGEST_CHANGE = 2.0
"""A fitted focal length further from the given one than this factor is a failed fit."""


@dataclass(frozen=True)
class Colmap:
    """Source cameras from COLMAP's mapping of neighboring frames."""

    refine_focal: bool = False
    """Also fit the focal length (one for the clip). Off, since on plain surfaces a clip's small
    motion hardly tells focal length from distance; on textured ones it repairs a wrong field of
    view."""
    neighbors: int = 10
    """Each frame is matched with so many frames after it, and with some farther ones."""
    least_share: float = 0.5
    """Fewer frames placed than this is an error; between placed frames the path is interpolated."""
    seed: int = 0
    mappers: tuple[Literal["incremental", "global"], ...] = ("incremental",)
    """COLMAP's own mapper, or GLOMAP (Pan et al. 2024), which is part of it since 4.0. Of several
    runs, each with a seed of its own, the one that fits its points best is kept."""
    largest_error: float | None = None
    """Pixels by which matches and points may miss; None for COLMAP's 4, which are meant for large
    photographs. In a small picture 4 pixels let moving things and false motions pass."""

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
        K = static_source(video, depth).K[0].cpu()
        found = self._map(video, K[None])
        if found is None:
            raise ValueError(
                "Structure from motion found no camera motion in this clip: too little texture, or "
                "the camera stands still or only turns. Use source cameras `static`, or give "
                "a file."
            )
        placed = _placed(found)
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

    def place(
        self, video: Video, K: Float[Tensor, "T 3 3"] | None = None
    ) -> tuple[Cameras, Int[Tensor, " n"]]:
        """The cameras that the pictures alone tell, and the frames they belong to, in order.

        World and unit of length are COLMAP's own. Nothing is filled in and nothing is an error:
        where no motion is found, there are no cameras.

        Args:
            K: the lens of every frame, kept as it is unless `refine_focal`; None fits one focal
                length to the clip.
        """
        found = None if len(video) < FEWEST_FRAMES else self._map(video, K)
        if found is None:
            none = torch.empty(0, 4, 4), torch.empty(0, 3, 3)
            return Cameras(*none, video.height, video.width), torch.empty(0, dtype=torch.long)
        placed = _placed(found)
        frames = torch.tensor([int(Path(image.name).stem) for image in placed])
        lens = found if K is None or self.refine_focal else K.cpu()[frames]
        return _cameras(placed, lens, video), frames

    def _map(self, video: Video, K: Float[Tensor, "n 3 3"] | None) -> Any | None:
        """The best reconstruction; None if there is no motion to be found.

        Args:
            K: one lens for all frames, one for each, or None for an unknown one.
        """
        colmap, models = _pycolmap(), []
        refine = self.refine_focal or K is None
        with TemporaryDirectory(prefix="trajectorycrafter-colmap-") as name, _quiet(colmap):
            folder = Path(name)
            pictures, database = folder / "frames", folder / "database.db"
            pictures.mkdir()
            for i, frame in enumerate(video.frames):
                pixels = (frame.permute(1, 2, 0).cpu().numpy() * 255).round().clip(0, 255)
                cv2.imwrite(str(pictures / f"{i:06d}.png"), pixels.astype(np.uint8)[..., ::-1])
            colmap.set_random_seed(self.seed)
            _extract(colmap, database, pictures, K)
            pairs, check = colmap.SequentialPairingOptions(), colmap.TwoViewGeometryOptions()
            pairs.overlap = self.neighbors
            if self.largest_error is not None:
                check.ransac.max_error = self.largest_error
            colmap.match_sequential(database, pairing_options=pairs, verification_options=check)
            for i, mapper in enumerate(self.mappers):
                colmap.set_random_seed(self.seed + i)
                if mapper == "global":
                    options = colmap.GlobalPipelineOptions()
                    options.mapper.bundle_adjustment.refine_focal_length = refine
                    options.mapper.bundle_adjustment.refine_extra_params = False
                    options.random_seed = self.seed + i
                    found = colmap.global_mapping(database, pictures, folder, options=options)
                else:
                    options = self._options(colmap, self.seed + i, len(video), refine)
                    with tqdm(total=len(video), desc="cameras", delay=1, leave=False) as progress:
                        found = colmap.incremental_mapping(
                            database,
                            pictures,
                            folder,
                            options=options,
                            next_image_callback=progress.update,
                        )
                models += found.values()
        return _best(models)

    def _options(self, colmap: Any, seed: int, frames: int, refine: bool) -> Any:
        options = colmap.IncrementalPipelineOptions()
        options.ba_refine_focal_length = refine
        options.mapper.abs_pose_refine_focal_length = refine
        options.ba_refine_extra_params = False
        options.extract_colors = False
        options.random_seed = seed
        options.min_model_size = min(FEWEST_FRAMES, frames)
        # A clip's parallax is far smaller than that of photographs, for which 16 degrees is meant.
        options.mapper.init_min_tri_angle = 4.0
        if self.largest_error is not None:
            options.mapper.init_max_error = self.largest_error
            options.mapper.filter_max_reproj_error = self.largest_error
            # COLMAP's own proportion: 12 to 4 pixels.
            options.mapper.abs_pose_max_error = 3 * self.largest_error
            # Else only false motions are left to start a dolly from.
            options.mapper.init_max_forward_motion = 1.0
        return options


def _best(models: list[Any]) -> Any | None:
    """The reconstruction with the smallest pixel error among those with many frames and points.

    Not the one with the most points: seen along a dolly, a wall allows a second motion, which fits
    a few more points three times worse. Nor the smallest error alone: few points always fit.
    """
    frames = max((model.num_reg_images() for model in models), default=0)
    seen = max((model.compute_num_observations() for model in models), default=0)
    full = [
        model
        for model in models
        if model.num_reg_images() >= 0.9 * frames
        and model.compute_num_observations() >= max(1, 0.4 * seen)
    ]
    return min(full, key=lambda model: model.compute_mean_reprojection_error(), default=None)


def _extract(colmap: Any, database: Path, pictures: Path, K: Tensor | None) -> None:
    """Features of all pictures, with one lens for all or, if it changes, one for each."""
    lens = colmap.ImageReaderOptions()
    lens.camera_model = "SIMPLE_PINHOLE"
    if K is not None:
        lens.camera_model, lens.camera_params = _lens(K[0])
    zooms = K is not None and not torch.equal(K, K[:1].expand_as(K))
    mode = colmap.CameraMode.PER_IMAGE if zooms else colmap.CameraMode.SINGLE
    colmap.extract_features(database, pictures, camera_mode=mode, reader_options=lens)
    if K is None or not zooms:
        return
    with colmap.Database.open(database) as entries:
        for image in entries.read_all_images():
            camera = entries.read_camera(image.camera_id)
            model, numbers = _lens(K[int(Path(image.name).stem)])
            changed = colmap.Camera(
                camera_id=camera.camera_id,
                model=model,
                width=camera.width,
                height=camera.height,
                params=[float(number) for number in numbers.split(",")],
                has_prior_focal_length=True,
            )
            entries.update_camera(changed)


def _placed(found: Any) -> list[Any]:
    """The images that got a camera, in the order of the frames."""
    images = sorted(found.images.values(), key=lambda image: image.name)
    return [image for image in images if image.has_pose]


def _lens(K: Float[Tensor, "3 3"]) -> tuple[str, str]:
    """COLMAP's words for K; the pixel convention is ours, the first pixel's center is (0.5, 0.5).

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
def _quiet(colmap: Any) -> Generator[None]:
    """COLMAP reports every step on the terminal; our own messages say what comes of them."""
    before = colmap.logging.minloglevel
    colmap.logging.minloglevel = 3
    try:
        yield
    finally:
        colmap.logging.minloglevel = before


def _cameras(placed: list[Any], lens: Any, video: Video) -> Cameras:
    """The placed frames' cameras in COLMAP's scale.

    Args:
        lens: K, one or one per placed frame, or the reconstruction it is in.
    """
    world_to_camera = torch.eye(4).repeat(len(placed), 1, 1)
    matrices = np.stack([image.cam_from_world().matrix() for image in placed])
    world_to_camera[:, :3] = torch.from_numpy(matrices).float()
    if not isinstance(lens, Tensor):
        matrices = [lens.cameras[image.camera_id].calibration_matrix() for image in placed]
        lens = torch.from_numpy(np.stack(matrices)).float()
    K = lens.expand(len(placed), 3, 3).clone()
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
    scaled = cameras.world_to_camera.clone()
    scaled[:, :3, 3] *= scale
    cameras = replace(cameras, world_to_camera=scaled)
    filled = resample_cameras(cameras, times[-1] - times[0] + 1, times)
    index = (torch.arange(frames) - times[0]).clamp(0, len(filled) - 1)
    return check_cameras(from_first(filled[index]).to(device), "colmap")
