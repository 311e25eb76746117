"""DepthCrafter: relative disparity of a whole clip from a video diffusion model.

The parts are those of Stable Video Diffusion; only the UNet differs, in one thing: each frame reads
its own image embedding, not the clip's (Hu et al., "DepthCrafter", CVPR 2025).

The one thing a reader would get wrong: the latents of the video are *not* multiplied by the
autoencoder's scaling factor, though the latents that become disparity are.
"""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    UNetSpatioTemporalConditionModel,
)
from diffusers.models.unets.unet_3d_blocks import DownBlockSpatioTemporal, UpBlockSpatioTemporal
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import CLIPVisionModelWithProjection

from ..config.redirect import QUALITY, Way
from ..runtime.weights import fetch
from ..video.clip import Depth, Video
from .temporal import disparity_to_depth

CHUNK = 8
"""Frames that the autoencoder and the image encoder see at once; part of the released result, since
the autoencoder's decoder mixes the frames of a chunk."""
NOISE = 0.02
"""Standard deviation of the noise on the video before it is encoded."""
TIME_IDS = (7.0, 127.0, NOISE)
"""Frame rate, amount of motion and noise that the UNet gets."""
CPU = torch.device("cpu")
MULTIPLE = 64
"""Frames are eight times larger than latents, and the UNet halves these three times."""


Part = TypeVar("Part", bound=nn.Module)


