"""The embedded preset's small video autoencoder: a linear code, and a decoder that sees the render.

The code cuts a clip into blocks of 8 x 8 pixels and 4 frames (the first frame is a block of its
own, as in CogVideoX) and keeps their leading principal components: milliseconds where diffusers'
autoencoder takes minutes. `SpaceToDepthCodec` has that autoencoder's interface. What a linear code
loses is put back by `RenderDecoder`, which is given the pictures that the new video is made from:
an asymmetric decoder (Zhu et al. 2023, arXiv:2306.04632).

The one thing a reader would get wrong: latents are whitened by half, each channel divided by the
square root of its standard deviation, so that a plain squared error in latents still weighs what
weighs in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

BLOCK = 8
"""Side of a block in pixels."""
FRAMES = 4
"""Frames of a block."""
STRIDE = 4
"""Side of the patches that the decoder works on."""


@dataclass(frozen=True)
class Exact:
    """A posterior without spread, as far as callers of diffusers' autoencoders use it."""

    mean: Float[Tensor, "b c f h w"]

    def mode(self) -> Float[Tensor, "b c f h w"]:
        """The latents."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "b c f h w"]:
        """The latents: nothing is drawn."""
        return self.mean

    @property
    def std(self) -> Float[Tensor, "b c f h w"]:
        """Zeros."""
        return torch.zeros_like(self.mean)


class SpaceToDepthCodec(ModelMixin, ConfigMixin):
    """Blocks of a video to their principal components and back; made by `fit`.

    Args:
        latent_channels: Components that are kept, of 768.
        frame_period: Clips have a multiple of this many frames and one more.
        block_out_channels: Only its length is read, by callers that tell the block's side from it.
    """

    mean: Tensor
    basis: Tensor

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 64,
        scaling_factor: float = 1.0,
        temporal_compression_ratio: int = FRAMES,
        frame_period: int = FRAMES,
        block_out_channels: Sequence[int] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        size = 3 * FRAMES * BLOCK**2
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.eye(size)[:, :latent_channels].contiguous())

    @classmethod
    def fit(cls, clips: list[Float[Tensor, "T 3 H W"]], channels: int = 64) -> "SpaceToDepthCodec":
        """The codec whose latents keep most of the clips; frames in [-1, 1].

        Mean squared latents over the clips are 1.
        """
        blocks = torch.cat(
            [_to_blocks(clip.transpose(0, 1)[None])[0].flatten(1).T for clip in clips]
        )
        mean = blocks.mean(dim=0)
        covariance = torch.cov((blocks - mean).T.double())
        variance, vectors = torch.linalg.eigh(covariance)
        variance, vectors = variance.flip(0)[:channels], vectors.flip(1)[:, :channels]
        # Half whitened: the deviation of channel i is the square root of its component's.
        scale = variance**-0.25
        scale = scale / (scale**2 * variance).mean().sqrt()
        codec = cls(channels)
        codec.mean.copy_(mean)
        codec.basis.copy_(vectors * scale)
        return codec

    def encode(self, video: Float[Tensor, "b 3 T H W"]) -> Any:
        """`latent_dist` of `b c f h w`, f = 1 + ceil((T - 1) / 4): the last frame fills a block.

        Raises:
            ValueError: If the sides are not multiples of 8.
        """
        blocks = _to_blocks(video) - self.mean[:, None, None, None]
        latents = torch.einsum("b d f h w, d c -> b c f h w", blocks, self.basis)
        return SimpleNamespace(latent_dist=Exact(latents))

    def decode(self, latents: Float[Tensor, "b c f h w"]) -> Any:
        """`sample` of `b 3 T H W`, T = 4 f - 3."""
        return SimpleNamespace(sample=_to_video(self._blocks(latents)))

    def difference(self, latents: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 T H W"]:
        """What a difference of latents is in pixels: `decode` without the mean."""
        return _to_video(self._blocks(latents) - self.mean[:, None, None, None])

    def _blocks(self, latents: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b d f h w"]:
        # Columns of the basis are orthogonal but not of unit length.
        back = self.basis / self.basis.square().sum(dim=0)
        blocks = torch.einsum("b c f h w, d c -> b d f h w", latents, back)
        return blocks + self.mean[:, None, None, None]


class RenderDecoder(ModelMixin, ConfigMixin):
    """Latents to frames, given the pictures that they complete.

    A small U-Net at a quarter and an eighth of the resolution; the latents enter it at their own.
    Convolutions over time at the coarse level keep neighboring frames together.

    Args:
        latent_channels: Channels of the codec's latents.
        widths: Channels at a quarter and an eighth of the resolution.
        depth: Residual units at a quarter, on each side, and at an eighth.
        smooth: Standard deviation, in pixels, of the Gaussian through which goes what is added to
            the completed render, so that fine texture stays as it was completed; 0 is none.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 64,
        widths: Sequence[int] = (64, 128),
        depth: Sequence[int] = (2, 4),
        smooth: float = 0.0,
    ) -> None:
        super().__init__()
        self.smooth = smooth
        fine, coarse = widths
        # Drawn, filled, render and memory in color, and the two masks.
        self.inward = nn.Conv2d(STRIDE**2 * (4 * 3 + 2), fine, 3, padding=1)
        self.fine_in = nn.ModuleList(_Unit(fine) for _ in range(depth[0]))
        self.to_coarse = nn.Conv2d(fine, coarse, 2, stride=2)
        self.latents = nn.Conv2d(2 * latent_channels, FRAMES * coarse, 1)
        self.coarse = nn.ModuleList(_Unit(coarse, over_time=True) for _ in range(depth[1]))
        self.from_coarse = nn.Conv2d(coarse, 4 * fine, 1)
        self.fine_out = nn.ModuleList(_Unit(fine) for _ in range(depth[0]))
        self.outward = nn.Conv2d(fine, STRIDE**2 * 3, 3, padding=1)
        for parameter in self.outward.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        change: Float[Tensor, "b c f h w"],
        latents: Float[Tensor, "b c f h w"],
        drawn: Float[Tensor, "b T 3 H W"],
        pictures: "Pictures",
    ) -> Float[Tensor, "b T 3 H W"]:
        """Frames in [-1, 1] (not clipped).

        Args:
            change: What the transformer adds to the latents of `pictures.filled`.
            latents: Those latents.
            drawn: The change in pixels, by the codec.
            pictures: What is completed; T = 4 f - 3 frames, sides that are multiples of 8.
        """
        return self.paint(self.told(change, latents)[:, : drawn.shape[1]], drawn, pictures)

    def told(
        self, change: Float[Tensor, "b c f h w"], latents: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b T d h w"]:
        """What the latents say of each frame."""
        both = rearrange(torch.cat([change, latents], 1), "b c f h w -> (b f) c h w")
        told = rearrange(
            self.latents(both), "(b f) (t c) h w -> b (f t) c h w", b=len(change), t=FRAMES
        )
        return told[:, FRAMES - 1 :]

    def paint(
        self,
        told: Float[Tensor, "b T d h w"],
        drawn: Float[Tensor, "b T 3 H W"],
        pictures: "Pictures",
    ) -> Float[Tensor, "b T 3 H W"]:
        """`forward` from what the latents say; also of some consecutive frames alone."""
        b, frames = drawn.shape[:2]
        seen, remembered = pictures.visible.to(drawn), pictures.memory_visible.to(drawn)
        maps = [drawn, pictures.filled, pictures.render * seen, pictures.memory * remembered]
        x = torch.cat([*maps, seen, remembered], dim=2).flatten(0, 1)
        x = self.inward(_channels_last(F.pixel_unshuffle(x, STRIDE)))
        for unit in self.fine_in:
            x = unit(x)
        y = self.to_coarse(x) + _channels_last(told.flatten(0, 1))
        for unit in self.coarse:
            y = unit(y, b)
        x = x + _channels_last(F.pixel_shuffle(self.from_coarse(y), 2))
        for unit in self.fine_out:
            x = unit(x)
        added = drawn.flatten(0, 1) + F.pixel_shuffle(self.outward(x), STRIDE)
        if self.smooth:
            added = _smoothed(added, self.smooth)
        return pictures.filled + added.unflatten(0, (b, frames))


@dataclass(frozen=True)
class Pictures:
    """What a new video is made from; frames in [-1, 1]."""

    filled: Float[Tensor, "b T 3 H W"]
    """The render, completed without a network."""
    render: Float[Tensor, "b T 3 H W"]
    visible: Bool[Tensor, "b T 1 H W"]
    memory: Float[Tensor, "b T 3 H W"]
    """Points of other moments."""
    memory_visible: Bool[Tensor, "b T 1 H W"]


class _Unit(nn.Module):
    """Two 3x3 convolutions, and one over time between them if asked, added to the input."""

    def __init__(self, channels: int, over_time: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.time = nn.Conv2d(3 * channels, channels, 1) if over_time else None
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Float[Tensor, "n c h w"], clips: int = 1) -> Float[Tensor, "n c h w"]:
        y = F.silu(self.first(x))
        if self.time is not None:
            y = F.silu(self.time(_with_neighbours(y, clips)))
        return x + self.second(y)


def _with_neighbours(x: Float[Tensor, "n c h w"], clips: int) -> Float[Tensor, "n _ h w"]:
    """Channels of each frame, of the one before and of the one after in its clip."""
    place = torch.arange(len(x), device=x.device).view(clips, -1)
    before = torch.cat([place[:, :1], place[:, :-1]], dim=1).flatten()
    after = torch.cat([place[:, 1:], place[:, -1:]], dim=1).flatten()
    return torch.cat([x[before], x, x[after]], dim=1)


def _smoothed(x: Float[Tensor, "n c h w"], deviation: float) -> Float[Tensor, "n c h w"]:
    """A Gaussian over both sides, with the rim repeated."""
    reach = round(3 * deviation)
    places = torch.arange(-reach, reach + 1, device=x.device)
    weights = torch.exp(-places.to(x).square() / (2 * deviation**2))
    weights = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)
    for _ in range(2):  # Each turn smooths the rows and swaps the sides.
        rows = F.pad(x, (reach, reach, 0, 0), mode="replicate")
        x = F.conv2d(rows, weights, groups=x.shape[1]).transpose(2, 3)
    return x


