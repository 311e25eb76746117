"""Seconds a frame of the point renderer, printed beside the released warper's.

Run with OMP_WAIT_POLICY=passive: threads that spin while they wait falsify the figures on a machine
that does other work too.
"""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from trajectorycrafter.geometry.cameras import (
    Cameras,
    focal_from_fov,
    intrinsics,
    rigid,
    rotation_y,
    static_cameras,
)
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.rendering import render as rendering
from trajectorycrafter.rendering import splatting
from trajectorycrafter.rendering.point_cloud import DynamicPointCloud, lift

FRAMES, THREADS, REPEATS = 49, 2, 5
RELEASED_WARPER = {(384, 672): 0.087, (576, 1024): 0.177}
"""Seconds a frame of the released warper, two threads, measured on an idle two-core AMD EPYC."""


def moments(height: int, width: int) -> DynamicPointCloud:
    """A procedural clip's cloud; its moments share one frame to keep the set-up short."""
    K = intrinsics(focal_from_fov(60.0, width), height, width)
    source = static_cameras(K, height, width)
    cloud = lift(*RayScene.make(0, place="room").render(source, torch.zeros(1), samples=1), source)
    return cloud[[0] * FRAMES]


def orbit(height: int, width: int) -> Cameras:
    """From the source camera to 20 degrees to the side and nearer by one unit."""
    part = torch.linspace(0, 1, FRAMES)
    rotation = rotation_y(-20 * part)
    pivot = torch.tensor([0.0, 0.0, 5.0])
    shift = pivot - (rotation @ pivot) - part[:, None] * torch.tensor([0.0, 0.0, 1.0])
    K = intrinsics(focal_from_fov(60.0, width), height, width, FRAMES)
    return Cameras(rigid(rotation, shift), K, height, width)


def seconds_a_frame(run: Callable[[], object], frames: int) -> float:
    run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) / frames)
    return median(times)


def main() -> None:
    torch.set_num_threads(THREADS)
    kernels = splatting.compiled_kernels()
    print(f"Median of {REPEATS} runs, {THREADS} threads, seconds a frame")
    print(f"{'size':>10} {'renderer':<26} {'seconds':>8} {'times faster':>13}")
    for (height, width), released in RELEASED_WARPER.items():
        size = f"{height}x{width}"
        print(f"{size:>10} {'released warper (quoted)':<26} {released:8.4f} {1:13.1f}")
        cloud, cameras = moments(height, width), orbit(height, width)
        for name, frames, module in (("compiled", FRAMES, kernels), ("torch", 3, None)):
            if name == "compiled" and module is None:
                print(f"{size:>10} numba is not installed; no compiled figures")
                continue
            for mode in ("released", "quality"):
                with_module(module)
                seconds = seconds_a_frame(
                    lambda c=cloud[:frames], v=cameras[:frames], m=mode: rendering.render(
                        c, v, mode=m
                    ),
                    frames,
                )
                label = f"{mode}, {name}"
                print(
                    f"{size:>10} {label:<26} {seconds:8.4f} {released / seconds:13.1f}", flush=True
                )


def with_module(module: Any) -> None:
    """Let the renderer find these kernels; None stands for an installation without numba."""
    splatting.compiled_kernels = lambda: module
    rendering.compiled_kernels = lambda: module


if __name__ == "__main__":
    main()
