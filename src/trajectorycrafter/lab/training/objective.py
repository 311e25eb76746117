"""The loss: what is drawn for a step, what the network must say, and how far off it is.

The one thing a reader would get wrong: the autoencoder's scaling multiplies everything the network
gets, the mask included.

Sources: CogVideoX-Fun's training of its inpainting model, to which the authors refer; v-prediction
of Salimans & Ho 2022 (arXiv:2202.00512), zero terminal SNR of Lin et al. 2023 (arXiv:2305.08891).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from jaxtyping import Float, Int
from torch import Tensor

from ...config.training import ObjectiveSettings
from .examples import Example
from .seeds import happens, integer

RELEASED_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "clip_sample": False,
    "timestep_spacing": "trailing",
}
"""The released noise schedule, as published with the CogVideoX-Fun family."""
LAST = 999
"""The timestep of pure noise."""
HIGH_FROM = 400
"""The lowest timestep of `timesteps="high"`."""


@dataclass(frozen=True)
class Batch:
    """What a step has drawn."""

    clean: Float[Tensor, "B f c h w"]
    """The target's latents, scaled."""
    noise: Float[Tensor, "B f c h w"]
    timesteps: Int[Tensor, " B"]
    condition: Float[Tensor, "B f k h w"]
    """Mask and render, then mask and render of the second condition if there is one; scaled."""
    text: Float[Tensor, "B L e"]
    known: Float[Tensor, "B f 1 h w"]
    """Share that was seen, 0 to 1, unscaled."""
    reference: Float[Tensor, "B rf rc h w"] | None = None

    @property
    def base(self) -> Float[Tensor, "B f c h w"]:
        """The render's latents, to which `prediction="x0"` adds."""
        return self.condition[:, :, 1 : 1 + self.clean.shape[2]]


def noise_schedule() -> DDPMScheduler:
    """The released schedule, for training."""
    made: Any = DDPMScheduler.from_config(RELEASED_SCHEDULE)
    return made


def draw_batch(
    examples: Sequence[Example],
    empty_text: Float[Tensor, "L e"],
    settings: ObjectiveSettings,
    scaling: float,
    generator: torch.Generator,
) -> Batch:
    """Everything random of a step, sample after sample from one generator.

    Raises:
        ValueError: If the samples differ in size or length.
    """
    shapes = {
        (tuple(e.target.mean.shape), e.reference and tuple(e.reference.mean.shape))
        for e in examples
    }
    if len(shapes) != 1:
        raise ValueError(
            "Expected samples of one size and length in a batch, got latents "
            f"{sorted(shapes, key=str)}; use a batch of 1 (--batch 1 --accumulation N), or folders "
            "of one size."
        )
    drawn = [_draw(e, empty_text, settings, scaling, generator) for e in examples]
    return Batch(**{name: torch.stack([d[name] for d in drawn]) for name in drawn[0]})


def shift_and_scale(
    noisy: Float[Tensor, "B f c h w"],
    timesteps: Int[Tensor, " B"],
    base: Float[Tensor, "B f c h w"],
    schedule: Any,
    prediction: str,
) -> tuple[Float[Tensor, "B f c h w"], Tensor | float]:
    """What the network says of noisy latents: clean latents are shift + scale * output."""
    if prediction == "x0":
        return base, 1.0
    alpha, sigma = alpha_sigma(schedule, timesteps, noisy)
    return alpha * noisy, -sigma


def alpha_sigma(
    schedule: Any, timesteps: Int[Tensor, " B"], like: Tensor
) -> tuple[Float[Tensor, "B 1 1 1 1"], Float[Tensor, "B 1 1 1 1"]]:
    """Shares of signal and noise: noisy = alpha * clean + sigma * noise; -1 is the clean end."""
    end = torch.ones(1, device=like.device)
    alpha_bar = torch.cat([schedule.alphas_cumprod.to(like.device), end])[timesteps]
    alpha_bar = alpha_bar.to(like.dtype).reshape(-1, 1, 1, 1, 1)
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def predict(
    model: Any, batch: Batch, noisy: Float[Tensor, "B f c h w"], timesteps: Int[Tensor, " B"]
) -> Float[Tensor, "B f c h w"]:
    """The network's output for noisy latents under a batch's conditions, float32."""
    dtype = next(model.parameters()).dtype
    reference = None if batch.reference is None else batch.reference.to(dtype)
    return model(
        hidden_states=noisy.to(dtype),
        encoder_hidden_states=batch.text.to(dtype),
        timestep=timesteps,
        condition_latents=batch.condition.to(dtype),
        reference_latents=reference,
        return_dict=False,
    )[0].float()


def diffusion_loss(
    model: Any, batch: Batch, schedule: Any, settings: ObjectiveSettings
) -> Float[Tensor, ""]:
    """Mean squared error, float32, of velocity or clean latents."""
    noisy = schedule.add_noise(batch.clean, batch.noise, batch.timesteps)
    output = predict(model, batch, noisy, batch.timesteps)
    if settings.prediction == "v":
        target = schedule.get_velocity(batch.clean, batch.noise, batch.timesteps)
    else:
        target = batch.clean - batch.base
    return squared_error(output, target, batch.known, settings.hole_weight)


def squared_error(
    output: Float[Tensor, "B f c h w"],
    target: Float[Tensor, "B f c h w"],
    known: Float[Tensor, "B f 1 h w"],
    hole_weight: float,
) -> Float[Tensor, ""]:
    """Mean squared error with `hole_weight` where nothing was seen and 1 where all was."""
    weight = known + hole_weight * (1 - known)
    error = (output.float() - target.float()) ** 2
    return (weight * error).mean() / weight.mean()


def _draw(
    example: Example,
    empty_text: Tensor,
    settings: ObjectiveSettings,
    scaling: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """One sample's part of a batch. The order of the draws is part of what a seed means."""
    clean = example.target.draw(generator) * scaling
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    if settings.timesteps == "uniform":
        timestep = integer(LAST + 1, generator)
    elif happens(0.5, generator):
        timestep = LAST
    else:
        timestep = HIGH_FROM + integer(LAST + 1 - HIGH_FROM, generator)
    dropped = happens(settings.drop_condition, generator)
    views = []
    for view in (example.render, example.memory):
        if view is not None:
            latents = view.latents.draw(generator)
            both = torch.cat([view.known.to(latents), latents], dim=1) * scaling
            if not view.seen:
                # Mostly zeros, which is how inference says that nothing was seen; sometimes black.
                both = both * (not happens(settings.drop_all_hole, generator))
            views.append(both)
    drawn = {
        "clean": clean,
        "noise": noise,
        "timesteps": torch.tensor(timestep, device=clean.device),
        "condition": torch.cat(views, dim=1) * (not dropped),
        "known": example.render.known.to(torch.float32),
    }
    if example.reference is not None:
        reference = example.reference.draw(generator) * scaling
        drawn["reference"] = reference * (not happens(settings.drop_reference, generator))
    text = empty_text if happens(settings.drop_text, generator) else example.text
    return drawn | {"text": text.to(clean.device, torch.float32)}
