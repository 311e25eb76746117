"""What a killed run goes on from, and the weights that a finished one leaves.

A checkpoint of an unsharded run holds only what is trained, since the frozen rest comes from
`start`; a sharded one (FSDP, DeepSpeed) is accelerate's own.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn

from ...model.checkpoints import save
from ...model.transformer import DualStreamTransformer
from ...runtime.files import write_json
from .ema import ema_tensors, load_ema
from .lora import save_lora

TRAINED = "trained.safetensors"
RUN = "run.json"
SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)


class Checkpoints:
    """The latest `keep` checkpoints of one run, each in a folder `step-000123`."""

    def __init__(
        self,
        folder: Path,
        accelerator: Accelerator,
        trained: Mapping[str, nn.Parameter],
        ema: EMAModel | None,
        keep: int,
    ) -> None:
        self.folder, self.accelerator, self.keep = folder, accelerator, keep
        self.trained, self.ema = trained, ema
        self._sharded = accelerator.distributed_type in SHARDED
        if not self._sharded:
            accelerator.register_save_state_pre_hook(self._save_trained)
            accelerator.register_load_state_pre_hook(self._load_trained)

    def save(self, step: int) -> None:
        """Write a checkpoint; it has its name only when it is complete. All ranks call this."""
        path = self.folder / f"step-{step:06d}"
        partial = self.folder / f".partial.{path.name}"
        main = self.accelerator.is_main_process
        if main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(partial))
        if self.ema is not None and (main or self._sharded):
            save_file(ema_tensors(self.ema), partial / self._ema_file)
        self.accelerator.wait_for_everyone()
        if main:
            write_json({"step": step, "processes": self.accelerator.num_processes}, partial / RUN)
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
            for old in sorted(self.folder.glob("step-*"))[: -self.keep]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def restore(self) -> int:
        """Put the last whole checkpoint back; returns its step, 0 if there is none.

        Raises:
            ValueError: If it was written by another number of processes.
        """
        found = sorted(self.folder.glob("step-*"))
        if not found:
            return 0
        about = json.loads((found[-1] / RUN).read_text())
        if about["processes"] != self.accelerator.num_processes:
            raise ValueError(
                f"Expected {about['processes']} processes, as the run had, got "
                f"{self.accelerator.num_processes}; an exact continuation needs as many."
            )
        self.accelerator.load_state(str(found[-1]))
        if self.ema is not None:
            load_ema(self.ema, load_file(found[-1] / self._ema_file), about["step"])
        return about["step"]

    @property
    def _ema_file(self) -> str:
        return f"ema-{self.accelerator.process_index if self._sharded else 0:05d}.safetensors"

    def _save_trained(self, models: list[Any], weights: list[Any], place: str) -> None:
        if self.accelerator.is_main_process:
            tensors = {name: p.detach().contiguous() for name, p in self.trained.items()}
            save_file(tensors, Path(place) / TRAINED)
        weights.clear()

    def _load_trained(self, models: list[Any], place: str) -> None:
        tensors = load_file(Path(place) / TRAINED)
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(tensors[name])
        models.clear()


def write_weights(
    accelerator: Accelerator, model: Any, folder: Path, *, lora: bool, overwrite: bool = True
) -> None:
    """The model's weights, gathered from all ranks, as `load_transformer` or diffusers loads them.

    All ranks call this; the main one writes.
    """
    state: Any = accelerator.get_state_dict(model)
    if not accelerator.is_main_process:
        return
    inner: Any = accelerator.unwrap_model(model)
    if lora:
        folder.mkdir(parents=True, exist_ok=True)
        save_lora(inner, folder, state)
        return
    with torch.device("meta"):
        whole: Any = DualStreamTransformer.from_config(inner.config)
    state = {name: tensor.contiguous().cpu() for name, tensor in state.items()}
    whole.load_state_dict(state, strict=True, assign=True)
    save(whole, folder, overwrite=overwrite)
