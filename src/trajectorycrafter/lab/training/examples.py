"""Samples in latents: what the autoencoder makes of them, before anything is drawn.

Latents are kept as the autoencoder's posterior, unscaled; the draw from it and the scaling belong
to a training step (`objective.py`). Only the noise on the condition comes before the autoencoder,
so it is drawn here, from the sample's name and a variant.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...config.training import ObjectiveSettings
from ...model.conditions import check_clip, encode, latent_mask
from ...rendering.render import Render
from ...video.clip import Video
from ..samples import Kind, Sample
from .seeds import seeded

Embed = Callable[[list[str]], Float[Tensor, "prompts L e"]]
"""Text embeddings of prompts."""


@dataclass(frozen=True)
class Posterior:
    """The autoencoder's Gaussian over latents, unscaled."""

    mean: Float[Tensor, "f c h w"]
    std: Float[Tensor, "f c h w"] | None
    """None if the mean alone is used."""

    def draw(self, generator: torch.Generator) -> Float[Tensor, "f c h w"]:
        """Latents from the posterior, float32."""
        mean = self.mean.to(torch.float32)
        if self.std is None:
            return mean
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        return mean + self.std.to(torch.float32) * noise


@dataclass(frozen=True)
class View:
    """A render in latents."""

    latents: Posterior
    known: Float[Tensor, "f 1 h w"]
    """Share of each latent's place that was seen, 0 to 1."""
    seen: bool
    """Whether any pixel was."""


@dataclass(frozen=True)
class Example:
    """A sample as training takes it."""

    id: str
    kind: Kind
    target: Posterior
    render: View
    reference: Posterior | None
    memory: View | None
    text: Float[Tensor, "L e"]


class Encoder:
    """Makes examples of samples.

    Args:
        vae: Any object with the interface of diffusers' CogVideoX autoencoder; its `latent_dist`
            needs `mode()` and, to draw from the posterior, `std`.
        noisy: Whether the condition is noised (the model's `add_noise_in_inpaint_model`).
        reference, memory: Whether these are encoded.
        filled: Whether the classical completion is encoded in the render's place.
        patch_size: Of the transformer, for the check of sizes.
        seed: Of the noise on the condition.
    """

    def __init__(
        self,
        vae: Any,
        embed: Embed,
        settings: ObjectiveSettings,
        *,
        noisy: bool,
        reference: bool = True,
        memory: bool = False,
        filled: bool = False,
        patch_size: int = 2,
        seed: int = 0,
    ) -> None:
        self.vae, self.embed, self.settings = vae, embed, settings
        self.noisy, self.reference, self.memory = noisy, reference, memory
        self.filled, self.patch_size, self.seed = filled, patch_size, seed

    @torch.no_grad()
    def __call__(self, sample: Sample, variant: int = 0) -> Example:
        """The sample's example.

        Args:
            variant: Which draw of the noise on the condition.

        Raises:
            ValueError: If the sample's size or length does not suit the model.
        """
        config, render, memory = self.vae.config, sample.render, sample.memory
        check_clip(
            render.frames,
            render.visible,
            sample.reference.frames if self.reference else None,
            multiple=2 ** (len(config.block_out_channels) - 1) * self.patch_size,
            frame_period=config.get("frame_period", 2 * config.temporal_compression_ratio),
        )
        name = str(sample.info.get("id", ""))
        if self.filled and sample.filled is None:
            raise ValueError(f"Sample {name} has no completed render; curate with --filled.")
        if memory is None:
            # Nothing was seen at other moments, which is a render of holes alone.
            nothing = (torch.zeros_like(render.frames), torch.zeros_like(render.depth))
            memory = Render(*nothing, render.visible & False)
        generator = seeded("condition", self.seed, name, variant)
        sigma = self.sigma(generator)
        view = self._view(render, sigma, generator, sample.filled if self.filled else None)
        return Example(
            name,
            sample.kind,
            self._posterior(sample.target.frames * 2 - 1),
            view,
            self._posterior(sample.reference.frames * 2 - 1) if self.reference else None,
            self._view(memory, sigma, generator) if self.memory else None,
            self.embed([sample.caption])[0],
        )

    def sigma(self, generator: torch.Generator) -> float:
        """How strong the noise on a condition is: log-normal, 0 without noise."""
        if not self.noisy:
            return 0.0
        drawn = torch.randn((), generator=generator)
        return float((self.settings.noise_log_mean + self.settings.noise_log_std * drawn).exp())

    def _view(
        self,
        view: Render,
        sigma: float,
        generator: torch.Generator,
        completed: Video | None = None,
    ) -> View:
        shown = (view.frames, view.visible)
        if completed is not None:
            shown = (completed.frames, view.visible | True)
        latents = self._posterior(masked_video(*shown, sigma, generator))
        f, _, h, w = latents.mean.shape
        known = latent_mask(view.visible, (f, h, w))[0].transpose(0, 1)
        return View(latents, known.to(latents.mean.device), bool(view.visible.any()))

    def _posterior(self, video: Float[Tensor, "T 3 H W"]) -> Posterior:
        distribution = encode(self.vae, video.to(self.vae.device))
        mean = distribution.mode()[0].transpose(0, 1)
        if self.settings.posterior == "mode":
            return Posterior(mean, None)
        return Posterior(mean, distribution.std[0].transpose(0, 1))


def masked_video(
    frames: Float[Tensor, "T 3 H W"],
    visible: Bool[Tensor, "T 1 H W"],
    sigma: float,
    generator: torch.Generator,
) -> Float[Tensor, "T 3 H W"]:
    """The render as the autoencoder gets it: [-1, 1], holes exactly -1, the rest noised.

    Noise stays off every value that is exactly -1, black pixels included, as CogVideoX-Fun does.
    """
    video = torch.where(visible, frames * 2 - 1, -1.0)
    if sigma == 0:
        return video
    noise = torch.randn(video.shape, generator=generator).to(video.device)
    return torch.where(video == -1, video, video + sigma * noise)


def tensors(value: Any, place: str = "") -> Iterator[tuple[str, Tensor]]:
    """An example's tensors by dotted names, those that are None left out."""
    for f in fields(value):
        item, name = getattr(value, f.name), f"{place}{f.name}"
        if is_dataclass(item):
            yield from tensors(item, f"{name}.")
        elif isinstance(item, Tensor):
            yield name, item
