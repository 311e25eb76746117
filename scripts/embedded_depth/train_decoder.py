"""Train one of the two depth decoders on rendered views, parallax and photographs.

`python train_decoder.py VIEWS --part wide` after `render_views.py`, `raycast_views.py`,
`parallax_views.py`, `photographs.py` and `stereo.py` have written to VIEWS. The other decoder stays
as it is in `--out`. Curve, scores and checkpoints are in the folder `--run`, from which `--resume`
goes on.

Rendered views teach shape, order, sharp steps and where zero lies; more than half of them carry
things cut out of photographs, so that what is near also looks real. Parallax teaches shape up to
scale and shift; photographs teach that what stands out is nearer than what borders on it at its
height.

The one thing a reader would get wrong: `--bf16` is right only on processors with bfloat16 matrix
units; on others it is hundreds of times slower than float32.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from trajectorycrafter.config.training import LogSettings, OptimizerSettings
from trajectorycrafter.depth.dinov2 import PATCH, load_dinov2
from trajectorycrafter.depth.embedded import WEIGHTS, DepthDecoder
from trajectorycrafter.lab.training.loop import Loop, Pace, learn
from trajectorycrafter.lab.training.run_folder import read_curve
from trajectorycrafter.runtime.files import JsonLines, whole

SIZES = ((224, 308), (252, 336), (224, 392), (308, 224), (252, 252), (294, 392))
"""Heights and widths trained at; a batch has one."""
KINDS = {"rendered": 0.76, "parallax": 0.09, "photograph": 0.15}
"""Shares of a batch."""
KEPT = 100
"""Batches whose features are kept to be met again."""
RUN = Path(__file__).parents[2] / "out" / "depth_decoder"
"""Folder of the training run; git ignores `out/`."""
EVERY = 150
"""Steps between checkpoints and scores: about five minutes on one core."""


# Pictures


def as_filmed(rgb: np.ndarray, r: np.random.Generator) -> np.ndarray:
    """Exposure, white balance, blur, noise, gray and compression of a cheap camera; uint8 both."""
    rgb = rgb.astype(np.float32) / 255
    rgb = rgb * (r.uniform(0.6, 1.4) * (1 + r.normal(0, 0.07, 3))).astype(np.float32)
    rgb = rgb.clip(0, 1) ** np.float32(r.uniform(0.55, 1.5))
    if r.random() < 0.4:
        mean = rgb.mean()
        rgb = mean + (rgb - mean) * np.float32(r.uniform(0.4, 1.4))
    gray = rgb.mean(axis=2, keepdims=True)
    if r.random() < 0.2:
        rgb = np.repeat(gray, 3, axis=2)
    elif r.random() < 0.6:
        rgb = gray + (rgb - gray) * np.float32(r.uniform(0.2, 1.3))
    if r.random() < 0.35:
        rgb = cv2.GaussianBlur(rgb, (0, 0), r.uniform(0.3, 2.0))
    strength = r.choice([0, 0.005, 0.02, 0.06])
    if strength:
        rgb = rgb + strength * r.standard_normal(rgb.shape, dtype=np.float32)
    picture = (rgb.clip(0, 1) * 255).astype(np.uint8)
    if r.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(r.integers(20, 95))]
        compressed = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
        assert compressed is not None
        return compressed
    return picture


def cropped(
    pictures: list[np.ndarray], size: tuple[int, int], r: np.random.Generator
) -> list[np.ndarray]:
    """The same random window of maps of one scene (whatever their sizes), half the time mirrored.

    The first is the picture, resized smoothly to `size`; the others go to two sevenths of it, the
    decoder's grid, by the nearest value, since the mean of near and far is neither.
    """
    height, width = pictures[0].shape[:2]
    aspect = size[1] / size[0] * np.exp(r.normal(0, 0.06))
    h = min(height, width / aspect) * r.choice([1, r.uniform(0.55, 1)])
    w = min(width, h * aspect)
    top, left = r.uniform(0, height - h) / height, r.uniform(0, width - w) / width
    out, mirrored = [], r.random() < 0.5
    for i, picture in enumerate(pictures):
        rows, columns = picture.shape[:2]
        y, x = int(top * rows), int(left * columns)
        cut = picture[y : y + max(2, round(h / height * rows))]
        cut = cut[:, x : x + max(2, round(w / width * columns))]
        target = (size[1], size[0]) if i == 0 else (size[1] * 2 // 7, size[0] * 2 // 7)
        shrinks = cut.shape[0] > target[1]
        way = (cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR) if i == 0 else cv2.INTER_NEAREST
        cut = cv2.resize(cut, target, interpolation=way)
        out.append(np.ascontiguousarray(cut[:, ::-1] if mirrored else cut))
    return out


def paste(
    rgb: np.ndarray,
    disparity: np.ndarray,
    thing: tuple[np.ndarray, np.ndarray],
    r: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A rendered view with something cut out of a photograph in it, upright and facing the camera.

    It stands on what is seen at its foot, or leaves the picture below if its own picture cut it
    off there; what is nearer than it hides it. The disparity has half the size of the picture.
    """
    picture, mask = thing
    ys, xs = np.nonzero(mask > 127)
    cut_off = ys.max() >= len(mask) - 3
    window = slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1)
    picture, mask = picture[window], mask[window]
    height, width = rgb.shape[:2]
    tall = round(height * (r.uniform(0.45, 1.1) if cut_off else r.uniform(0.2, 0.9)))
    wide = max(4, round(tall * mask.shape[1] / mask.shape[0]))
    tall = max(4, tall)
    way = cv2.INTER_AREA if tall < len(mask) else cv2.INTER_LINEAR
    picture = cv2.resize(picture, (wide, tall), interpolation=way)
    mask = cv2.resize(mask, (wide, tall), interpolation=way)
    if r.random() < 0.5:
        picture, mask = picture[:, ::-1], mask[:, ::-1]
    x = int(r.integers(-wide // 3, max(width - 2 * wide // 3, 1)))
    # A thing seen as small is far: its foot is where the ground is that far up.
    foot = height + int(0.1 * tall) if cut_off else int(height * r.uniform(0.55, 1.02))
    y = foot - tall
    y0, y1, x0, x1 = max(y, 0), min(foot, height), max(x, 0), min(x + wide, width)
    if y1 - y0 < 8 or x1 - x0 < 8:
        return rgb, disparity
    below = disparity[max(min(y1 // 2 - 2, len(disparity) - 3), 0) :, x0 // 2 : x1 // 2 + 1][:3]
    d = float(np.percentile(below, 60)) * r.uniform(1.0, 1.15)
    if cut_off:
        d = max(d, float(np.percentile(disparity, 98))) * r.uniform(1.0, 1.8)
    if d < 0.01:
        return rgb, disparity
    alpha = np.zeros((height, width), np.float32)
    layer = np.zeros_like(rgb)
    alpha[y0:y1, x0:x1] = mask[y0 - y : y1 - y, x0 - x : x1 - x] / 255.0
    layer[y0:y1, x0:x1] = picture[y0 - y : y1 - y, x0 - x : x1 - x]
    half = disparity.shape[::-1]
    shown = disparity < d
    alpha *= cv2.resize(shown.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    rgb = rgb + alpha[:, :, None] * (layer.astype(np.float32) - rgb)
    inside = cv2.resize(alpha, half, interpolation=cv2.INTER_AREA) > 0.5
    # Bodies bulge: the middle is a little nearer than the rim.
    bulge = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), max(tall / 16, 1))
    body = d * (1 + r.uniform(0, 0.08) * (bulge - 0.5))
    return rgb.astype(np.uint8), np.where(inside, body, disparity).astype(np.float32)


@dataclass
class Sample:
    """One picture to learn from: what is not known of it is NaN."""

    rgb: np.ndarray
    disparity: np.ndarray
    zero_known: bool = False
    thing: np.ndarray | None = None
    """Where the salient thing is, for order alone."""


class Material:
    """Everything to learn from, drawn at random by `rng`, which each batch has its own of."""

    def __init__(self, folder: Path, held_out: int):
        self.rng = np.random.default_rng()
        shards = sorted(folder.glob("views_*.npz"))[held_out:]
        self.rendered = [arrays_of(path) for path in shards]
        self.parallax = [arrays_of(path) for path in sorted(folder.glob("parallax_train_*.npz"))]
        stored = np.load(folder / "photographs.npz")
        self.photographs, self.masks = stored["rgb"], stored["mask"]
        self.things = np.flatnonzero(self.masks.any(axis=(1, 2)))

    def sample(self, kind: str, size: tuple[int, int]) -> Sample:
        return {
            "rendered": self._rendered,
            "parallax": self._parallax,
            "photograph": self._photograph,
        }[kind](size)

    def _rendered(self, size: tuple[int, int]) -> Sample:
        r = self.rng
        rgb, disparity = one_of(r, self.rendered)
        disparity = disparity.astype(np.float32)
        for _ in range(r.choice([0, 0, 1, 1, 2])):
            rgb, disparity = paste(rgb, disparity, self._thing(), r)
        rgb, disparity = cropped([rgb, disparity], size, r)
        return Sample(as_filmed(rgb, r), disparity, zero_known=True)

    def _thing(self) -> tuple[np.ndarray, np.ndarray]:
        """Something cut out along its outline, or a board with a photograph on it."""
        r = self.rng
        if r.random() < 0.85:
            i = r.choice(self.things)
            return self.photographs[i], self.masks[i]
        picture = self.photographs[r.integers(len(self.photographs))]
        side = len(picture)
        half = r.uniform(0.2, 0.48, 2) * side
        turn, lean = r.normal(0, 0.25), r.normal(0, 0.1)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        corners[:2] *= 1 + lean
        c, s = np.cos(turn), np.sin(turn)
        corners = corners @ np.array([[c, s], [-s, c]]) + side / 2
        return picture, cv2.fillConvexPoly(
            np.zeros((side, side), np.uint8), corners.astype(np.int32), 255
        )

    def _parallax(self, size: tuple[int, int]) -> Sample:
        # Each clip as often as another, however many of its frames are known.
        rgb, disparity = one_of(self.rng, self.parallax)
        rgb, disparity = cropped([rgb, disparity.astype(np.float32)], size, self.rng)
        return Sample(as_filmed(rgb, self.rng), disparity)

    def _photograph(self, size: tuple[int, int]) -> Sample:
        """One with something salient in it, or any with something pasted in, which hides it."""
        i = self.rng.choice(self.things)
        rgb, mask = self.photographs[i], self.masks[i] > 127
        if self.rng.random() < 0.5:
            behind = self.photographs[self.rng.integers(len(self.photographs))]
            flat = np.full((len(behind) // 2, len(behind) // 2), 0.1, np.float32)
            rgb, near = paste(behind, flat, (self.photographs[i], self.masks[i]), self.rng)
            mask = near != flat
        rgb, mask = cropped([rgb, mask.astype(np.uint8)], size, self.rng)
        nothing = np.full(mask.shape, np.nan, np.float32)
        return Sample(as_filmed(rgb, self.rng), nothing, thing=mask > 0)

    def batch(self, count: int, rng: np.random.Generator) -> list[Sample]:
        self.rng = rng
        size = SIZES[self.rng.integers(len(SIZES))]
        shares = np.array(list(KINDS.values()))
        kinds = self.rng.choice(list(KINDS), count, p=shares / shares.sum())
        return [self.sample(kind, size) for kind in kinds]


def arrays_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    stored = np.load(path)
    return stored["rgb"], stored["disparity"]


def one_of(
    r: np.random.Generator, shards: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    rgb, disparity = shards[r.integers(len(shards))]
    i = r.integers(len(rgb))
    return rgb[i], disparity[i]


# Losses


def scale_free(disparity: Tensor) -> Tensor:
    """Each map over its own mean, as its square root, which evens near and far out."""
    return (disparity / disparity.mean(dim=(-2, -1), keepdim=True).clamp_min(1e-6) + 1e-4).sqrt()


def shift_free(disparity: Tensor, known: Tensor) -> Tensor:
    """A map less the median of its known part over its mean deviation (Ranftl et al. 2020)."""
    shifted = disparity - disparity[known].median()
    return shifted / shifted[known].abs().mean().clamp_min(1e-6)


def trimmed(error: Tensor, keep: float = 0.9) -> Tensor:
    """Mean of the smaller errors: the worst are hair-thin leaves and wrong matches."""
    return error.sort().values[: max(1, int(keep * len(error)))].mean()


def gradient_loss(error: Tensor, known: Tensor, scales: int = 4) -> Tensor:
    """Mean absolute gradient of the error over a pyramid (Ranftl et al. 2020, Eq. 11)."""
    total = error.new_zeros(())
    for k in range(scales):
        e, m = error[:: 2**k, :: 2**k], known[:: 2**k, :: 2**k].float()
        for axis in (0, 1):
            n = e.shape[axis]
            both = m.narrow(axis, 0, n - 1) * m.narrow(axis, 1, n - 1)
            total = total + (e.diff(dim=axis).abs() * both).sum() / both.sum().clamp_min(1)
    return total


def leads(predicted: Tensor, thing: Tensor, r: np.random.Generator, pairs: int = 400) -> Tensor:
    """By how much of the mean what stands out is nearer than what lies beside or above it."""
    h, w = predicted.shape
    inside = thing.nonzero()
    if len(inside) < 10 or thing.float().mean() > 0.9:
        return predicted.new_zeros(0)
    picked = inside[torch.from_numpy(r.integers(0, len(inside), pairs))]
    up = torch.from_numpy(r.integers(0, max(h // 6, 1), pairs))
    aside = torch.from_numpy(r.integers(-w // 4, w // 4 + 1, pairs))
    y, x = (picked[:, 0] - up), (picked[:, 1] + aside)
    there = (y >= 0) & (x >= 0) & (x < w)
    y, x, picked = y[there], x[there], picked[there]
    beside = ~thing[y, x]
    y, x, picked = y[beside], x[beside], picked[beside]
    lead = predicted[picked[:, 0], picked[:, 1]] - predicted[y, x]
    return lead / predicted.mean().detach()


def order_loss(predicted: Tensor, thing: Tensor, r: np.random.Generator) -> Tensor:
    """Hinge on a lead of 0.15."""
    lead = leads(predicted, thing, r)
    return F.relu(0.15 - lead).mean() if len(lead) else predicted.new_zeros(())


def loss_of(predicted: Tensor, sample: Sample, r: np.random.Generator) -> Tensor:
    """Of one picture; `predicted` is (h, w)."""
    if sample.thing is not None:
        return 0.5 * order_loss(predicted, torch.from_numpy(sample.thing), r)
    target = torch.from_numpy(sample.disparity)
    known = target.isfinite()
    if known.float().mean() < 0.1:
        return predicted.new_zeros(())
    target = target.nan_to_num(0.0)
    shape = shift_free(predicted, known) - shift_free(target, known)
    order = trimmed(shape[known].abs())
    if not sample.zero_known:
        return 0.6 * order + 0.15 * gradient_loss(shape, known)
    error = scale_free(predicted) - scale_free(target)
    drift = predicted.mean().clamp_min(1e-6).log().square()
    return error.abs().mean() + 0.3 * order + 0.8 * gradient_loss(error, known) + 0.01 * drift


# Training


def tensor_of(samples: list[Sample]) -> Tensor:
    return torch.from_numpy(np.stack([s.rgb for s in samples])).permute(0, 3, 1, 2).float() / 255


def roughened(features: list[Tensor], share: float, noise: float) -> list[Tensor]:
    """Whole channels left out and noise added, so that no trait of rendered views is leaned on.

    One draw of noise serves the whole batch: drawing takes as long as the decoder's convolutions.
    """
    out = []
    for f in features:
        spread = f[:, :, ::3, ::3].float().std(dim=(2, 3), keepdim=True).to(f.dtype)
        out.append(F.dropout2d(f + noise * spread * torch.randn_like(f[:1]), share))
    return out


def rank_correlation(predicted: Tensor, target: Tensor) -> float:
    known = target.isfinite()
    a, b = (v[known].argsort().argsort().double() for v in (predicted, target))
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def held_out_views(folder: Path, held_out: int) -> dict[str, list[Sample]]:
    """Views that are only measured on, in their own aspect ratio and as they are."""
    sets = {"rendered": sorted(folder.glob("views_*.npz"))[:held_out]}
    sets["parallax"] = sorted(folder.glob("parallax_held_*.npz"))
    sets["stereo"] = sorted(folder.glob("stereo_held_out.npz"))
    sets["castle"] = sorted(folder.glob("castle_held_out.npz"))
    out: dict[str, list[Sample]] = {}
    for name, paths in sets.items():
        out[name] = []
        for path in paths:
            for rgb, disparity in list(zip(*arrays_of(path), strict=True))[
                :: 4 if name == "rendered" else 1
            ]:
                scale = 252 / min(rgb.shape[:2])
                h, w = (round(n * scale / PATCH) * PATCH for n in rgb.shape[:2])
                small = cv2.resize(rgb, (w, h), interpolation=cv2.INTER_AREA)
                grid = (w * 2 // 7, h * 2 // 7)
                truth = cv2.resize(
                    disparity.astype(np.float32), grid, interpolation=cv2.INTER_NEAREST
                )
                out[name].append(Sample(small, truth))
    stored = np.load(folder / "order_held_out.npz")
    out["order"] = []
    for rgb, mask in zip(stored["rgb"], stored["mask"], strict=True):
        if mask.any():
            small = cv2.resize(rgb, (252, 252), interpolation=cv2.INTER_AREA)
            inside = cv2.resize(mask, (72, 72), interpolation=cv2.INTER_AREA) > 127
            out["order"].append(Sample(small, np.full((72, 72), np.nan), thing=inside))
    return out


@torch.no_grad()
def score(decoder: DepthDecoder, backbone: Any, views: dict[str, list[Sample]]) -> dict[str, float]:
    """Mean rank correlation of each held-out set; of `order`, the share of pairs that are right."""
    found = {}
    for name, samples in views.items():
        ranks = []
        for s in samples:
            images = tensor_of([s])
            predicted = decoder(backbone(images), images).float()[0, 0]
            if s.thing is None:
                ranks.append(rank_correlation(predicted, torch.from_numpy(s.disparity)))
            else:
                lead = leads(predicted, torch.from_numpy(s.thing), np.random.default_rng(0))
                ranks += [(lead > 0.05).float().mean().item()] if len(lead) else []
        found[name] = round(float(np.mean(ranks)), 4)
    return found


class Decoding:
    """The objective: one decoder on features of the backbone."""

    def __init__(self, args: argparse.Namespace, work: Path, accelerator: Accelerator) -> None:
        self.args, self.work, self.accelerator = args, work, accelerator
        torch.manual_seed(args.seed)
        self.backbone, self.model = load_dinov2(), DepthDecoder()
        if args.out.exists():
            self.model.load_state_dict({k: v.float() for k, v in load_file(args.out).items()})
        if args.afresh:
            setattr(self.model, args.part, type(getattr(self.model, args.part))())
        self.model.requires_grad_(False)
        decoder = getattr(self.model, args.part).requires_grad_(True)
        self.trained = dict(decoder.named_parameters())
        self.material = Material(args.views, args.held_out)
        self.views = held_out_views(args.views, args.held_out)
        # Features cost more than the decoder, so a batch is met again, roughened otherwise.
        self.features = lru_cache(KEPT)(self._features)
        self.began = 0.0
        print(
            f"{len(self.material.rendered)} shards, {len(self.material.parallax)} clips, "
            f"{len(self.material.things)} things; held out "
            f"{', '.join(f'{name} {len(found)}' for name, found in self.views.items())}",
            flush=True,
        )

    def rate(self, step: int) -> float | None:
        """A warm-up over the first steps, then a half cosine of the time down to nothing."""
        done = (time.time() - self.began) / (60 * self.args.minutes)
        if done >= self.args.stop:
            return None
        return min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * done))

    def batches(self, done: int) -> Iterator[tuple[int, np.random.Generator]]:
        """The number of a new batch, or of one of the last, and what draws for this step."""
        # What was spent on scores counts as little as what passed between two runs.
        spent = sum(line["seconds"] for line in read_curve(self.work) if line["step"] <= done)
        self.began = time.time() - spent
        return self._numbers(done)

    def _numbers(self, step: int) -> Iterator[tuple[int, np.random.Generator]]:
        while True:
            r = np.random.default_rng((self.args.seed, 1, step))
            newest, turn = divmod(step, 1 + self.args.again)
            yield (int(r.integers(max(0, newest + 1 - KEPT), newest + 1)) if turn else newest), r
            step += 1

    @torch.no_grad()
    def _features(self, number: int) -> tuple[list[Sample], Tensor, list[Tensor]]:
        rng = np.random.default_rng((self.args.seed, 0, number))
        samples = self.material.batch(self.args.batch, rng)
        images = tensor_of(samples)
        features = self.backbone(images)
        return samples, images, [f.bfloat16() for f in features] if self.args.bf16 else features

    def losses(self, batch: Any, step: int, turn: int) -> dict[str, Tensor]:
        number, r = batch
        with self.accelerator.autocast():
            samples, images, features = self.features(number)
            rough = roughened(features, self.args.dropout, self.args.noise)
            predicted = getattr(self.model, self.args.part)(rough, images)
        each = [loss_of(p[0], s, r) for p, s in zip(predicted.float(), samples, strict=True)]
        return {"loss": torch.stack(each).mean()}

    def look(self, loop: Loop, step: int) -> None:
        began = time.time()
        self.write(loop)
        with loop.averaged(), self.accelerator.autocast():
            told = {"step": step} | score(self.model, self.backbone, self.views)
        print(told, flush=True)
        JsonLines(self.work / "held_out.jsonl").add(told)
        self.began += time.time() - began

    def write(self, loop: Loop) -> None:
        """Both decoders, the averages of the trained one, in half precision."""
        with loop.averaged(), whole(self.args.out) as partial:
            weights = self.model.state_dict()
            save_file({k: v.half().contiguous() for k, v in weights.items()}, partial)
            partial.chmod(0o644)  # safetensors leaves it to its owner alone.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("views", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--run", type=Path, default=RUN, help="folder; default: %(default)s")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--part", choices=("narrow", "wide"), default="wide")
    parser.add_argument("--afresh", action="store_true", help="not from what is in --out")
    parser.add_argument("--minutes", type=float, default=61, help="of the whole schedule")
    parser.add_argument("--stop", type=float, default=1, help="share of it after which to end")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--again", type=int, default=3, help="old batches met per new one")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.15, help="share of channels left out")
    parser.add_argument("--noise", type=float, default=0.15, help="of a channel's own spread")
    parser.add_argument("--held-out", type=int, default=4, help="shards that are only measured on")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    optimizer = OptimizerSettings(
        steps=0,  # The time ends the run.
        lr=args.rate,
        weight_decay=1e-2,
        eps=1e-8,
        clip=1.0,
        clip_start=1.0,
        clip_steps=10**9,
        ema=0.998,
    )
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if args.bf16 else "no")
    learn(
        lambda work: Decoding(args, work, accelerator),
        args.run,
        {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        Pace(optimizer, LogSettings(checkpoint_every=EVERY, keep=1, sample_every=EVERY)),
        accelerator,
        inputs=[args.views],
        free=("resume", "minutes", "stop", "views", "out", "run"),
        resume=args.resume,
        overwrite=not args.resume,
    )


if __name__ == "__main__":
    main()
