"""Training of the diffusion model: one stage, on one process or many.

Single process, DDP, FSDP2 or DeepSpeed is accelerate's matter and its configuration's (`recipes/`):
`accelerate launch --config_file recipes/5b_fsdp2.yaml $(which trajectorycrafter) train ...`.

Samples are split by rank where they are read, and draws are functions of the step, so nothing of
the data is in a checkpoint.
"""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from ...config.training import MAY_CHANGE, TrainSettings
from ...geometry.frames import moved
from ...runtime.files import to_json, whole
from ..samples import SampleDataset
from . import run_folder
from .checkpointing import SHARDED, write_weights
from .denoising import denoise
from .distill import check_steps, distillation_loss, guided, teacher_settings
from .encoding import check_cache, make_encoder
from .examples import Example
from .grids import grid
from .latents import LatentDataset, fixed_texts, read_texts
from .loop import Loop, Pace, learn
from .lora import add_lora
from .objective import Batch, diffusion_loss, draw_batch, noise_schedule
from .optimizers import rate
from .parts import load_autoencoder
from .seeds import integer, seeded
from .stages import build_model, choose_trained

FRESH = 2**31
"""Variants of the condition's noise when each visit of a sample draws its own."""


def train(
    settings: TrainSettings,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_step: Callable[[int], object] | None = None,
) -> Path:
    """Train one stage; returns the folder of the weights.

    Args:
        out: Folder of the run: `settings.json`, `log.jsonl`, `checkpoints`, `samples`,
            `tensorboard`, and in the end `model` (and `model-ema`). All are in `.partial` inside it
            until the run is done.
        resume: Go on with the run in `out`, if there is one.
        on_step: Called with the number of steps done, after each.

    Raises:
        ValueError: If `out` holds a run and neither `resume` nor `overwrite` is given; if
            settings, data and model do not fit each other; or the loss is not finite.
    """
    out = Path(out)
    _check(settings)
    data, model = settings.data, settings.model
    accelerator = Accelerator(
        cpu=settings.device == "cpu",
        gradient_accumulation_steps=data.accumulation,
        log_with="tensorboard",
        project_dir=str(out / run_folder.TENSORBOARD),
    )
    _check_distribution(accelerator, settings)
    named = [Path(model.start) if model.start else None, model.weights]
    learn(
        lambda work: Diffusion(settings, work, accelerator),
        out,
        to_json(settings),
        Pace(settings.optimizer, settings.log, data.accumulation),
        accelerator,
        inputs=[*data.samples, *data.latents, *(path for path in named if path is not None)],
        free=MAY_CHANGE,
        resume=resume,
        overwrite=overwrite,
        on_step=on_step,
    )
    return out / run_folder.MODEL


def open_stream(settings: TrainSettings, rank: int, world_size: int) -> Any:
    """The `SampleDataset` of one rank, or the `LatentDataset` of the same samples."""
    data = settings.data
    given = {"dynamic": data.dynamic, "static": data.static}
    stream: Any = LatentDataset if data.latents else SampleDataset
    return stream(
        data.latents or data.samples,
        kinds={kind: share for kind, share in given.items() if share} or None,
        seed=settings.seed,
        rank=rank,
        world_size=world_size,
        batch=data.batch,
    )


