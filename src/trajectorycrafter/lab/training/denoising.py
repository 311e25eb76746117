"""Deterministic sampling in latents, for pictures during training and for distillation.

Steps are "trailing" (999 first, and the last one ends at clean latents), as the released pipeline
takes them.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .objective import LAST, alpha_sigma

Clean = Callable[[Tensor, Tensor], Tensor]
"""The clean latents `B f c h w` that a model sees in noisy ones at timesteps ` B`."""
END = -1
"""The timestep after the last."""


def trailing_timesteps(steps: int) -> list[int]:
    """The timesteps of a run of `steps` steps, first to last (Lin et al. 2023, Table 2).

    Raises:
        ValueError: If there is not at least one step, or more than timesteps.
    """
    if not 1 <= steps <= LAST + 1:
        raise ValueError(f"Expected 1 to {LAST + 1} steps, got {steps}.")
    return [round((LAST + 1) * (1 - i / steps)) - 1 for i in range(steps)]


def ddim_step(
    clean: Float[Tensor, "B f c h w"],
    noisy: Float[Tensor, "B f c h w"],
    now: Int[Tensor, " B"],
    then: Int[Tensor, " B"],
    schedule: Any,
) -> Float[Tensor, "B f c h w"]:
    """Noisy latents at an earlier timestep; -1 is the end, clean latents (DDIM with eta 0)."""
    alpha, sigma = alpha_sigma(schedule, now, noisy)
    alpha_then, sigma_then = alpha_sigma(schedule, then, noisy)
    return alpha_then * clean + sigma_then / sigma * (noisy - alpha * clean)


def denoise(
    clean: Clean, noise: Float[Tensor, "B f c h w"], steps: int, schedule: Any
) -> Float[Tensor, "B f c h w"]:
    """Clean latents, by DDIM over trailing timesteps."""
    timesteps = [*trailing_timesteps(steps), END]
    latents = noise
    for pair in zip(timesteps, timesteps[1:]):
        now, then = (torch.full((len(noise),), t, device=noise.device) for t in pair)
        latents = ddim_step(clean(latents, now), latents, now, then, schedule)
    return latents
