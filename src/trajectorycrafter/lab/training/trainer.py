"""A training run: one process or many, from new or from where it was stopped.

Single process, DDP, FSDP2 or DeepSpeed is accelerate's matter and its configuration's (`recipes/`):
`accelerate launch --config_file recipes/5b_fsdp2.yaml $(which trajectorycrafter) train ...`.

The one thing a reader would get wrong: accelerate gets neither data loader nor scheduler. Samples
are split by rank where they are read, rates and draws are functions of the step; a checkpoint is
therefore weights, optimizer and average, and a run that goes on repeats the unbroken one exactly.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ...config.training import TrainSettings
from ...geometry.frames import moved
from ...runtime.files import whole
from ...runtime.run_folder import RunFolder, opened
from ..samples import SampleDataset
from . import run_folder
from .checkpointing import SHARDED, Checkpoints, write_weights
from .denoising import denoise
from .distill import check_steps, distillation_loss, guided, teacher_settings
from .ema import averaged, make_ema
from .encoding import check_cache, make_encoder
from .examples import Example
from .grids import grid
from .latents import LatentDataset, fixed_texts, read_texts
from .lora import add_lora
from .objective import Batch, diffusion_loss, draw_batch, noise_schedule
from .optimizers import make_optimizers, norm_limit, rate, set_rate
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
        overwrite: Replace the run in `out`.
        on_step: Told the number of steps done, after each.

    Raises:
        ValueError: If `out` holds a run and neither `resume` nor `overwrite` is given; if
            settings, data and model do not fit each other; or the loss is not finite.
    """
    out = Path(out)
    _check(settings)
    accelerator = Accelerator(
        cpu=settings.device == "cpu",
        gradient_accumulation_steps=settings.data.accumulation,
        log_with="tensorboard",
        project_dir=str(out / run_folder.TENSORBOARD),
    )
    if accelerator.is_main_process:
        run_folder.claim_run(out, settings, resume=resume, overwrite=overwrite)
    accelerator.wait_for_everyone()
    folder = RunFolder(out, opened(out), run_folder.ALL)
    accelerator.project_configuration.logging_dir = str(folder.work / run_folder.TENSORBOARD)
    _Run(settings, folder.work, accelerator).go(on_step)
    for tracker in accelerator.trackers:
        tracker.finish()
    if accelerator.is_main_process:
        folder.finish()
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return out / run_folder.MODEL


def open_stream(settings: TrainSettings, rank: int, world_size: int) -> Any:
    """The `SampleDataset` of one rank, or the `LatentDataset` of the same samples."""
    data = settings.data
    given = {"dynamic": data.dynamic, "static": data.static}
    kinds: Any = {kind: share for kind, share in given.items() if share}
    stream: dict[str, Any] = {
        "kinds": kinds or None,
        "seed": settings.seed,
        "rank": rank,
        "world_size": world_size,
        "batch": data.batch,
    }
    if data.latents:
        return LatentDataset(data.latents, **stream)
    return SampleDataset(data.samples, **stream)