def _channels_last(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return x.contiguous(memory_format=torch.channels_last)


def _to_blocks(video: Float[Tensor, "b 3 T H W"]) -> Float[Tensor, "b d f h w"]:
    height, width = video.shape[3:]
    if height % BLOCK or width % BLOCK:
        raise ValueError(f"Expected sides that are multiples of {BLOCK}; got {height}x{width}.")
    first = video[:, :, :1].expand(-1, -1, FRAMES - 1, -1, -1)
    last = video[:, :, -1:].expand(-1, -1, -(video.shape[2] - 1) % FRAMES, -1, -1)
    whole = torch.cat([first, video, last], dim=2)
    return rearrange(
        whole, "b c (f t) (h y) (w x) -> b (c t y x) f h w", t=FRAMES, y=BLOCK, x=BLOCK
    )


def _to_video(blocks: Float[Tensor, "b d f h w"]) -> Float[Tensor, "b 3 T H W"]:
    whole = rearrange(
        blocks, "b (c t y x) f h w -> b c (f t) (h y) (w x)", c=3, t=FRAMES, y=BLOCK, x=BLOCK
    )
    # The first block shows one frame four times.
    first = whole[:, :, :FRAMES].mean(dim=2, keepdim=True)
    return torch.cat([first, whole[:, :, FRAMES:]], dim=2)
