"""The tiny models behind the golden numbers, with the released parameter names."""

import json
from pathlib import Path

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


def config(name: str) -> dict:
    """A golden configuration."""
    return json.loads((GOLDEN / f"{name}.config.json").read_text())


def transformer(case: str = "rotary", **changes) -> DualStreamTransformer:
    """The golden transformer in one of its configurations: rotary, sincos or nocross."""
    model = DualStreamTransformer.from_config(
        config(f"transformer/transformer_{case}"), **changes
    ).eval()
    weights = tensors("transformer/transformer_rotary.weights")
    wanted = model.state_dict().keys()
    model.load_state_dict({name: w for name, w in weights.items() if name in wanted})
    return model


def vae() -> AutoencoderKLCogVideoX:
    """The golden autoencoder."""
    model = AutoencoderKLCogVideoX.from_config(config("vae/vae")).eval()
    model.load_state_dict(tensors("vae/vae.weights"))
    return model


def pipeline(sampler: str = "DDIM_Origin", **changes) -> TrajectoryCrafterPipeline:
    """The golden pipeline, which has no text encoder; `changes` go to the transformer."""
    configs = config("pipeline/pipeline")
    model = DualStreamTransformer.from_config(configs["transformer"], **changes).eval()
    weights = tensors("pipeline/pipeline_transformer.weights")
    wanted = model.state_dict().keys()
    model.load_state_dict({name: w for name, w in weights.items() if name in wanted})
    made = TrajectoryCrafterPipeline(
        None, None, vae(), model, load_sampler(sampler, configs["scheduler"])
    )
    made.set_progress_bar_config(disable=True)
    return made


def inputs() -> dict[str, Tensor]:
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
