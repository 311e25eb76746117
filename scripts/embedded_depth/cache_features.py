"""Run the frozen backbone over the rendered views once, so that training only runs the decoder.

`python cache_features.py VIEWS` writes `features_00000.npy` (n, 4, 384, h, w float16) beside every
`views_00000.npz`, and with `--watch` waits for more.

The one thing a reader would get wrong: the matrix products run in bfloat16 here, for speed; the
features differ from float32 by less than the 8-bit weights do.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from trajectorycrafter.depth.dinov2 import load_dinov2


@torch.inference_mode()
def features_of(rgb: np.ndarray, batch: int = 4) -> np.ndarray:
    model, out = load_dinov2(), []
    for start in range(0, len(rgb), batch):
        images = torch.from_numpy(rgb[start : start + batch]).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            out.append(torch.stack(model(images), dim=1).half())
    return torch.cat(out).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("views", type=Path)
    parser.add_argument("--watch", type=float, default=0, help="minutes to go on looking for views")
    args = parser.parse_args()
    end = time.time() + 60 * args.watch
    while True:
        missing = [
            (path, done)
            for path in sorted(args.views.glob("views_*.npz"))
            if not (
                done := path.with_name(path.stem.replace("views", "features") + ".npy")
            ).exists()
        ]
        if not missing and time.time() > end:
            break
        if not missing:
            time.sleep(5)
            continue
        path, done = missing[0]
        temporary = done.with_name("." + done.name)
        np.save(temporary, features_of(np.load(path)["rgb"]))
        os.replace(temporary, done)
        print(done.name, flush=True)


if __name__ == "__main__":
    main()
