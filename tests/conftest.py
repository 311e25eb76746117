"""Shared small material: a procedural clip with exact depth, written to files once."""

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