class Diffusion:
    """The objective of a stage: denoising, or a distillation round, on samples or their latents."""

    def __init__(self, settings: TrainSettings, out: Path, accelerator: Accelerator) -> None:
        self.settings, self.out, self.accelerator = settings, out, accelerator
        self.device, self.schedule = accelerator.device, noise_schedule()
        self.model: Any = build_model(settings.model, settings.seed)
        config = self.model.config
        if settings.model.gradient_checkpointing:
            self.model.enable_gradient_checkpointing()
        if settings.lora:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed)
                self.trained = add_lora(self.model, settings.lora)
        else:
            self.trained = choose_trained(self.model, settings)
        self.encoder = None
        if settings.data.latents:
            check_cache(settings, config, settings.data.latents)
            self.texts = read_texts(settings.data.latents[0])
            vae: Any = load_autoencoder(settings.model, self.device)
        else:
            self.encoder = make_encoder(settings, config, self.device, reference=settings.reference)
            self.texts, vae = fixed_texts(self.encoder.embed), self.encoder.vae
        self.vae, self.scaling = vae, float(vae.config.scaling_factor)
        self.teacher: Any = None
        if settings.distill is not None:
            check_steps(settings.distill)
            teacher: Any = build_model(teacher_settings(settings, settings.distill))
            self.teacher = teacher.requires_grad_(False).eval().to(self.device)
        self._shown: list[Batch] = []

    def rate(self, step: int) -> float | None:
        optimizer = self.settings.optimizer
        return rate(step, optimizer) if step < optimizer.steps else None

    def batches(self, done: int) -> Iterator[list[Any]]:
        data, ranks = self.settings.data, self.accelerator
        stream = open_stream(self.settings, ranks.process_index, ranks.num_processes)
        stream.load_state_dict(stream.state_dict(done * data.accumulation * data.batch))
        return iter(
            DataLoader(stream, batch_size=data.batch, num_workers=data.workers, collate_fn=list)
        )

    def losses(self, batch: list[Any], step: int, turn: int) -> dict[str, Tensor]:
        distill, objective = self.settings.distill, self.settings.objective
        rank = self.accelerator.process_index
        drawn = self._batch(batch, seeded("step", self.settings.seed, step, turn, rank))
        if distill is None:
            return {"loss": diffusion_loss(self.model, drawn, self.schedule, objective)}
        negative = self.texts["negative"]
        loss = distillation_loss(
            self.model, self.teacher, drawn, negative, distill, self.schedule, objective
        )
        return {"loss": loss}

    @torch.no_grad()
    def look(self, loop: Loop, step: int) -> None:
        """The same samples, made by the averaged weights. All ranks take part in the forward."""
        if not self._shown:
            stream = iter(open_stream(self.settings, 0, 1))
            count, seed = self.settings.log.sample_count, self.settings.seed
            generators = [seeded("shown", seed, i) for i in range(count)]
            self._shown = [self._batch([next(stream)], draws) for draws in generators]
        self.model.eval()
        with loop.averaged():
            made = [self._make(batch) for batch in self._shown]
        self.model.train()
        if not self.accelerator.is_main_process:
            return
        picture = grid(self.vae, self._shown, made, self.scaling)
        with whole(self.out / run_folder.PICTURES / f"step-{step:06d}.png") as partial:
            Image.fromarray(picture).save(partial)
        for tracker in self.accelerator.trackers:
            shown: Any = tracker
            shown.log_images({"samples": picture[None]}, step=step, dataformats="NHWC")

    def write(self, loop: Loop) -> None:
        lora = self.settings.lora is not None
        write_weights(self.accelerator, self.model, self.out / run_folder.MODEL, lora=lora)
        if loop.ema is not None:
            with loop.averaged():
                average = self.out / run_folder.AVERAGE
                write_weights(self.accelerator, self.model, average, lora=lora)
        self.accelerator.wait_for_everyone()

    def _batch(self, items: list[Any], generator: torch.Generator) -> Batch:
        examples = [self._example(item, generator) for item in items]
        return draw_batch(
            examples, self.texts["empty"], self.settings.objective, self.scaling, generator
        )

    def _example(self, item: Any, generator: torch.Generator) -> Example:
        if self.encoder is not None:
            variant = integer(self.settings.data.variants or FRESH, generator)
            return moved(self.encoder(item, variant), self.device)
        example = item[integer(len(item), generator)]
        if not self.settings.reference:
            example = replace(example, reference=None)
        return moved(example, self.device)

    def _make(self, batch: Batch) -> Tensor:
        distill, objective = self.settings.distill, self.settings.objective
        steps = self.settings.log.sample_steps if distill is None else distill.student_steps
        kind = objective.prediction
        clean = guided(self.model, batch, self.texts["negative"], 1.0, self.schedule, kind)
        return denoise(clean, batch.noise, steps, self.schedule)


def _check(settings: TrainSettings) -> None:
    """Refuse, before anything is loaded, what cannot run."""
    data = settings.data
    if bool(data.samples) == bool(data.latents):
        raise ValueError("Expected folders of samples, or of their cached latents; not both.")
    if data.batch < 1 or data.accumulation < 1 or settings.optimizer.steps < 1:
        raise ValueError(
            "Expected batch, accumulation and steps of at least 1, got "
            f"{data.batch}, {data.accumulation} and {settings.optimizer.steps}."
        )
    if (data.dynamic, data.static) != (None, None) and not (data.dynamic or data.static):
        raise ValueError("Expected a share above 0 of dynamic or static samples.")
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            "Training needs the package tensorboard: pip install 'trajectorycrafter[train]'."
        )


def _check_distribution(accelerator: Accelerator, settings: TrainSettings) -> None:
    kind = accelerator.distributed_type
    if settings.optimizer.name == "muon" and kind in SHARDED:
        raise ValueError(f"Muon needs whole matrices; with {kind.value} use adamw.")
    if kind is DistributedType.DEEPSPEED:
        if settings.optimizer.ema is not None:
            raise ValueError("DeepSpeed keeps the precise weights to itself; use FSDP2 for an EMA.")
        plugin: Any = accelerator.state.deepspeed_plugin
        batch, turns = settings.data.batch, settings.data.accumulation
        values = {
            "train_micro_batch_size_per_gpu": batch,
            "gradient_accumulation_steps": turns,
            "train_batch_size": batch * turns * accelerator.num_processes,
            "gradient_clipping": settings.optimizer.clip,
        }
        # accelerate keeps two copies and reads both.
        plugin.deepspeed_config.update(values)
        plugin.hf_ds_config.config.update(values)
