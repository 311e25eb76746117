"""DINOv2 ViT-S/14 (Oquab et al. 2023) as a frozen feature extractor, its weights shipped in 8 bits.

The one thing a reader would get wrong: the input is in [0, 1] as everywhere here; the ImageNet
normalization happens inside.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

PATCH = 14
"""Side of a token in pixels; image sides are multiples of it."""
CHANNELS = 384
STAGES = (2, 5, 8, 11)
"""Blocks whose output is handed out, counted from 0: a quarter, half, three quarters, all."""

WEIGHTS = Path(__file__).parents[1] / "assets" / "depth" / "dinov2_vits14_int8.safetensors"


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each branch scaled per channel before it is added."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.scale1 = nn.Parameter(torch.ones(channels))
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        self.scale2 = nn.Parameter(torch.ones(channels))

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        q, k, v = rearrange(self.qkv(self.norm1(x)), "b l (n h d) -> n b h l d", n=3, h=self.heads)
        attended = rearrange(F.scaled_dot_product_attention(q, k, v), "b h l d -> b l (h d)")
        x = x + self.scale1 * self.proj(attended)
        return x + self.scale2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Dinov2(nn.Module):
    """The ViT-S/14 encoder; a call returns the normalized patch tokens of four depths."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int = CHANNELS, blocks: int = 12, heads: int = 6, grid: int = 37):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.position = nn.Parameter(torch.zeros(1, 1 + grid * grid, channels))
        self.patches = nn.Conv2d(3, channels, PATCH, stride=PATCH)
        self.blocks = nn.ModuleList(Block(channels, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        for name, rgb in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(rgb)[:, None, None], persistent=False)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B D h w"]]:
        """Features of each of `STAGES` on the token grid, h = H / 14.

        Raises:
            ValueError: if a side is not a multiple of 14.
        """
        height, width = images.shape[2:]
        if height % PATCH or width % PATCH or not height or not width:
            raise ValueError(f"Image sides must be multiples of {PATCH}; got {height} by {width}.")
        tokens = self.patches((images - self.mean) / self.std)
        h, w = tokens.shape[2:]
        # The learned 37 x 37 grid of positions, resized to this image's.
        grid = round((self.position.shape[1] - 1) ** 0.5)
        positions = rearrange(self.position[:, 1:], "b (h w) d -> b d h w", h=grid)
        if (h, w) != (grid, grid):
            positions = F.interpolate(positions, (h, w), mode="bicubic", align_corners=False)
        first = (self.cls_token + self.position[:, :1]).expand(len(tokens), -1, -1)
        x = torch.cat([first, rearrange(tokens + positions, "b d h w -> b (h w) d")], dim=1)
        features = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in STAGES:
                features.append(rearrange(self.norm(x)[:, 1:], "b (h w) d -> b d h w", h=h))
        return features


def load_dinov2(path: Path = WEIGHTS) -> Dinov2:
    """The frozen encoder, ready to use."""
    model = Dinov2()
    model.load_state_dict(read_quantized(path))
    return model.eval().requires_grad_(False)


def quantize(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as int8 with one float16 scale per output channel, everything else as float16."""
    stored = {}
    for name, value in state.items():
        if value.ndim < 2 or name in ("cls_token", "position"):
            stored[name] = value.half().contiguous()
            continue
        rows = value.flatten(1)
        scale = (rows.abs().amax(dim=1) / 127).half().clamp_min(2**-24)
        codes = (rows / scale.float()[:, None]).round().clamp(-127, 127)
        stored[name] = codes.to(torch.int8).reshape(value.shape).contiguous()
        stored[name + ".scale"] = scale
    return stored


def read_quantized(path: Path) -> dict[str, Tensor]:
    """A file written from `quantize`, as float32."""
    with safe_open(str(path), framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = {}
    for name, value in stored.items():
        if name.endswith(".scale") and value.ndim == 1 and name.removesuffix(".scale") in stored:
            continue
        state[name] = value.float()
        if name + ".scale" in stored:
            shape = (-1,) + (1,) * (value.ndim - 1)
            state[name] *= stored[name + ".scale"].float().reshape(shape)
    return state
