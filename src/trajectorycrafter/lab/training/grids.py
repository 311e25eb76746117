"""Pictures of a training run: the same few samples, re-made every so many steps.

The one thing a reader would get wrong: target and render are shown as the autoencoder gives them
back, so what is left between target and result is the transformer's doing alone.
"""

from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from .objective import Batch

FRAMES = 4
"""Frames shown of each clip, evenly spaced."""


def decode(vae: Any, latents: Float[Tensor, "f c h w"], scaling: float) -> Float[Tensor, "T 3 H W"]:
    """Frames in [0, 1] of scaled latents."""
    z = rearrange(latents / scaling, "f c h w -> 1 c f h w").to(vae.device, vae.dtype)
    decoded = vae.decode(z).sample[0].transpose(0, 1)
    return (decoded.float() / 2 + 0.5).clamp(0, 1).cpu()


@torch.no_grad()
def grid(
    vae: Any, batches: list[Batch], results: list[Tensor], scaling: float
) -> UInt8[np.ndarray, "H W 3"]:
    """For every sample a row of frames each: target, render, result."""
    rows = []
    for batch, result in zip(batches, results, strict=True):
        for latents in (batch.clean[0], batch.base[0], result[0]):
            frames = decode(vae, latents, scaling)
            shown = torch.linspace(0, len(frames) - 1, FRAMES).round().long()
            rows.append(rearrange(frames[shown], "t c y x -> c y (t x)"))
    picture = rearrange(torch.cat(rows, dim=1), "c y x -> y x c")
    return (picture * 255).round().to(torch.uint8).numpy()
