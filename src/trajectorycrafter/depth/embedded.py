"""The depth estimator inside this package: needs no download and runs on a CPU.

A frozen DINOv2 ViT-S/14 and two small decoders after DPT (Ranftl et al. 2021), trained on rendered
scenes and on photographs without depth. It gives relative disparity of each frame at two sevenths
of the working size; that is made consistent over the clip and brought to the video's own size along
the edges of its colors.

The one thing a reader would get wrong: scale is unknown. The nearest things lie at about depth 1,
whatever their true distance, and the field of view is what the caller says, not what was seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..geometry.cameras import DEFAULT_FOV_DEG, focal_from_fov, intrinsics
from ..video.clip import Depth, Video
from .dinov2 import CHANNELS, PATCH, STAGES, load_dinov2, read_quantized
from .dinov2 import WEIGHTS as BACKBONE_WEIGHTS
from .temporal import align_over_time, disparity_to_depth

WEIGHTS = Path(__file__).parents[1] / "assets" / "depth" / "decoder_fp16.safetensors"

_zero_padded = partial(nn.Conv2d, padding=1)
_resized = partial(F.interpolate, mode="bilinear", align_corners=False)


class Convolution(nn.Conv2d):
    """3x3, the border cells continued: zeros beyond the border would show in the outermost cells.

    `padding_mode="replicate"` means the same; it leaves bfloat16, which doubles the training time.
    """

    def forward(self, input: Float[Tensor, "B C h w"]) -> Float[Tensor, "B _C _h _w"]:
        x = torch.cat([input[..., :1, :], input, input[..., -1:, :]], dim=-2)
        return super().forward(torch.cat([x[..., :1], x, x[..., -1:]], dim=-1))


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions around which the input is passed on."""

    def __init__(self, convolution: Callable[[int, int, int], nn.Module], channels: int):
        super().__init__()
        self.first = convolution(channels, channels, 3)
        self.second = convolution(channels, channels, 3)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class NarrowDecoder(nn.Module):
    """Features of four depths and the picture itself to disparity, coarse to fine."""

    def __init__(self, wide: int = 96, middle: int = 64, narrow: int = 32):
        super().__init__()
        sizes = (narrow, middle, wide, wide)
        self.inward = nn.ModuleList(nn.Conv2d(CHANNELS, size, 1) for size in sizes)
        self.deep = nn.ModuleList(ResidualUnit(_zero_padded, wide) for _ in range(2))
        self.to_middle = nn.Conv2d(wide, middle, 1)
        self.mid = ResidualUnit(_zero_padded, middle)
        self.to_narrow = nn.Conv2d(middle, narrow, 1)
        self.edges = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(16, narrow, 3, padding=1)
        )
        self.fine = nn.ModuleList(ResidualUnit(_zero_padded, narrow) for _ in range(2))
        self.outward = nn.Conv2d(narrow, 1, 3, padding=1)

    def forward(
        self, features: list[Float[Tensor, "B D h w"]], images: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B 1 _h _w"]:
        """Disparity >= 0 on a grid four times as fine as the tokens; 0 is infinitely far."""
        early, second, third, late = (f(x) for f, x in zip(self.inward, features, strict=True))
        h, w = late.shape[2:]
        x = self.deep[1](self.deep[0](late) + third)
        x = self.mid(_resized(self.to_middle(x) + second, (2 * h, 2 * w)))
        x = _resized(self.to_narrow(x), (4 * h, 4 * w)) + _resized(early, (4 * h, 4 * w))
        x = x + self.edges(_resized(images, (8 * h, 8 * w)) * 2 - 1)
        for unit in self.fine:
            x = unit(x)
        # The padding's zeros show in the outermost cells, which get their inner neighbors' values.
        inner = F.softplus(self.outward(F.gelu(x)))[..., 1:-1, 1:-1]
        return F.pad(inner, (1, 1, 1, 1), mode="replicate")


class WideDecoder(nn.Module):
    """The same with more room, four depths merged at the coarsest, and the border continued."""

    def __init__(self, wide: int = 128, middle: int = 64, narrow: int = 40):
        super().__init__()
        self.inward = nn.ModuleList(nn.Conv2d(CHANNELS, wide, 1) for _ in STAGES)
        self.deep = nn.ModuleList(ResidualUnit(Convolution, wide) for _ in range(4))
        self.to_middle = nn.Conv2d(wide, middle, 1)
        self.early_to_middle = nn.Conv2d(wide, middle, 1)
        self.mid = nn.ModuleList(ResidualUnit(Convolution, middle) for _ in range(2))
        self.to_narrow = nn.Conv2d(middle, narrow, 1)
        self.edges = nn.Sequential(
            Convolution(3, 24, 3, stride=2), nn.GELU(), Convolution(24, narrow, 3)
        )
        self.fine = nn.ModuleList(ResidualUnit(Convolution, narrow) for _ in range(2))
        self.outward = Convolution(narrow, 1, 3)

    def forward(
        self, features: list[Float[Tensor, "B D h w"]], images: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B 1 _h _w"]:
        """As `NarrowDecoder`."""
        early, second, third, late = (f(x) for f, x in zip(self.inward, features, strict=True))
        h, w = late.shape[2:]
        x = self.deep[0](late) + third
        x = self.deep[1](x) + second
        x = self.deep[3](self.deep[2](x))
        x = _resized(self.to_middle(x) + self.early_to_middle(early), (2 * h, 2 * w))
        for unit in self.mid:
            x = unit(x)
        small = _resized(images, (8 * h, 8 * w))
        x = _resized(self.to_narrow(x), (4 * h, 4 * w)) + self.edges(small * 2 - 1)
        for unit in self.fine:
            x = unit(x)
        return F.softplus(self.outward(F.gelu(x)))


class DepthDecoder(nn.Module):
    """The mean of two decoders that were trained apart: where each guesses, their errors differ."""

    def __init__(self):
        super().__init__()
        self.narrow, self.wide = NarrowDecoder(), WideDecoder()

    def forward(
        self, features: list[Float[Tensor, "B D h w"]], images: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B 1 _h _w"]:
        """As `NarrowDecoder`; scales are made equal first, since neither knows the scale."""
        maps = [self.narrow(features, images), self.wide(features, images)]
        means = [m.mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6) for m in maps]
        return (means[0] + means[1]) / 4 * (maps[0] / means[0] + maps[1] / means[1])


@dataclass(frozen=True)
class EmbeddedDepth:
    """`Video -> Depth` by the weights inside this package."""

    fov_deg: float = DEFAULT_FOV_DEG
    """Horizontal field of view that the returned intrinsics stand for."""
    working_short_side: int = 322
    """Frames are looked at in this size, rounded to whole tokens. The decoders were trained at 224
    to 322; more resolves finer things."""
    weights: Path | None = None
    """Another decoder file; None for the shipped one."""
    device: torch.device | str = "cpu"
    chunk: int = 4
    """Frames at a time."""

    def __post_init__(self) -> None:
        """Raises FileNotFoundError now, not at the first clip, if a file of weights is missing."""
        for path in (BACKBONE_WEIGHTS, self.weights or WEIGHTS):
            if not path.is_file():
                raise FileNotFoundError(
                    f"Expected weights at {path}; reinstall or give another path."
                )

    def __call__(self, video: Video) -> Depth:
        """Depth at the video's size, from about 1 (nearest) to at most 60 (sky).

        Raises:
            ValueError: an empty clip, or a field of view outside 0 to 180 degrees.
        """
        if len(video) == 0:
            raise ValueError("Expected at least one frame; got an empty clip.")
        focal = focal_from_fov(self.fov_deg, video.width)
        disparity = align_over_time(self.disparity(video), video).clamp_min(0)
        full = torch.cat(
            [
                joint_upsample(sharpen_steps(coarse), frames)
                for coarse, frames in zip(
                    disparity.split(self.chunk), video.frames.cpu().split(self.chunk), strict=True
                )
            ]
        )
        K = intrinsics(focal, video.height, video.width, len(video))
        # The decoder has learned where zero lies (the sky), so a closed room stays shallow.
        z = disparity_to_depth(full, zero_is_far=True)
        return Depth.of(z.to(video.frames.device), K.to(video.frames.device))

    @torch.inference_mode()
    def disparity(self, video: Video) -> Float[Tensor, "T 1 h w"]:
        """Relative disparity of each frame by itself, coarse, on the CPU; 0 is infinitely far."""
        height, width = working_size(video.height, video.width, self.working_short_side)
        backbone = load_dinov2().to(self.device)
        decoder = DepthDecoder()
        decoder.load_state_dict(read_quantized(self.weights or WEIGHTS))
        decoder.requires_grad_(False).eval().to(self.device)
        out = []
        for frames in tqdm(video.frames.split(self.chunk), desc="depth", leave=False):
            images = F.interpolate(
                frames.to(self.device), (height, width), mode="bilinear", antialias=True
            )
            out.append(decoder(backbone(images), images).float().cpu())
        return torch.cat(out)


def working_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width in whole tokens, the short side as asked, the aspect ratio nearly kept.

    The long side ends at four times the short one, since attention grows with its square.
    """
    scale = short_side / min(height, width)
    sides = [max(PATCH, round(side * scale / PATCH) * PATCH) for side in (height, width)]
    return min(sides[0], 4 * short_side), min(sides[1], 4 * short_side)


def sharpen_steps(disparity: Float[Tensor, "T 1 h w"]) -> Float[Tensor, "T 1 h w"]:
    """Ramps between near and far made into steps; slopes of the ground are left alone.

    Where the 5x5 neighborhood spans more than a fair part of the frame's disparity, a cell takes
    on the neighborhood's smallest or largest value, whichever is closer (a toggle mapping). A
    ramp would be drawn as a curtain of points that hang between person and background.
    """
    near = F.max_pool2d(F.pad(disparity, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    far = -F.max_pool2d(F.pad(-disparity, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    span = disparity.flatten(1).quantile(0.98, dim=1)[:, None, None, None].clamp_min(1e-9)
    steep = (((near - far) / span - 0.12) / 0.12).clamp(0, 1)
    snapped = torch.where(near - disparity < disparity - far, near, far)
    return disparity + steep * (snapped - disparity)


def joint_upsample(
    coarse: Float[Tensor, "T 1 h w"], frames: Float[Tensor, "T 3 H W"], color_sigma: float = 0.07
) -> Float[Tensor, "T 1 H W"]:
    """Coarse values brought to the frames' size, their steps moved onto the steps of the colors.

    Joint bilateral upsampling (Kopf et al. 2007): a pixel averages the 5x5 nearest cells, weighted
    by distance and by how much the cell's mean color is its own.
    """
    h, w = coarse.shape[2:]
    size = frames.shape[2:]
    colors = F.interpolate(frames, (h, w), mode="area")
    # Where in its cell each pixel lies, in cells from the middle: -0.5 to 0.5.
    y, x = (
        ((torch.arange(n) + 0.5) * cells / n - torch.arange(n) * cells // n - 0.5).to(frames)
        for n, cells in zip(size, (h, w), strict=True)
    )
    y = y[:, None]
    total, weights = torch.zeros_like(frames[:, :1]), torch.zeros_like(frames[:, :1])
    padded, padded_colors = (F.pad(v, (2, 2, 2, 2), mode="replicate") for v in (coarse, colors))
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            window = (..., slice(2 + dy, 2 + dy + h), slice(2 + dx, 2 + dx + w))
            value = F.interpolate(padded[window], size, mode="nearest")
            color = F.interpolate(padded_colors[window], size, mode="nearest")
            away = ((y - dy) ** 2 + (x - dx) ** 2) / (2 * 0.8**2)
            unlike = (frames - color).square().sum(dim=1, keepdim=True) / (2 * color_sigma**2)
            # A color that no cell has must still find a value: the floor leaves it the nearest.
            weight = torch.exp(-away) * (torch.exp(-unlike) + 1e-4)
            total, weights = total + weight * value, weights + weight
    return total / weights
