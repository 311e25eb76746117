"""Check that mesh scenes are exact: depth against the floor and against a second view. Needs EGL.

`python scripts/check_mesh_scenes.py ASSETS --seeds 4` prints one row per scene and ends with an
error if a limit is passed. `docs/reference/synthetic_meshes.md` describes the folder ASSETS.

The one thing a reader would get wrong: two views agree only where both see the same surface; a
pixel whose surface the second view does not see is left out, one whose surface the second view sees
through is counted as a hole.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trajectorycrafter.geometry.cameras import Cameras
from trajectorycrafter.lab.synthetic.meshes.scene import MeshScene
from trajectorycrafter.lab.synthetic.shared import Place, Split
from trajectorycrafter.lab.synthetic.takes import around
from trajectorycrafter.video.clip import Depth, Video

LIMITS = {"depth_median": 1e-4, "holes": 0.01, "floor_m": 2e-3, "rgb_median": 0.02}
"""Largest values that pass; `nearest_m` must be at least `NEAREST`, and repeats must be equal."""
NEAREST = 0.15


def arc_cameras(
    scene: MeshScene, azimuth: list[float], elevation: list[float], size: tuple[int, int]
) -> Cameras:
    """Cameras that look at the pivot from the origin's distance; degrees from the source camera."""
    x, y, z = scene.pivot.tolist()
    still = torch.ones(len(azimuth))
    return around(
        (x, y, z), torch.tensor(azimuth), torch.tensor(elevation), still, size, fov_deg=62
    )


@dataclass(frozen=True)
class Figures:
    """How exact one scene is."""

    depth_median: float
    """Relative difference of depth between the views, where both see the surface."""
    depth_99: float
    holes: float
    """Share of pixels whose surface the second view sees through."""
    rgb_median: float
    rgb_psnr: float
    floor_m: float
    """99th percentile of the distance from the floor of the pixels that show it."""
    nearest_m: float
    """Nearest depth that any camera around the arc sees."""
    repeats: bool
    """True if the scene made again, after another one, gives the same bits."""


def sample(picture: Tensor, pixels: Tensor, height: int, width: int) -> Tensor:
    """Bilinear lookup of `1 C H W` at `N 2` pixel coordinates, centers at +0.5."""
    grid = pixels / pixels.new_tensor([width, height]) * 2 - 1
    return F.grid_sample(picture, grid[None, None], align_corners=False)[0, :, 0].T


def between_views(cameras: Cameras, video: Video, depth: Depth) -> dict[str, float]:
    """The first view's surfaces in the second: depth and color there against their own."""
    points = cameras[[0]].unproject(depth.z[:1])
    pixels, z = cameras[[1]].project(points)
    pixels, z = pixels[0], z[0]
    size = (cameras.height, cameras.width)
    inside = ((pixels > 1) & (pixels < pixels.new_tensor([size[1] - 1, size[0] - 1]))).all(1)
    inside &= z > 0
    # Inverse depth is linear in the pixel on a plane, so that its bilinear lookup is exact there.
    other = 1 / sample(1 / depth.z[1:], pixels, *size)[:, 0]
    error = (other - z) / z
    # A silhouette in the second view mixes two surfaces.
    edge = F.max_pool2d(depth.z[1:], 3, 1, 1) / -F.max_pool2d(-depth.z[1:], 3, 1, 1) > 1.1
    smooth = inside & (sample(edge.float(), pixels, *size)[:, 0] == 0)
    same = smooth & (error.abs() < 0.01)
    colors = (sample(video.frames[1:], pixels, *size) - video.frames[0].flatten(1).T)[same]
    return {
        "depth_median": float(error[same].abs().median()),
        "depth_99": float(np.quantile(error[same].abs().numpy(), 0.99)),
        "holes": float((error[smooth] > 0.02).float().mean()),
        "rgb_median": float(colors.abs().median()),
        "rgb_psnr": float(-10 * colors.square().mean().log10()),
    }


def check(seed: int, split: Split, place: Place, assets: Path) -> Figures:
    """All figures of one scene."""
    scene = MeshScene.make(seed, split=split, place=place, assets=assets)
    cameras = arc_cameras(scene, [0, 12], [0, 3], (384, 672))
    video, depth = scene.render(cameras, torch.tensor([0.7, 0.7]))
    y = cameras.unproject(depth.z)[..., 1].flatten()
    floor = (y - scene.eye).abs()
    floor = floor[floor < 0.008]  # Paths lie 12 mm above the land.
    MeshScene.make(seed + 1, split=split, place=place, assets=assets)
    again = MeshScene.make(seed, split=split, place=place, assets=assets)
    frames, z = again.render(cameras, torch.tensor([0.7, 0.7]))
    azimuth = [float(a) for a in range(-70, 71, 20) for _ in range(3)]
    ring = arc_cameras(scene, azimuth, [-5.0, 10.0, 25.0] * 8, (96, 160))
    around = scene.render(ring, torch.linspace(0, 6, 24), samples=1)[1]
    return Figures(
        **between_views(cameras, video, depth),
        floor_m=float(np.quantile(floor.numpy(), 0.99)),
        nearest_m=float(around.z.min()) if bool(around.valid.all()) else 0.0,
        repeats=torch.equal(frames.frames, video.frames) and torch.equal(z.z, depth.z),
    )


def speed(assets: Path, place: Place, size: tuple[int, int]) -> tuple[float, float]:
    """Frames per second, and CPU seconds per frame over all cores, of a clip of 16 frames.

    Making the scene does not count; setting up the drawing does.
    """
    scene = MeshScene.make(0, split="train", place=place, assets=assets)
    cameras = arc_cameras(scene, [0.5 * i for i in range(16)], [0.0] * 16, size)
    start, start_cpu = time.perf_counter(), time.process_time()
    scene.render(cameras, torch.linspace(0, 2, 16))
    cpu = time.process_time() - start_cpu
    return 16 / (time.perf_counter() - start), cpu / 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    failed = []
    places: tuple[Place, ...] = ("room", "ground")
    splits: tuple[Split, ...] = ("train", "test")
    for place in places:
        for seed in range(args.seeds):
            for split in splits:
                figures = check(seed, split, place, args.assets)
                print(f"{place} {split} {seed}: {figures}", flush=True)
                bad = [k for k, most in LIMITS.items() if not getattr(figures, k) <= most]
                bad += [] if figures.nearest_m >= NEAREST else ["nearest_m"]
                bad += [] if figures.repeats else ["repeats"]
                failed += [f"{place} {split} {seed}: {name}" for name in bad]
        for size in ((384, 672), (96, 160)):
            fps, cpu = speed(args.assets, place, size)
            print(f"{place} {size[0]}x{size[1]}: {fps:.1f} frames/s, {cpu:.3f} CPU s/frame")
    if failed:
        raise SystemExit("Past the limits: " + "; ".join(failed))


if __name__ == "__main__":
    main()