class PerFrameUNet(UNetSpatioTemporalConditionModel):
    """The UNet of Stable Video Diffusion, each frame with its own context token."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]: fewer inputs, by intention
        self,
        sample: Float[Tensor, "B T C h w"],
        timestep: Float[Tensor, "*one"],
        context: Float[Tensor, "B T D"],
        time_ids: Float[Tensor, "B 3"],
    ) -> Float[Tensor, "B T c h w"]:
        """Predicted velocity of the noisy latents.

        Args:
            sample: noisy latents and the video's latents, side by side; h and w divisible by the
                UNet's overall reduction.
            context: one image embedding per frame.
            time_ids: see `TIME_IDS`.
        """
        batch, frames = sample.shape[:2]
        time = self.time_proj(timestep.expand(batch)).to(sample.dtype)
        ids = self.add_time_proj(time_ids.flatten()).reshape(batch, -1).to(sample.dtype)
        embedding = self.time_embedding(time) + self.add_embedding(ids)
        still = torch.zeros(batch, frames, dtype=sample.dtype, device=sample.device)
        plain: dict[str, Any] = {
            "temb": embedding.repeat_interleave(frames, dim=0),
            "image_only_indicator": still,
        }
        attending = plain | {"encoder_hidden_states": rearrange(context, "b t d -> (b t) 1 d")}

        hidden = self.conv_in(sample.flatten(0, 1))
        skips = [hidden]
        for block in self.down_blocks:
            known = plain if isinstance(block, DownBlockSpatioTemporal) else attending
            hidden, more = block(hidden, **known)
            skips.extend(more)
        hidden = self.mid_block(hidden, **attending)
        for block in self.up_blocks:
            known = plain if isinstance(block, UpBlockSpatioTemporal) else attending
            resnets: Any = block.resnets
            skips, own = skips[: -len(resnets)], skips[-len(resnets) :]
            hidden = block(hidden, res_hidden_states_tuple=tuple(own), **known)
        hidden = self.conv_out(self.conv_act(self.conv_norm_out(hidden)))
        return hidden.unflatten(0, (batch, frames))


@dataclass
class DepthCrafter:
    """A depth estimator, `Video -> Depth`, of relative depth without a focal length.

    Every part lies in main memory and is moved to the device for its own call.
    """

    unet: PerFrameUNet
    vae: AutoencoderKLTemporalDecoder
    image_encoder: CLIPVisionModelWithProjection
    scheduler: EulerDiscreteScheduler
    image_mean: tuple[float, float, float]
    """What the image encoder takes off RGB in [0, 1]."""
    image_std: tuple[float, float, float]
    device: torch.device = CPU
    seed: int = 42
    """Each call starts a generator of its own with it: same clip, same depth."""
    steps: int = 5
    guidance: float = 1.0
    """Above 1: a second pass that sees neither the video nor its embedding."""
    window: int = 110
    """Frames that the UNet sees at once."""
    overlap: int = 25
    """Frames that a window shares with the one before it."""
    longest_side: int = 1024
    """Working size of the longer image side, pixels; unused where the way says the size."""
    way: Way = QUALITY
    """The size to stretch to, and how disparity becomes depth."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.window:
            raise ValueError(
                f"The overlap of two windows must be 0 or more and less than the window of "
                f"{self.window} frames; got {self.overlap}."
            )

    @classmethod
    def from_pretrained(
        cls,
        weights: Path | None = None,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        **settings: Any,
    ) -> "DepthCrafter":
        """The released weights from a weights folder, or from the hub (academic use only).

        Args:
            weights: folder that holds the folders `DepthCrafter` and
                `stable-video-diffusion-img2vid-xt`; None for the hub and its cache.
            settings: fields of this class.

        Raises:
            FileNotFoundError: weights are missing.
            ValueError: weights that do not fit their configuration.
        """
        unet = fetch("DepthCrafter", weights)
        base = fetch("stable-video-diffusion-img2vid-xt", weights)
        images = json.loads((base / "feature_extractor/preprocessor_config.json").read_text())
        scheduler: Any = EulerDiscreteScheduler.from_pretrained(base / "scheduler")
        return cls(
            _load(PerFrameUNet, unet, dtype),
            _load(AutoencoderKLTemporalDecoder, base / "vae", dtype),
            _load(CLIPVisionModelWithProjection, base / "image_encoder", dtype),
            scheduler,
            tuple(images["image_mean"]),
            tuple(images["image_std"]),
            device=torch.device(device),
            **settings,
        )

    def __call__(self, video: Video) -> Depth:
        """Relative depth of the clip at the clip's own size; scale and shift are arbitrary."""
        generator = torch.Generator().manual_seed(self.seed)
        own = working_size(video.height, video.width, self.longest_side)
        disparity = self.disparity(video.frames, self.way.read_size or own, generator)
        if disparity.shape[2:] != video.frames.shape[2:]:
            disparity = F.interpolate(
                disparity, video.frames.shape[2:], mode="bilinear", antialias=True
            )
        released = self.way.depth == "released"
        z = parity_depth(disparity) if released else disparity_to_depth(disparity)
        return Depth.of(z.to(video.frames.device))

    @torch.no_grad()
    def disparity(
        self,
        frames: Float[Tensor, "T 3 H W"],
        size: tuple[int, int],
        generator: torch.Generator,
    ) -> Float[Tensor, "T 1 h w"]:
        """Relative disparity at the working size, large is near, about [0, 1], not stretched to it.

        Args:
            frames: RGB in [0, 1].
            size: working height and width, multiples of 64.
            generator: on the CPU, so that every device gets the same noise.
        """
        context = self.embed(frames, size)
        image_latents = self.encode(frames, size, generator)
        latents = self.denoise(image_latents, context, generator)
        return torch.cat([chunk.mean(dim=1, keepdim=True) for chunk in self.decode(latents)])

    @torch.no_grad()
    def embed(
        self, frames: Float[Tensor, "T 3 H W"], size: tuple[int, int]
    ) -> Float[Tensor, "T D"]:
        """The image encoder's view of every frame, from its working size."""
        config: Any = self.image_encoder.config
        side = int(config.image_size)
        mean = torch.tensor(self.image_mean, device=self.device)[:, None, None]
        std = torch.tensor(self.image_std, device=self.device)[:, None, None]
        embeddings = []
        with _lent(self.image_encoder, self.device) as encoder:
            for chunk in self._chunks(frames, size, "depth: look"):
                image = (smooth_resize(chunk, (side, side)) + 1) / 2
                seen = encoder(pixel_values=((image - mean) / std).to(encoder.dtype))
                embeddings.append(seen.image_embeds.float())
        return torch.cat(embeddings)

    @torch.no_grad()
    def encode(
        self,
        frames: Float[Tensor, "T 3 H W"],
        size: tuple[int, int],
        generator: torch.Generator,
    ) -> Float[Tensor, "T C h w"]:
        """The autoencoder's unscaled latents of the slightly noisy video."""
        # The autoencoder overflows in float16 and says so in its configuration.
        upcast = self.vae.dtype == torch.float16 and bool(self.vae.config["force_upcast"])
        latents = []
        with _lent(self.vae, self.device, torch.float32 if upcast else None) as vae:
            for chunk in self._chunks(frames, size, "depth: encode"):
                # Drawn chunk by chunk, these are the numbers of one draw for the whole clip.
                noise = torch.randn(chunk.shape, generator=generator).to(chunk.device)
                noisy = (chunk + NOISE * noise).to(vae.dtype)
                posterior = vae.encode(noisy, return_dict=False)[0]
                latents.append(posterior.mode().float())
        return torch.cat(latents)

    @torch.no_grad()
    def denoise(
        self,
        image_latents: Float[Tensor, "T C h w"],
        context: Float[Tensor, "T D"],
        generator: torch.Generator,
    ) -> Float[Tensor, "T C h w"]:
        """Latents of the disparity, window after window.

        Later windows take the start noise of the first, rotated, and begin at the latents that the
        window before ended with; the shared frames are blended by a linear ramp.
        """
        count = len(image_latents)
        window, overlap = (count, 0) if count <= self.window else (self.window, self.overlap)
        starts = range(0, count - overlap, window - overlap)
        self.scheduler.set_timesteps(self.steps)
        noise = torch.randn(1, window, *image_latents.shape[1:], generator=generator).to(
            self.device
        )
        noise = noise[0] * self.scheduler.init_noise_sigma
        ramp = torch.linspace(0, 1, overlap, device=self.device)[:, None, None, None]
        done = image_latents[:0]
        progress = tqdm(total=len(starts) * self.steps, desc="depth: denoise", leave=False)
        with progress, _lent(self.unet, self.device) as unet:
            for start in starts:
                part = slice(start, min(start + window, count))
                shared = done[len(done) - overlap :] if start else done[:0]
                own = self._denoise_window(
                    unet,
                    noise[: part.stop - start],
                    image_latents[part],
                    context[part],
                    shared,
                    progress,
                )
                noise = torch.cat([noise[window - overlap :], noise[: window - overlap]])
                if start:
                    own[:overlap] = own[:overlap] * ramp + shared * (1 - ramp)
                done = torch.cat([done[: len(done) - len(shared)], own])
        return done

    def _denoise_window(
        self,
        unet: PerFrameUNet,
        noise: Float[Tensor, "t C h w"],
        image_latents: Float[Tensor, "t C h w"],
        context: Float[Tensor, "t D"],
        shared: Float[Tensor, "s C h w"],
        progress: tqdm,
    ) -> Float[Tensor, "t C h w"]:
        # The scheduler counts its steps, so every window sets it back.
        self.scheduler.set_timesteps(self.steps, device=self.device)
        latents = noise.clone()
        # From the scheduler's start, which lies slightly above sigma, to sigma itself.
        rescale = self.scheduler.sigmas[0] / self.scheduler.init_noise_sigma
        latents[: len(shared)] = shared + noise[: len(shared)] * rescale
        for t in self.scheduler.timesteps:
            scaled = self.scheduler.scale_model_input(latents, t)
            velocity = _velocity(unet, scaled, t, image_latents, context)
            if self.guidance > 1:
                blind = _velocity(
                    unet, scaled, t, torch.zeros_like(image_latents), torch.zeros_like(context)
                )
                velocity = blind + self.guidance * (velocity - blind)
            latents = self.scheduler.step(velocity, t, latents, return_dict=False)[0]
            progress.update()
        return latents

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "T C h w"]) -> Iterator[Float[Tensor, "t 3 H W"]]:
        """Pictures of the disparity in [0, 1], in main memory, chunk by chunk."""
        with _lent(self.vae, self.device) as vae:
            chunks = latents.split(CHUNK)
            for chunk in tqdm(chunks, desc="depth: decode", leave=False):
                scaled = (chunk / vae.config["scaling_factor"]).to(vae.dtype)
                picture = vae.decode(scaled, num_frames=len(chunk), return_dict=False)[0]
                yield (picture.float() / 2 + 0.5).clamp(0, 1).cpu()

    def _chunks(
        self, frames: Float[Tensor, "T 3 H W"], size: tuple[int, int], label: str
    ) -> Iterator[Float[Tensor, "t 3 h w"]]:
        """The clip in [-1, 1] at its working size, a few frames at a time on the device."""
        for chunk in tqdm(frames.split(CHUNK), desc=label, leave=False):
            chunk = chunk.to(self.device)
            if chunk.shape[2:] != size:
                chunk = F.interpolate(chunk, size, mode="bilinear", antialias=True)
            yield chunk * 2 - 1


