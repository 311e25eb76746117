"""The video model inside this package: a small dual-stream transformer, its codec and its decoder.

Where the released model paints from noise alone, this one starts from the classical completion: in
latents it predicts what is to be added to it, then its decoder, which sees the same pictures,
draws the frames. One step is enough, more are allowed.

The one thing a reader would get wrong: frames here are in [-1, 1], and clips have 4k + 1 frames of
sides that are multiples of 16; `job/generation.py` brings shots into that form and back.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, ModelMixin
from jaxtyping import Float
from torch import Tensor

from .codec import Pictures, RenderDecoder, SpaceToDepthCodec
from .conditions import latent_mask
from .transformer import DualStreamTransformer

WEIGHTS = Path(__file__).parents[1] / "assets" / "video"
"""Folders `transformer`, `codec` and perhaps `decoder`, each in diffusers' layout."""
MULTIPLE = 16
"""Sides must be multiples of this: the codec's block times the patch size."""
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "sample",
    "rescale_betas_zero_snr": True,
    "clip_sample": False,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
}
"""The released noise schedule, for a network that says the clean latents."""


@dataclass(frozen=True)
class EmbeddedModel:
    """Completes short clips."""

    transformer: Any
    codec: SpaceToDepthCodec
    decoder: RenderDecoder | None
    """None: the codec alone draws."""

    @classmethod
    def load(
        cls, folder: str | Path | None = None, *, device: torch.device | str = "cpu"
    ) -> "EmbeddedModel":
        """The weights of a folder, or those in the package, in float32.

        Raises:
            FileNotFoundError: if there are none.
        """
        folder = Path(folder or WEIGHTS)
        check_weights(folder)
        kinds: dict[str, type[ModelMixin]] = {
            "transformer": DualStreamTransformer,
            "codec": SpaceToDepthCodec,
        }
        if (folder / "decoder").is_dir():
            kinds["decoder"] = RenderDecoder
        parts: dict[str, Any] = {"decoder": None}
        for name, kind in kinds.items():
            # Stored in half precision, computed with in full.
            part: Any = kind.from_pretrained(
                folder / name, torch_dtype=torch.float32, use_safetensors=True
            )
            parts[name] = part.eval().requires_grad_(False).to(device)
        return cls(**parts)

    @torch.inference_mode()
    def __call__(
        self,
        pictures: Pictures,
        reference: Float[Tensor, "b R 3 H W"] | None,
        *,
        steps: int = 1,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "b T 3 H W"]:
        """Frames in [-1, 1].

        Args:
            reference: frames of the source; None leaves the reference out.
            steps: of denoising.
            generator: draws the noise that it starts from.
        """
        filled = self.encode(pictures.filled)
        condition = self.condition(pictures, filled)
        tokens = None
        if reference is not None and self.transformer.reference_kind != "none":
            tokens = self.transformer.project_reference(self.encode(reference).transpose(1, 2))
        schedule: Any = DDIMScheduler.from_config(SCHEDULE)
        schedule.set_timesteps(steps)
        latents = torch.randn(filled.shape, generator=generator).to(filled)
        for timestep in schedule.timesteps:
            clean = filled + self.change(latents, condition, tokens, int(timestep))
            latents = schedule.step(clean, timestep, latents).prev_sample
        return self.decode(latents - filled, filled, pictures)

    def encode(self, frames: Float[Tensor, "b T 3 H W"]) -> Float[Tensor, "b c f h w"]:
        """Latents of a clip."""
        return self.codec.encode(frames.transpose(1, 2)).latent_dist.mode()

    def condition(
        self, pictures: Pictures, filled: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b f k h w"]:
        """Visibility and completed render, then visibility and points of the other moments."""
        size = filled.shape[2:]
        remembered = torch.where(pictures.memory_visible, pictures.memory, -1.0)
        masks = [
            torch.cat([latent_mask(clip, size) for clip in seen]).to(filled)
            for seen in (pictures.visible, pictures.memory_visible)
        ]
        parts = [masks[0], filled, masks[1], self.encode(remembered)]
        return torch.cat(parts, dim=1).transpose(1, 2)

    def change(
        self,
        latents: Float[Tensor, "b c f h w"],
        condition: Float[Tensor, "b f k h w"],
        reference: Any,
        timestep: int,
    ) -> Float[Tensor, "b c f h w"]:
        """What the network adds to the latents of the completed render."""
        config = self.transformer.config
        text = torch.zeros(len(latents), config.max_text_seq_length, config.text_embed_dim)
        added = self.transformer(
            hidden_states=latents.transpose(1, 2),
            encoder_hidden_states=text.to(latents),
            timestep=torch.full((len(latents),), timestep, device=latents.device),
            condition_latents=condition,
            reference=reference,
            return_dict=False,
        )[0]
        return added.transpose(1, 2)

    def decode(
        self,
        change: Float[Tensor, "b c f h w"],
        filled: Float[Tensor, "b c f h w"],
        pictures: Pictures,
    ) -> Float[Tensor, "b T 3 H W"]:
        """Frames of latents that differ by `change` from those of the completed render."""
        drawn = self.codec.difference(change).transpose(1, 2)[:, : pictures.filled.shape[1]]
        if self.decoder is None:
            return (pictures.filled + drawn).clamp(-1, 1)
        return self.decoder(change, filled, drawn, pictures).clamp(-1, 1)


def check_weights(folder: Path) -> None:
    """Raises FileNotFoundError unless every part of the model is there."""
    for name in ("transformer", "codec"):
        if not (folder / name / "config.json").is_file():
            raise FileNotFoundError(
                f"Expected the embedded model's {name} in {folder / name}; reinstall the package, "
                "or make it with scripts/embedded_video."
            )


@lru_cache(1)
def load_cached(folder: Path, device: torch.device) -> EmbeddedModel:
    """`EmbeddedModel.load`, once for many clips."""
    return EmbeddedModel.load(folder, device=device)
