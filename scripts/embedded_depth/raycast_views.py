"""Training views of the package's own ray-cast scenes, in the split that no table is made of.

`python raycast_views.py OUT --scenes 400` adds shards `views_5....npz` in the format of
`render_views.py`. A few hundred scenes are enough: they are the simplest of the material.

The one thing a reader would get wrong: `Depth` marks the sky by its mask, here it is disparity 0.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from pictures import store

from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.lab.synthetic.takes import around

SIZE, CAMERAS, SCENES = (288, 384), 4, 10
"""Height and width; views of a scene; scenes of a shard."""
FIRST = 50000


def views(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB (n, H, W, 3) and disparity (n, H / 2, W / 2) of one scene from a few sides."""
    scene, g = RayScene.make(seed, split="train"), torch.Generator().manual_seed(seed)
    turn = 2 * torch.rand(3, CAMERAS, generator=g) - 1
    fov = float(45 + 25 * torch.rand((), generator=g))
    cameras = around(
        scene.pivot, 30 * turn[0], 6 * turn[1], 0.85 + 0.15 * turn[2].abs(), SIZE, fov_deg=fov
    )
    video, depth = scene.render(cameras, torch.linspace(0, 2, CAMERAS))
    rgb = (video.frames.permute(0, 2, 3, 1) * 255).byte().numpy()
    far = (depth.z <= 0) | ~depth.valid | (depth.z > 1000)
    disparity = torch.where(far, 0, 1 / depth.z.clamp_min(1e-3))[:, 0, ::2, ::2]
    return rgb, disparity.half().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=400)
    args = parser.parse_args()
    for shard in range(args.scenes // SCENES):
        made = [views(SCENES * shard + i) for i in range(SCENES)]
        rgb, disparity = (np.concatenate(side) for side in zip(*made, strict=True))
        store(args.out / f"views_{FIRST + shard}.npz", rgb, disparity)


if __name__ == "__main__":
    main()
