"""The moving average of the weights that a stage trains: diffusers' own, swapped in for a while."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


def make_ema(parameters: Sequence[nn.Parameter], decay: float | None) -> EMAModel | None:
    """The average of the parameters, to be updated by `step` after every optimizer step."""
    return None if decay is None else EMAModel(parameters, decay=decay, foreach=False)


@contextmanager
def averaged(
    ema: EMAModel | None, model: nn.Module, parameters: Sequence[nn.Parameter]
) -> Generator[None]:
    """Within it the model's parameters are their averages; afterwards themselves, bit for bit."""
    if ema is None:
        yield
        return
    kept = [p.detach().clone() for p in parameters]
    ema.copy_to(parameters)
    _forget_gathered(model)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, own in zip(parameters, kept, strict=True):
                parameter.copy_(own)
        _forget_gathered(model)


def ema_tensors(ema: EMAModel) -> dict[str, Tensor]:
    """The average's own part of a checkpoint; of sharded weights this process's shards."""
    return {f"{i:05d}": local(p).contiguous() for i, p in enumerate(ema.shadow_params)}


def load_ema(ema: EMAModel, tensors: dict[str, Tensor], step: int) -> None:
    """Put back what `ema_tensors` gave after `step` updates."""
    ema.optimization_step = step
    for i, average in enumerate(ema.shadow_params):
        local(average).copy_(tensors[f"{i:05d}"])


def _forget_gathered(model: nn.Module) -> None:
    # FSDP keeps the gathered weights of the outermost module after a forward pass, and would go on
    # with these after the shards have changed.
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def local(tensor: Any) -> Tensor:
    """This process's part of a tensor, which is all of it unless FSDP shards it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