def working_size(height: int, width: int, longest_side: int = 1024) -> tuple[int, int]:
    """Height and width near the given shape, longer side about `longest_side`, multiples of 64."""
    scale = longest_side / max(height, width)
    h, w = (max(1, round(side * scale / MULTIPLE)) * MULTIPLE for side in (height, width))
    return h, w


def parity_depth(
    disparity: Float[Tensor, "T 1 H W"], near: float = 1e-4, far: float = 1e4
) -> Float[Tensor, "T 1 H W"]:
    """Depth as the released system makes it: 10000 / (3900 d), d stretched to [0, 1] over the clip.

    The nearest point of any clip lies at 2.564; a clip of one value lies at `far`.
    """
    low, high = disparity.min(), disparity.max()
    stretched = (disparity - low) / (high - low).clamp_min(1e-12)
    return (10000 / (3900 * stretched).clamp_min(1e-5)).clamp(near, far)


def smooth_resize(
    frames: Float[Tensor, "T 3 H W"], size: tuple[int, int]
) -> Float[Tensor, "T 3 h w"]:
    """Gaussian blur in proportion to the reduction, then bicubic sampling, corners on corners.

    The image encoder's part in Stable Video Diffusion was trained on pictures made so; torch's own
    antialiased resize differs visibly.
    """
    blurred = frames
    for axis in (0, 1):
        sigma = max((frames.shape[2 + axis] / size[axis] - 1) / 2, 1e-3)
        # Always odd, two sigmas to each side, so that the blur stays centered.
        width = int(max(4 * sigma, 3)) // 2 * 2 + 1
        offsets = torch.arange(width, dtype=frames.dtype, device=frames.device) - width // 2
        kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).view((1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1))
        margin = (0, 0, width // 2, width // 2) if axis == 0 else (width // 2, width // 2, 0, 0)
        padded = F.pad(blurred, margin, mode="reflect")
        blurred = F.conv2d(padded.flatten(0, 1)[:, None], kernel)[:, 0].unflatten(
            0, frames.shape[:2]
        )
    return F.interpolate(blurred, size, mode="bicubic", align_corners=True)


def _velocity(
    unet: PerFrameUNet,
    latents: Float[Tensor, "T C h w"],
    timestep: Float[Tensor, ""],
    image_latents: Float[Tensor, "T C h w"],
    context: Float[Tensor, "T D"],
) -> Float[Tensor, "T C h w"]:
    dtype = unet.dtype
    sample = torch.cat([latents, image_latents], dim=1)[None].to(dtype)
    ids = torch.tensor([TIME_IDS], dtype=dtype, device=latents.device)
    return unet(sample, timestep, context[None].to(dtype), ids)[0].float()


@contextmanager
def _lent(
    part: Part, device: torch.device, dtype: torch.dtype | None = None
) -> Generator[Part, None, None]:
    """The part on the device (and in another dtype) while it is needed, then back as it was."""
    home = next(part.parameters())
    home_device, home_dtype = home.device, home.dtype
    # diffusers' own `to` warns at every change of dtype; torch's is meant.
    nn.Module.to(part, device, dtype or home_dtype)
    try:
        yield part
    finally:
        nn.Module.to(part, home_device, home_dtype)


def _load(kind: type[Any], folder: Path, dtype: torch.dtype) -> Any:
    """A part from its folder, safetensors only, with every tensor accounted for."""
    variant = "fp16" if any(folder.glob("*.fp16.safetensors")) else None
    try:
        part, info = kind.from_pretrained(
            folder,
            torch_dtype=dtype,
            variant=variant,
            use_safetensors=True,
            output_loading_info=True,
        )
    except OSError as error:
        raise FileNotFoundError(
            f"Expected config.json and weights as .safetensors (pickles are not read) in {folder}; "
            f"{str(error).strip().splitlines()[0]} Download the folder again."
        ) from error
    wrong = [*info["missing_keys"], *info["mismatched_keys"], *info["unexpected_keys"]]
    if wrong:
        raise ValueError(
            f"Expected exactly the weights that config.json of {folder} describes; these are "
            f"missing, misshapen or unknown: {', '.join(map(str, wrong[:8]))}. "
            "Download the folder again."
        )
    return part.eval().requires_grad_(False)
