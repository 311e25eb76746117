"""Bring your own depth and your own moving camera: here, a procedural scene where both are exact.

python examples/03_own_depth_and_cameras.py [OUT]
"""

import sys
from pathlib import Path

import torch

from trajectorycrafter import Cameras, Depth, TrajectoryCrafter, Video, preset
from trajectorycrafter.geometry.cameras import focal_from_fov, intrinsics, static_cameras
from trajectorycrafter.lab.synthetic.scene import RayScene

out = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
out.mkdir(parents=True, exist_ok=True)

frames, height, width = 8, 96, 160
still = static_cameras(intrinsics(focal_from_fov(60, width), height, width, frames), height, width)
moving = preset("pan-right", frames, amount=0.1).cameras(still, radius=4.0)
video, depth = RayScene.make(seed=5, place="room").render(moving, torch.linspace(0, 1, frames))


def known_depth(video: Video) -> Depth:
    """Any callable from Video to Depth is a depth estimator."""
    return depth


def known_cameras(video: Video, depth: Depth) -> Cameras:
    """Any callable from Video and Depth to Cameras says where the source camera was."""
    return moving


crafter = TrajectoryCrafter(depth=known_depth, source=known_cameras)
result = crafter(video, preset("dolly-in", frames, amount=0.2))
print("wrote", result.video.write(out / "own.mp4", overwrite=True))
