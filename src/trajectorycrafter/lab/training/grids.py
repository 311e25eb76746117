"""Pictures of a training run: the same few samples, made again every so many steps.

Target and render are shown as the autoencoder gives them back, so what is left between target and
result is the transformer's doing alone.
"""

from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from .objective import Batch

FRAMES = 4
"""Frames shown of each clip, evenly spaced."""


@torch.no_grad()
def grid(
    vae: Any, batches: list[Batch], results: list[Tensor], scaling: float
) -> UInt8[np.ndarray, "H W 3"]:
    """For every sample a row of frames each: target, render, result."""
    rows = []
    for batch, result in zip(batches, results, strict=True):
        for latents in (batch.clean[0], batch.base[0], result[0]):
            z = rearrange(latents / scaling, "f c h w -> 1 c f h w").to(vae.device, vae.dtype)
            frames = vae.decode(z).sample[0].transpose(0, 1)
            frames = (frames.float() / 2 + 0.5).clamp(0, 1).cpu()
            shown = torch.linspace(0, len(frames) - 1, FRAMES).round().long()
            rows.append(rearrange(frames[shown], "t c y x -> c y (t x)"))
    picture = rearrange(torch.cat(rows, dim=1), "c y x -> y x c")
    return (picture * 255).round().to(torch.uint8).numpy()