class _Run:
    """The state of a run: what `train` would otherwise hand from function to function."""

    def __init__(self, settings: TrainSettings, out: Path, accelerator: Accelerator) -> None:
        self.settings, self.out, self.accelerator = settings, out, accelerator
        self.device = accelerator.device
        self.schedule = noise_schedule()
        model: Any = build_model(settings.model, settings.seed)
        self.config = model.config
        if settings.model.gradient_checkpointing:
            model.enable_gradient_checkpointing()
        named = add_lora(model, settings.lora) if settings.lora else choose_trained(model, settings)
        optimizers = make_optimizers(named, settings.optimizer)
        _check_distribution(accelerator, len(optimizers), settings)
        self.model, *self.optimizers = accelerator.prepare(model, *optimizers)
        self.model.train()
        # FSDP puts sharded parameters in the place of those that the optimizer was made for.
        inner: Any = accelerator.unwrap_model(self.model)
        self.trained = {n: p for n, p in inner.named_parameters() if p.requires_grad}
        self.parameters = list(self.trained.values())
        self.ema = make_ema(self.parameters, settings.optimizer.ema)
        self.checkpoints = Checkpoints(
            out / run_folder.CHECKPOINTS, accelerator, self.trained, self.ema, settings.log.keep
        )
        self._open_data()
        self.teacher = self._load_teacher()
        self._shown: list[Batch] = []

    def go(self, on_step: Callable[[int], object] | None) -> None:
        """All steps that are left, then the weights."""
        steps, done = self.settings.optimizer.steps, self._restore()
        batches = self._batches(done)
        self.accelerator.init_trackers("run")
        curve = None
        if self.accelerator.is_main_process:
            curve = run_folder.open_curve(self.out, done)
        hidden = not self.accelerator.is_main_process
        bar = tqdm(total=steps, initial=done, desc="Training", leave=False, delay=1, disable=hidden)
        for step in range(done, steps):
            line = self._step(step, batches)
            bar.set_postfix(loss=f"{line['loss']:.4f}", refresh=False)
            bar.update()
            if curve is not None:
                curve.add(line)
            self.accelerator.log({k: line[k] for k in ("loss", "grad_norm", "lr")}, step + 1)
            self._keep(step + 1)
            if on_step is not None:
                on_step(step + 1)
        bar.close()
        self._write()

    # ------------------------------------------------------------------------------------ steps

    def _step(self, step: int, batches: Iterator[list[Any]]) -> dict[str, Any]:
        """One optimizer step: its line of the curve."""
        began, losses, norm = time.perf_counter(), [], 0.0
        for optimizer in self.optimizers:
            set_rate(optimizer, rate(step, self.settings.optimizer))
        for turn in range(self.settings.data.accumulation):
            batch = self._draw(next(batches), step, turn)
            with self.accelerator.accumulate(self.model):
                loss = self._loss(batch)
                losses.append(loss.detach())
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    norm = self._clip(step)
                # Muon's products are then as precise as the run is.
                with self.accelerator.autocast():
                    for optimizer in self.optimizers:
                        optimizer.step()
                for optimizer in self.optimizers:
                    optimizer.zero_grad()
        if self.ema is not None:
            self.ema.step(self.parameters)
        gathered: Any = self.accelerator.gather(torch.stack(losses).mean()[None])
        mean = float(gathered.mean())
        if not mean < float("inf"):
            raise ValueError(
                f"The loss of step {step + 1} is {mean}; go on from the last checkpoint with a "
                "lower learning rate, or look at the data."
            )
        lr = self.settings.optimizer.lr * rate(step, self.settings.optimizer)
        seconds = round(time.perf_counter() - began, 4)
        return {"step": step + 1, "loss": mean, "grad_norm": norm, "lr": lr, "seconds": seconds}

    def _loss(self, batch: Batch) -> Tensor:
        distill, objective = self.settings.distill, self.settings.objective
        if distill is None:
            return diffusion_loss(self.model, batch, self.schedule, objective)
        return distillation_loss(
            self.model,
            self.teacher,
            batch,
            self.texts["negative"],
            distill,
            self.schedule,
            objective,
        )

    def _clip(self, step: int) -> float:
        # An infinite limit measures the norm on every kind of distribution and changes nothing.
        measured = self.accelerator.clip_grad_norm_(self.parameters, float("inf"))
        if measured is None:
            return 0.0
        norm = float(measured)
        limit = norm_limit(norm, step, self.settings.optimizer)
        self.accelerator.clip_grad_norm_(self.parameters, limit)
        return norm

    # ------------------------------------------------------------------------------------- data

    def _open_data(self) -> None:
        settings, self.encoder = self.settings, None
        if settings.data.latents:
            check_cache(settings, self.config, settings.data.latents)
            self.texts = read_texts(settings.data.latents[0])
        else:
            self.encoder = make_encoder(
                settings, self.config, self.device, reference=settings.reference
            )
            self.texts = fixed_texts(self.encoder.embed)
        vae: Any = (
            self.encoder.vae if self.encoder else load_autoencoder(settings.model, self.device)
        )
        self.vae, self.scaling = vae, float(vae.config.scaling_factor)

    def _batches(self, steps_done: int) -> Iterator[list[Any]]:
        data, ranks = self.settings.data, self.accelerator
        stream = open_stream(self.settings, ranks.process_index, ranks.num_processes)
        taken = steps_done * data.accumulation * data.batch
        stream.load_state_dict(stream.state_dict(taken))
        return iter(
            DataLoader(stream, batch_size=data.batch, num_workers=data.workers, collate_fn=list)
        )

    def _draw(self, items: list[Any], step: int, turn: int) -> Batch:
        rank = self.accelerator.process_index
        generator = seeded("step", self.settings.seed, step, turn, rank)
        return self._batch(items, generator)

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

    def _load_teacher(self) -> Any:
        if self.settings.distill is None:
            return None
        check_steps(self.settings.distill)
        teacher: Any = build_model(teacher_settings(self.settings, self.settings.distill))
        return teacher.requires_grad_(False).eval().to(self.device)

    # ------------------------------------------------------------------------------ what is kept

    def _restore(self) -> int:
        found = self.checkpoints.latest()
        if found is None:
            return 0
        step, path = found
        self.checkpoints.load(path, step)
        return step

    def _keep(self, step: int) -> None:
        log, last = self.settings.log, step == self.settings.optimizer.steps
        if last or step % log.checkpoint_every == 0:
            self.checkpoints.save(step)
        if log.sample_every and (last or step % log.sample_every == 0):
            self._draw_pictures(step)

    @torch.no_grad()
    def _draw_pictures(self, step: int) -> None:
        """The same samples, made by the averaged weights. All ranks take part in the forward."""
        self._shown = self._shown or self._choose_shown()
        self.model.eval()
        with averaged(self.ema, self.model, self.parameters):
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

    def _make(self, batch: Batch) -> Tensor:
        distill, objective = self.settings.distill, self.settings.objective
        steps = self.settings.log.sample_steps if distill is None else distill.student_steps
        kind = objective.prediction
        clean = guided(self.model, batch, self.texts["negative"], 1.0, self.schedule, kind)
        return denoise(clean, batch.noise, steps, self.schedule)

    def _choose_shown(self) -> list[Batch]:
        stream = iter(open_stream(self.settings, 0, 1))
        count, seed = self.settings.log.sample_count, self.settings.seed
        return [self._batch([next(stream)], seeded("shown", seed, i)) for i in range(count)]

    def _write(self) -> None:
        lora = self.settings.lora is not None
        write_weights(self.accelerator, self.model, self.out / run_folder.MODEL, lora=lora)
        if self.ema is not None:
            with averaged(self.ema, self.model, self.parameters):
                average = self.out / run_folder.AVERAGE
                write_weights(self.accelerator, self.model, average, lora=lora)
        self.accelerator.wait_for_everyone()


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


def _check_distribution(accelerator: Accelerator, optimizers: int, settings: TrainSettings) -> None:
    kind = accelerator.distributed_type
    if optimizers > 1 and kind in SHARDED:
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
