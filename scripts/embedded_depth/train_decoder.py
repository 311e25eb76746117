"""Train the depth decoder on cached features of rendered views and store it as float16.

`python train_decoder.py VIEWS --minutes 25` after `render_views.py` and `cache_features.py`.

The one thing a reader would get wrong: the backbone is not run here, so pictures cannot be
augmented any more; every degradation is already in the rendered views.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from trajectorycrafter.depth.embedded import WEIGHTS, DepthDecoder


def scale_free(disparity: Tensor) -> Tensor:
    """Each map over its own mean, as its square root, which evens near and far out."""
    return (disparity / disparity.mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6) + 1e-4).sqrt()


def shift_free(disparity: Tensor) -> Tensor:
    """Each map less its median over its mean deviation (Ranftl et al. 2020, Eq. 5)."""
    flat = disparity.flatten(1)
    shifted = flat - flat.median(dim=1, keepdim=True).values
    return shifted / shifted.abs().mean(dim=1, keepdim=True).clamp_min(1e-6)


def gradient_loss(error: Tensor, scales: int = 4) -> Tensor:
    """Mean absolute gradient of the error over a pyramid (Ranftl et al. 2020, Eq. 11)."""
    total = error.new_zeros(())
    for k in range(scales):
        e = error[:, :, :: 2**k, :: 2**k]
        total = total + e.diff(dim=2).abs().mean() + e.diff(dim=3).abs().mean()
    return total


def loss_of(predicted: Tensor, target: Tensor) -> Tensor:
    """Order and shape whatever the scale (and shift), sharp steps, and a scale near one."""
    error = scale_free(predicted) - scale_free(target)
    order = (shift_free(predicted) - shift_free(target)).abs()
    # The worst tenth is mostly hair-thin leaves that no cell of this size can show.
    order = order.sort(dim=1).values[:, : int(0.9 * order.shape[1])].mean()
    drift = predicted.mean(dim=(1, 2, 3)).clamp_min(1e-6).log().square().mean()
    return error.abs().mean() + 0.3 * order + 0.5 * gradient_loss(error) + 0.01 * drift


class Views:
    """The cached shards, read from disk as needed; batches hold views of one size."""

    def __init__(self, folder: Path, held_out: int, seed: int):
        self.rng = np.random.default_rng(seed)
        self.folder, self.held_out, self.shards, self.known = folder, held_out, [], set()

    def refresh(self) -> None:
        """Take in shards that have appeared since."""
        for path in sorted(self.folder.glob("features_*.npy")):
            if path.name in self.known:
                continue
            self.known.add(path.name)
            stored = np.load(
                path.with_name(path.name.replace("features", "views")).with_suffix(".npz")
            )
            disparity = torch.from_numpy(stored["disparity"].astype(np.float32))[:, None]
            h, w = (side // 14 for side in disparity.shape[2:])
            target = F.interpolate(disparity, (4 * h, 4 * w), mode="area").half()
            rgb = torch.from_numpy(stored["rgb"]).permute(0, 3, 1, 2).contiguous()
            self.shards.append((np.load(path, mmap_mode="r"), rgb, target))

    def batch(self, size: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """Random training views of two shards of the same size."""
        a = self.rng.integers(self.held_out, len(self.shards))
        shape = self.shards[a][0].shape[1:]
        alike = [
            i
            for i in range(self.held_out, len(self.shards))
            if self.shards[i][0].shape[1:] == shape
        ]
        chosen = [(int(self.rng.choice(alike)), None) for _ in range(size)]
        picked = [(i, int(self.rng.integers(len(self.shards[i][0])))) for i, _ in chosen]
        return self.gather(picked)

    def gather(self, picked: list[tuple[int, int]]) -> tuple[list[Tensor], Tensor, Tensor]:
        features = torch.from_numpy(np.stack([self.shards[i][0][k] for i, k in picked])).float()
        rgb = torch.stack([self.shards[i][1][k] for i, k in picked]).float() / 255
        target = torch.stack([self.shards[i][2][k] for i, k in picked]).float()
        return list(features.unbind(dim=1)), rgb, target


@torch.no_grad()
def score(decoder: DepthDecoder, views: Views) -> tuple[float, float]:
    """Mean loss and rank correlation on the shards that are held out."""
    losses, ranks = [], []
    for shard in range(views.held_out):
        for k in range(0, len(views.shards[shard][0]), 8):
            last = min(k + 8, len(views.shards[shard][0]))
            features, rgb, target = views.gather([(shard, i) for i in range(k, last)])
            predicted = decoder(features, rgb)
            losses.append(float(loss_of(predicted, target)))
            a, b = (v.flatten(1).argsort(dim=1).argsort(dim=1).float() for v in (predicted, target))
            a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
            ranks.append(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean().item())
    return float(np.mean(losses)), float(np.mean(ranks))


def store(decoder: DepthDecoder, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file({k: v.half().contiguous() for k, v in decoder.state_dict().items()}, temporary)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("views", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--start", type=Path, help="a decoder to go on from")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--dropout", type=float, default=0.3, help="share of channels left out")
    parser.add_argument("--held-out", type=int, default=2, help="shards that are only measured on")
    args = parser.parse_args()
    torch.manual_seed(0)
    decoder = DepthDecoder()
    if args.start:
        decoder.load_state_dict({k: v.float() for k, v in load_file(args.start).items()})
    averaged = torch.optim.swa_utils.AveragedModel(
        decoder, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    views = Views(args.views, args.held_out, seed=0)
    views.refresh()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=args.rate, weight_decay=1e-2)
    begin, step, shown, recent = time.time(), 0, time.time(), []
    while (done := (time.time() - begin) / (60 * args.minutes)) < 1:
        # Warm up over the first steps, then fall to nothing along a half cosine of the time.
        rate = args.rate * min(1, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = rate
        features, rgb, target = views.batch(args.batch)
        # Whole channels are left out, so that no single trait of rendered views is leaned on.
        features = [F.dropout2d(f, args.dropout) for f in features]
        loss = loss_of(decoder(features, rgb), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(decoder)
        step, recent = step + 1, [*recent[-99:], loss.item()]
        if time.time() - shown > 60:
            views.refresh()
            shown = time.time()
            print(
                f"{done:.2f} step {step} train {np.mean(recent):.4f} shards {len(views.shards)}",
                flush=True,
            )
    loss, rank = score(averaged.module, views)
    print(
        f"held out: loss {loss:.4f}, Spearman {rank:.4f}; {step} steps, {len(views.shards)} shards"
    )
    store(averaged.module, args.out)


if __name__ == "__main__":
    main()
