"""Samples into cached latents: the job that runs once before long trainings.

A cache is made for one autoencoder, text encoder and kind of noise; `check_cache` refuses to train
on one that was made for another.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from ...config.training import TrainSettings
from .examples import Encoder
from .latents import read_about, write_cache
from .parts import load_autoencoder, load_text
from .stages import model_config

DTYPES = {"float16": torch.float16, "float32": torch.float32}


def make_encoder(
    settings: TrainSettings, config: Any, device: torch.device, *, reference: bool = True
) -> Encoder:
    """What turns samples into examples for a transformer of this configuration."""
    return Encoder(
        load_autoencoder(settings.model, device),
        load_text(settings.model, config, device),
        settings.objective,
        noisy=config.add_noise_in_inpaint_model,
        reference=reference,
        memory=settings.model.memory,
        filled=settings.model.filled,
        patch_size=config.patch_size,
        seed=settings.seed,
    )


def encode(
    settings: TrainSettings, out: str | Path, *, dtype: str = "float16", per_file: int = 64
) -> list[Path]:
    """Cache the latents of every folder of samples; returns the caches, one a folder.

    Under `accelerate launch` the processes share the work. A run that was stopped goes on.

    Args:
        out: The caches are made in here, named as the folders of samples.
        dtype: float16 or float32, of the stored latents.

    Raises:
        ValueError: If there are no samples, two folders of one name, or latents made otherwise.
    """
    folders = settings.data.samples
    if not folders or len({folder.name for folder in folders}) < len(folders):
        raise ValueError(
            f"Expected folders of samples with different names, got {list(map(str, folders))}."
        )
    if dtype not in DTYPES:
        raise ValueError(f"Expected a dtype of {', '.join(DTYPES)}, got {dtype!r}.")
    state = PartialState(cpu=settings.device == "cpu")
    config, device = model_config(settings.model), state.device
    assert device is not None
    encoder = make_encoder(settings, config, device)
    about = {**described(settings, config), "seed": settings.seed}
    caches = [Path(out) / folder.name for folder in folders]
    for folder, cache in zip(folders, caches, strict=True):
        write_cache(
            encoder,
            folder,
            cache,
            about=about,
            variants=max(1, settings.data.variants),
            dtype=DTYPES[dtype],
            per_file=per_file,
            rank=state.process_index,
            world_size=state.num_processes,
        )
    state.wait_for_everyone()
    return caches


def described(settings: TrainSettings, config: Any) -> dict[str, Any]:
    """What latents depend on."""
    objective, noisy = settings.objective, bool(config.add_noise_in_inpaint_model)
    return {
        "autoencoder": settings.model.autoencoder,
        "text": settings.model.text,
        "memory": settings.model.memory,
        "filled": settings.model.filled,
        "posterior": objective.posterior,
        "noise": [objective.noise_log_mean, objective.noise_log_std] if noisy else None,
    }


def check_cache(settings: TrainSettings, config: Any, folders: Iterable[Path]) -> None:
    """Raises ValueError unless latents were made for these settings; says what differs.

    Raises:
        FileNotFoundError: If a folder is not a cache.
    """
    wanted = described(settings, config).items()
    for folder in folders:
        about = read_about(folder)
        odd = [f"{k} ({about.get(k)} there, {v} here)" for k, v in wanted if about.get(k, 0) != v]
        if odd:
            raise ValueError(
                f"{folder} was made with other settings: {', '.join(odd)}. Encode the samples "
                "again, or train with the cache's settings."
            )
