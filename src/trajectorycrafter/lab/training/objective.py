"""The loss: what is drawn for a step, what the network must say, and how far off it is.

The one thing a reader would get wrong: the autoencoder's scaling multiplies everything the network
gets, the mask included, and the timestep that noises the latents is the one the network is told.

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
from .examples import Example, View
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
    reference: Float[Tensor, "B rf rc h w"] | None
    text: Float[Tensor, "B L e"]
    known: Float[Tensor, "B f 1 h w"]
    """Share that was seen, 0 to 1, unscaled."""

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
    _check_alike(examples)
    drawn = [_draw(e, empty_text, settings, scaling, generator) for e in examples]
    stacked: dict[str, Any] = {name: _stack([d[name] for d in drawn]) for name in drawn[0]}
    return Batch(**stacked)


def clean_estimate(
    output: Float[Tensor, "B f c h w"],
    noisy: Float[Tensor, "B f c h w"],
    timesteps: Int[Tensor, " B"],
    base: Float[Tensor, "B f c h w"],
    schedule: Any,
    prediction: str,
) -> Float[Tensor, "B f c h w"]:
    """The clean latents that the network's output speaks of."""
    if prediction == "x0":
        return base + output
    alpha, sigma = alpha_sigma(schedule, timesteps, noisy)
    return alpha * noisy - sigma * output


def network_target(
    clean: Float[Tensor, "B f c h w"],
    noisy: Float[Tensor, "B f c h w"],
    timesteps: Int[Tensor, " B"],
    base: Float[Tensor, "B f c h w"],
    schedule: Any,
    prediction: str,
) -> Float[Tensor, "B f c h w"]:
    """What the network must say of noisy latents so that `clean_estimate` gives `clean`."""
    if prediction == "x0":
        return clean - base
    alpha, sigma = alpha_sigma(schedule, timesteps, noisy)
    return (alpha * noisy - clean) / sigma


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
    model: Any,
    batch: Batch,
    schedule: Any,
    settings: ObjectiveSettings,
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
) -> dict[str, Tensor | None]:
    clean = example.target.draw(generator) * scaling
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    timestep = _timestep(settings.timesteps, generator)
    dropped = happens(settings.drop_condition, generator)
    views = [example.render] + ([] if example.memory is None else [example.memory])
    condition = torch.cat([_condition(v, settings, scaling, generator) for v in views], dim=1)
    reference = None
    if example.reference is not None:
        reference = example.reference.draw(generator) * scaling
        reference = reference * (not happens(settings.drop_reference, generator))
    without_text = happens(settings.drop_text, generator)
    return {
        "clean": clean,
        "noise": noise,
        "timesteps": torch.tensor(timestep, device=clean.device),
        "condition": condition * (not dropped),
        "reference": reference,
        "text": (empty_text if without_text else example.text).to(clean.device, torch.float32),
        "known": example.render.known.to(torch.float32),
    }


def _timestep(kind: str, generator: torch.Generator) -> int:
    if kind == "uniform":
        return integer(LAST + 1, generator)
    if happens(0.5, generator):
        return LAST
    return HIGH_FROM + integer(LAST + 1 - HIGH_FROM, generator)


def _condition(
    view: View, settings: ObjectiveSettings, scaling: float, generator: torch.Generator
) -> Float[Tensor, "f k h w"]:
    latents = view.latents.draw(generator)
    both = torch.cat([view.known.to(latents), latents], dim=1) * scaling
    if view.seen:
        return both
    # Mostly zeros, which is how inference says that nothing was seen; sometimes plain black.
    return both * (not happens(settings.drop_all_hole, generator))


def _stack(items: list[Tensor | None]) -> Tensor | None:
    tensors = [item for item in items if item is not None]
    return torch.stack(tensors) if tensors else None


def _check_alike(examples: Sequence[Example]) -> None:
    shapes = {
        (tuple(e.target.mean.shape), e.reference and tuple(e.reference.mean.shape))
        for e in examples
    }
    if len(shapes) != 1:
        raise ValueError(
            f"Expected samples of one size and length in a batch, got latents {sorted(shapes)}; "
            "use a batch of 1 (--batch 1 --accumulation N), or folders of one size."
        )
