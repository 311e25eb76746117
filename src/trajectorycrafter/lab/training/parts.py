"""What stands around the transformer in training: autoencoder and text.

An autoencoder needs only diffusers' interface: `encode(x).latent_dist` with `mode()` and `std`,
`decode(z).sample`, and in `config` `scaling_factor`, `block_out_channels` and
`temporal_compression_ratio`.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import nn

from ...config.training import ModelSettings
from ...model.checkpoints import BASE
from ...model.codec import SpaceToDepthCodec
from ...model.conditions import text_embeddings
from ...model.embedded import WEIGHTS
from ...runtime import weights
from ...runtime.machine import pick_dtype
from ...runtime.plugins import load_plugin
from .examples import Embed

TINY_AUTOENCODER: dict[str, Any] = {
    "block_out_channels": (8, 8, 16, 16),
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "scaling_factor": 0.7,
}
ENCODE_BATCH_FRAMES = 4
"""Frames that the released system encodes at once; see `TrajectoryCrafterPipeline`."""


def load_autoencoder(settings: ModelSettings, device: torch.device) -> Any:
    """The autoencoder that the settings name, frozen.

    Raises:
        FileNotFoundError: If it is a folder that is not there, or released and not found.
        ValueError: If it is a plug-in that cannot be loaded.
    """
    name = settings.autoencoder
    vae: Any
    if name == "tiny":
        # Random but fixed weights: it codes, badly, in milliseconds.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            vae = AutoencoderKLCogVideoX(**TINY_AUTOENCODER)
    elif ":" in name and not Path(name).exists():
        made = load_plugin(name, "autoencoder", ("released", "tiny", "module:attribute"))
        vae = made if isinstance(made, nn.Module) else made()
    else:
        vae = _stored(name, settings, device)
    vae.num_sample_frames_batch_size = ENCODE_BATCH_FRAMES
    return vae.eval().requires_grad_(False).to(device)


def load_text(settings: ModelSettings, config: Any, device: torch.device) -> Embed:
    """What makes text embeddings for a transformer of this configuration."""
    tokens, channels = config.max_text_seq_length, config.text_embed_dim
    if settings.text == "empty":
        return lambda prompts: torch.zeros(len(prompts), tokens, channels, device=device)
    from transformers import AutoTokenizer, T5EncoderModel

    base = weights.fetch(BASE, settings.weights)
    tokenizer: Any = AutoTokenizer.from_pretrained(base / "tokenizer")
    encoder: Any = T5EncoderModel.from_pretrained(
        base / "text_encoder", dtype=pick_dtype("auto", device), use_safetensors=True
    )
    encoder.eval().requires_grad_(False).to(device)

    @torch.no_grad()
    def embed(prompts: list[str]) -> Any:
        return text_embeddings(tokenizer, encoder, prompts, tokens, device).float()

    return embed


def _stored(name: str, settings: ModelSettings, device: torch.device) -> Any:
    """The released autoencoder, the embedded codec, or either kind from a folder."""
    if name == "released":
        folder = weights.fetch(BASE, settings.weights) / "vae"
    else:
        folder = WEIGHTS / "codec" if name == "embedded" else Path(name)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"Expected an autoencoder's folder, but {folder} has no config.")
    described: Any = AutoencoderKLCogVideoX.load_config(folder)
    if described.get("_class_name") == SpaceToDepthCodec.__name__:
        return SpaceToDepthCodec.from_pretrained(folder, torch_dtype=torch.float32)
    vae: Any = AutoencoderKLCogVideoX.from_pretrained(folder, use_safetensors=True)
    return vae.to(dtype=pick_dtype("auto", device))
