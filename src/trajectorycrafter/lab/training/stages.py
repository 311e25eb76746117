"""What a stage trains: the model with its start weights, and which of them may move.

The one thing a reader would get wrong: the base model has no reference branch, so a first stage
makes one, leaves it alone, and saves it; its `to_out` is zero, so the second stage begins with
exactly what the first one learned. (The released class does not do so, and its second stage begins
with a jump.)
"""

import inspect
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from ...config.training import ModelSettings, TrainSettings
from ...config.training_presets import REFERENCE
from ...model.transformer import DualStreamTransformer
from ...model.weight_files import model_folder, weight_files


def build_model(settings: ModelSettings, seed: int = 0) -> DualStreamTransformer:
    """The transformer in float32: new, or with the weights of `start`.

    What `start` has no weights for may only be the reference branch; it is new, and adds nothing
    until it is trained.

    Raises:
        FileNotFoundError: If `start` has no weights.
        ValueError: If they do not fit; names what does not.
    """
    # Initialization draws from the global generator, which is put back afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DualStreamTransformer(**_arguments(settings))
    found = set()
    if settings.start is not None:
        found = _copy_weights(model_folder(settings.start, settings.subfolder), model)
    if not any(name.startswith(REFERENCE[0]) for name in found):
        model.zero_init_reference()
    return model


def model_config(settings: ModelSettings) -> Any:
    """The transformer's whole configuration, without its weights."""
    with torch.device("meta"):
        return DualStreamTransformer(**_arguments(settings)).config


def choose_trained(model: nn.Module, settings: TrainSettings) -> dict[str, nn.Parameter]:
    """Let the stage's parameters move and freeze all others; returns those that move, by name.

    Raises:
        ValueError: If none is left.
    """
    chosen: dict[str, nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        rests = name.startswith(REFERENCE) and not settings.reference
        parameter.requires_grad_(name.startswith(settings.trains) and not rests)
        if parameter.requires_grad:
            chosen[name] = parameter
    if not chosen:
        raise ValueError(
            f"Expected parameters whose names begin with {', '.join(settings.trains)}, found none "
            "that this stage trains; a model without reference attentions has none for stage 2."
        )
    return chosen


def _arguments(settings: ModelSettings) -> dict[str, Any]:
    if settings.start is None:
        return settings.transformer
    folder = model_folder(settings.start, settings.subfolder)
    config: Any = DualStreamTransformer.load_config(folder)
    known = inspect.signature(DualStreamTransformer).parameters
    return {k: v for k, v in config.items() if k in known} | settings.transformer


def _copy_weights(folder: Path, model: nn.Module) -> set[str]:
    """Copy shard by shard, so that no second copy of the whole is held."""
    wanted, paths = model.state_dict(), weight_files(folder)
    found = {}
    for path in paths:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
    odd = [name for name in wanted.keys() ^ found.keys() if not name.startswith(REFERENCE)]
    odd += [n for n in wanted.keys() & found.keys() if tuple(wanted[n].shape) != found[n]]
    if odd:
        raise ValueError(
            f"The weights in {folder} do not fit the wanted transformer. Missing, unexpected or of "
            f"another shape: {', '.join(sorted(odd))}. Change the transformer's settings or start."
        )
    for path in paths:
        for name, weight in load_file(path).items():
            if name in wanted:
                wanted[name].copy_(weight)
    return set(found)
