"""What all tests share: where they run, and a procedural clip with exact depth, written once."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from trajectorycrafter.geometry.cameras import (
    Cameras,
    focal_from_fov,
    intrinsics,
    static_cameras,
)
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.video.clip import Depth, Video
from trajectorycrafter.video.depth_npz import write_depth

# Tensors are tiny here: threads that wait for each other cost more than they save, above all beside
# another pytest. Processes that tests start inherit it.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
MISLEADING = (
    *("demo", "fill", "embedded", "5b", "static", "colmap", "orbit-right", "blip2", "auto"),
    *("clip", "depth.npz", "trajectory.json", "out", "tests", "src", "trajectorycrafter", "cpu"),
    *("render, released", "exact", "psnr", "tiny-stage1", "folder", "synthetic"),
)


@pytest.fixture(scope="session", autouse=True)
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All tests run in a folder full of misleading names: nothing may depend on what lies there."""
    folder, before = tmp_path_factory.mktemp("working_folder"), Path.cwd()
    for name in MISLEADING:
        (folder / name).mkdir()
        (folder / name / "thing.txt").write_text("not what you look for")
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """For tests of what threads share."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Clip:
    """A clip with exact depth, in memory and on disk."""

    video: Video
    depth: Depth
    cameras: Cameras
    path: Path
    depth_path: Path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Nine frames of 64x96 of a procedural scene, filmed by a camera that stands still."""
    frames, height, width = 9, 64, 96
    K = intrinsics(focal_from_fov(60.0, width), height, width, frames)
    cameras = static_cameras(K, height, width)
    video, depth = RayScene.make(3, place="room").render(cameras, torch.linspace(0, 1, frames))
    folder = tmp_path_factory.mktemp("clip")
    path = video.write(folder / "clip.mp4")
    depth_path = write_depth(depth, folder / "depth.npz", cameras)
    return Clip(video, depth, cameras, path, depth_path)
