"""Clips a second of the synthetic scenes: 13 frames of 96x160 from one camera, with exact depth.

    python scripts/bench_synthetic.py [--scenes 9]

Run it on a machine with nothing else to do. CPU seconds are printed too: they stay about the same
when other work takes its share.
"""

import argparse
import os
import time
from statistics import median

import torch

from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.lab.synthetic.shared import Place
from trajectorycrafter.lab.synthetic.takes import steady

FRAMES, SIZE, SAMPLES = 13, (96, 160), 2


def timed(seed: int, place: Place) -> tuple[float, float, float]:
    """Seconds to draw a scene, seconds and CPU seconds to render a clip of it."""
    begin = time.perf_counter()
    scene = RayScene.make(seed, place=place)
    cameras = steady(scene.pivot, FRAMES, SIZE)
    start, work = time.perf_counter(), time.process_time()
    scene.render(cameras, torch.linspace(0, 1, FRAMES), samples=SAMPLES)
    return start - begin, time.perf_counter() - start, time.process_time() - work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=9, help="scenes of each place")
    scenes = parser.parse_args().scenes
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{torch.get_num_threads()} threads, {os.cpu_count()} CPUs, load {load}")
    print(f"{FRAMES} frames of {SIZE[0]}x{SIZE[1]}, {SAMPLES}x{SAMPLES} rays a pixel, with depth")
    print(f"{'place':>8} {'clips a second':>15} {'CPU s a clip':>13} {'s to draw a scene':>18}")
    for place in ("room", "ground"):
        timed(0, place)  # compiles, or loads what was compiled
        draw, wall, cpu = zip(*(timed(seed, place) for seed in range(scenes)))
        print(f"{place:>8} {1 / median(wall):15.2f} {median(cpu):13.2f} {median(draw):18.3f}")


if __name__ == "__main__":
    main()
