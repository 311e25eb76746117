"""The loop of every training: steps, rates, average, checkpoints, curve, and going on exactly.

What is learned is an `Objective`; this file knows nothing of it but its parameters and its loss.

Accelerate gets neither data loader nor scheduler: batches and rates are functions of the step, so a
checkpoint is weights, optimizer, average and torch's generators, and a run that goes on repeats the
unbroken one exactly.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm.auto import tqdm

from ...config.training import LogSettings, OptimizerSettings
from ...runtime.run_folder import RunFolder, opened
from . import run_folder
from .checkpointing import Checkpoints
from .ema import averaged, make_ema
from .optimizers import make_optimizers, norm_limit, set_rate


@runtime_checkable
class Objective(Protocol):
    """What is learned, and from what."""

    model: Any
    """The network; the loop puts what accelerate makes of it in its place."""
    trained: dict[str, nn.Parameter]
    """What moves of it, under the names that decide its optimizer; all else is frozen."""

    def rate(self, step: int) -> float | None:
        """Share of the full learning rates at a step, counted from 0; None ends the run."""
        ...

    def batches(self, done: int) -> Iterator[Any]:
        """All batches after the first `done` steps; called once, before `rate`."""
        ...

    def losses(self, batch: Any, step: int, turn: int) -> dict[str, Tensor]:
        """`loss`, which is minimized, and parts of it for the curve.

        Args:
            turn: which of the step's accumulated batches it is.
        """
        ...

    def look(self, loop: "Loop", step: int) -> None:
        """Show what has been learned after so many steps, as pictures or as scores."""
        ...

    def write(self, loop: "Loop") -> None:
        """Leave the weights."""
        ...


@dataclass(frozen=True)
class Pace:
    """How fast, and what is kept."""

    optimizer: OptimizerSettings
    log: LogSettings
    accumulation: int = 1
    """Batches a step."""


def learn(
    make: Callable[[Path], Objective],
    out: Path,
    record: dict[str, Any],
    pace: Pace,
    accelerator: Accelerator,
    *,
    inputs: Iterable[Path] = (),
    free: Collection[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    on_step: Callable[[int], object] | None = None,
) -> None:
    """Run an objective in a folder: from new, or from where it was stopped.

    Args:
        make: gets the folder that the run writes into.
        record: all that the run depends on, for `settings.json`.
        inputs: what the run reads and so must not replace.
        free: entries of the record that may change when a run goes on.
        resume: go on with the run in `out`, if there is one.

    Raises:
        ValueError: `out` is taken, or the loss is not finite.
    """
    if accelerator.is_main_process:
        run_folder.claim_run(out, record, inputs, free, resume=resume, overwrite=overwrite)
    accelerator.wait_for_everyone()
    folder = RunFolder(out, opened(out), run_folder.ALL)
    accelerator.project_configuration.logging_dir = str(folder.work / run_folder.TENSORBOARD)
    Loop(make(folder.work), folder.work, pace, accelerator).go(on_step)
    for tracker in accelerator.trackers:
        tracker.finish()
    if accelerator.is_main_process:
        folder.finish()
    accelerator.wait_for_everyone()
    accelerator.end_training()


class Loop:
    """An objective with its optimizers, average and checkpoints."""

    def __init__(
        self, objective: Objective, out: Path, pace: Pace, accelerator: Accelerator
    ) -> None:
        self.objective, self.out, self.pace, self.accelerator = objective, out, pace, accelerator
        optimizers = make_optimizers(objective.trained, pace.optimizer)
        model, *self.optimizers = accelerator.prepare(objective.model, *optimizers)
        objective.model = self.model = model.train()
        # FSDP puts sharded parameters in the place of those that the optimizer was made for.
        inner: Any = accelerator.unwrap_model(model)
        trained = {name: p for name, p in inner.named_parameters() if p.requires_grad}
        self.parameters = list(trained.values())
        self.ema = make_ema(self.parameters, pace.optimizer.ema)
        self.checkpoints = Checkpoints(
            out / run_folder.CHECKPOINTS, accelerator, trained, self.ema, pace.log.keep
        )

    def averaged(self) -> AbstractContextManager[None]:
        """Within it the weights are their averages, if there are any."""
        return averaged(self.ema, self.model, self.parameters)

    def go(self, on_step: Callable[[int], object] | None = None) -> None:
        """All steps that are left, then the weights."""
        step, main = self.checkpoints.restore(), self.accelerator.is_main_process
        batches, share = self.objective.batches(step), self.objective.rate(step)
        self.accelerator.init_trackers("run")
        curve = run_folder.open_curve(self.out, step) if main else None
        total = self.pace.optimizer.steps
        bar = tqdm(
            total=total, initial=step, desc="Training", leave=False, delay=1, disable=not main
        )
        while share is not None:
            line = self._step(step, share, batches)
            step += 1
            bar.set_postfix(loss=f"{line['loss']:.4f}", refresh=False)
            bar.update()
            if curve is not None:
                curve.add(line)
            self.accelerator.log({k: line[k] for k in ("loss", "grad_norm", "lr")}, step)
            share = self.objective.rate(step)
            last, log = share is None, self.pace.log
            if last or step % log.checkpoint_every == 0:
                self.checkpoints.save(step)
            if log.sample_every and (last or step % log.sample_every == 0):
                self.objective.look(self, step)
            if on_step is not None:
                on_step(step)
        bar.close()
        self.objective.write(self)

    def _step(self, step: int, share: float, batches: Iterator[Any]) -> dict[str, Any]:
        """One optimizer step: its line of the curve."""
        began, turns, norm = time.perf_counter(), [], 0.0
        for optimizer in self.optimizers:
            set_rate(optimizer, share)
        for turn in range(self.pace.accumulation):
            batch = next(batches)
            with self.accelerator.accumulate(self.model):
                losses = self.objective.losses(batch, step, turn)
                turns.append({name: loss.detach() for name, loss in losses.items()})
                self.accelerator.backward(losses["loss"])
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
        means = {name: torch.stack([t[name] for t in turns]).mean() for name in turns[0]}
        gathered: Any = self.accelerator.gather(means.pop("loss")[None])
        mean = float(gathered.mean())
        if not mean < float("inf"):
            raise ValueError(
                f"The loss of step {step + 1} is {mean}; go on from the last checkpoint with a "
                "lower learning rate, or look at the data."
            )
        lr, seconds = self.pace.optimizer.lr * share, round(time.perf_counter() - began, 4)
        line = {"step": step + 1, "loss": mean, "grad_norm": norm, "lr": lr, "seconds": seconds}
        return line | {name: float(value) for name, value in means.items()}

    def _clip(self, step: int) -> float:
        # An infinite limit measures the norm on every kind of distribution and changes nothing.
        measured = self.accelerator.clip_grad_norm_(self.parameters, float("inf"))
        if measured is None:
            return 0.0
        limit = norm_limit(norm := float(measured), step, self.pace.optimizer)
        self.accelerator.clip_grad_norm_(self.parameters, limit)
        return norm
