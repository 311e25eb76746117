"""What the model is given: render, visibility, reference and text, turned into tensors here only.

The one thing a reader would get wrong: outside this file frames are [0, 1] and `visible` is True
where something was seen. The released model wants [-1, 1] with holes of exactly -1, a mask that is
1 where seen, and 0.7 (the autoencoder's scaling) times everything, the mask included.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

CONDITION_NOISE_SIGMA = 0.0563
"""Noise on the render at inference: exp of the mean plus half the variance used in training."""


@dataclass(frozen=True)
class Conditions:
    """Everything that stays the same over the denoising steps of one clip."""

    text: Float[Tensor, "branches L e"]
    """Text embeddings: negative then positive if there is guidance, else positive alone."""
    condition_latents: Float[Tensor, "1 f c h w"]
    """Mask channel first, then the render's latents."""
    reference_latents: Float[Tensor, "1 rf rc rh rw"] | None
    """Latents of the reference frames; None leaves the reference out."""


def check_clip(
    render: Float[Tensor, "T 3 H W"],
    visible: Bool[Tensor, "_ 1 _ _"],
    reference: Float[Tensor, "R 3 h w"] | None,
    *,
    multiple: int = 16,
    frame_period: int = 8,
) -> None:
    """Checks before anything long begins that the model can take a clip.

    Args:
        multiple: What height and width must be multiples of: autoencoder factor times patch size.
        frame_period: Clips have a multiple of this many frames and one more.

    Raises:
        ValueError: If a size, frame count or value range does not fit; says what to use.
    """
    frames, period = len(render), frame_period
    if frames % period != 1 or frames == 1:
        below = max((frames - 1) // period, 1) * period + 1
        raise ValueError(
            f"Expected {period}k+1 frames ({', '.join(str(period * k + 1) for k in range(1, 7))}), "
            f"got {frames}: with any other count the autoencoder gives back another number of "
            f"frames than went in. Use {below} or {below + period}."
        )
    _check_frames("render", render, multiple)
    if visible.shape != (len(render), 1, *render.shape[2:]):
        raise ValueError(
            f"Expected visible to be {[len(render), 1, *render.shape[2:]]} like the render, got "
            f"{list(visible.shape)}."
        )
    if reference is None:
        return
    _check_frames("reference", reference, multiple)
    if len(reference) in (0, 2, 3):
        raise ValueError(
            f"Expected 1 or at least 4 reference frames, got {len(reference)}; 9 or 13 suit the "
            "autoencoder best (4k+1), the released system takes 10."
        )


def render_latents(
    vae: Any,
    render: Float[Tensor, "T 3 H W"],
    visible: Bool[Tensor, "T 1 H W"],
    noise: Float[Tensor, "T 3 H W"] | None = None,
) -> Float[Tensor, "1 f c h w"]:
    """Condition latents: visibility resized to the latent grid, then the encoded render.

    Args:
        noise: Standard normal noise, added with sigma 0.0563 where the render is not black; None
            adds none.
    """
    scaling = vae.config.scaling_factor
    video = torch.where(visible, render * 2 - 1, -1.0)
    if noise is not None:
        video = torch.where(video == -1, video, video + CONDITION_NOISE_SIGMA * noise)
    latents = encode(vae, video).mode() * scaling
    mask = latent_mask(visible, latents.shape[2:]).to(latents) * scaling
    if not visible.any():
        # Nothing seen is text-to-video, which the released model was told by zeros.
        latents, mask = torch.zeros_like(latents), torch.zeros_like(mask)
    return torch.cat([mask, latents], dim=1).transpose(1, 2)


def reference_latents(
    vae: Any,
    reference: Float[Tensor, "R 3 H W"],
    generator: torch.Generator | None,
    posterior: str = "sample",
) -> Float[Tensor, "1 rf rc rh rw"]:
    """Latents of the reference frames: a posterior "sample" as released, or its "mode"."""
    distribution = encode(vae, reference * 2 - 1)
    drawn = distribution.sample(generator) if posterior == "sample" else distribution.mode()
    return (drawn * vae.config.scaling_factor).transpose(1, 2)


def text_embeddings(
    tokenizer: Any, text_encoder: Any, prompts: list[str], tokens: int, device: torch.device
) -> Float[Tensor, "prompts tokens e"]:
    """T5 embeddings padded to `tokens`; padding is attended to, as in training."""
    ids = tokenizer(
        prompts,
        padding="max_length",
        max_length=tokens,
        truncation=True,
        add_special_tokens=True,
        return_tensors="pt",
    ).input_ids
    return text_encoder(ids.to(device))[0]


def draw_noise(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Standard normal noise from the generator's own device, then moved: one seed, one result."""
    return randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)


def encode(vae: Any, video: Float[Tensor, "T 3 H W"]) -> Any:
    batch = video.transpose(0, 1)[None].to(vae.dtype)
    return vae.encode(batch).latent_dist


def latent_mask(
    visible: Bool[Tensor, "T 1 H W"], size: torch.Size | tuple[int, int, int]
) -> Float[Tensor, "1 1 f h w"]:
    # The first latent frame stands for the first frame alone, the others for four each.
    frames, height, width = size
    seen = visible.to(torch.float32).transpose(0, 1)[None]
    first = F.interpolate(seen[:, :, :1], (1, height, width), mode="trilinear")
    rest = F.interpolate(seen[:, :, 1:], (frames - 1, height, width), mode="trilinear")
    return torch.cat([first, rest], dim=2)


def _check_frames(name: str, frames: Tensor, multiple: int) -> None:
    height, width = frames.shape[2:]
    if height % multiple or width % multiple or not height or not width:
        fits = [max(round(side / multiple), 1) * multiple for side in (height, width)]
        raise ValueError(
            f"Expected {name} whose height and width are multiples of {multiple}, got "
            f"{height}x{width}; resize or crop it to {fits[0]}x{fits[1]}."
        )
    low, high = (frames.aminmax()) if frames.numel() else (torch.zeros(()), torch.zeros(()))
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(
            f"Expected {name} values in [0, 1], got {low.item():.3g} to {high.item():.3g}; "
            "divide 8-bit frames by 255 and replace NaN."
        )
