"""The tiny models behind the golden numbers, with the released parameter names."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from safetensors.torch import load_file
from torch import Tensor

from trajectorycrafter.model.sampling import TrajectoryCrafterPipeline, load_sampler
from trajectorycrafter.model.transformer import DualStreamTransformer

GOLDEN = Path(__file__).parent / "golden"


def tensors(name: str) -> dict[str, Tensor]:
    """The tensors of a golden file, named without its suffix."""
    return load_file(GOLDEN / f"{name}.safetensors")


def config(name: str) -> dict[str, Any]:
    """A golden configuration."""
    return json.loads((GOLDEN / f"{name}.config.json").read_text())


def transformer(case: str = "rotary", **changes: Any) -> DualStreamTransformer:
    """The golden transformer in one of its configurations: rotary, sincos or nocross."""
    return _filled(
        config(f"transformer/transformer_{case}"),
        "transformer/transformer_rotary.weights",
        changes,
    )


def _filled(
    settings: dict[str, Any], weights: str, changes: dict[str, Any]
) -> DualStreamTransformer:
    model = DualStreamTransformer(**{**settings, **changes})
    wanted = model.state_dict().keys()
    model.load_state_dict({name: w for name, w in tensors(weights).items() if name in wanted})
    return model.eval()


def vae() -> AutoencoderKLCogVideoX:
    """The golden autoencoder."""
    model = AutoencoderKLCogVideoX(**config("vae/vae"))
    model.load_state_dict(tensors("vae/vae.weights"))
    return model.eval()


def pipeline(sampler: str = "DDIM_Origin", **changes: Any) -> TrajectoryCrafterPipeline:
    """The golden pipeline, which has no text encoder; `changes` go to the transformer."""
    configs = config("pipeline/pipeline")
    model = _filled(configs["transformer"], "pipeline/pipeline_transformer.weights", changes)
    made = TrajectoryCrafterPipeline(
        None, None, vae(), model, load_sampler(sampler, configs["scheduler"])
    )
    made.set_progress_bar_config(disable=True)
    return made


def inputs() -> dict[str, Any]:
    """The golden pipeline's call, in this package's layout and polarity."""
    given = tensors("pipeline/pipeline.inputs")
    return {
        "render": given["video"][0].transpose(0, 1),
        "visible": given["mask_video"][0].transpose(0, 1) < 128,
        "reference": given["reference"][0].transpose(0, 1),
        "prompt_embeds": given["prompt_embeds"],
        "negative_prompt_embeds": given["negative_prompt_embeds"],
        "latents": given["initial_latents"],
    }


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)
