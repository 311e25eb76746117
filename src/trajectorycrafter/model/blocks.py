"""The transformer's block: diffusers' CogVideoX block and the reference attention after it, as one.

The one thing a reader would get wrong: `RefBlock` calls a reference attention that it does not own.
The attention is registered at the model's `perceiver_cross_attention`, as the released checkpoint
names it, while step caches, offloading and compilation see the block and its attention as one unit.
"""

from typing import Any

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

KeysValues = tuple[Float[Tensor, "b heads R d"], Float[Tensor, "b heads R d"]]
"""Keys and values of the reference tokens for one reference attention."""


class ReferenceAttention(nn.Module):
    """Attention from view tokens to reference tokens (paper section 3.3)."""

    def __init__(self, dim: int, heads: int, dim_head: int) -> None:
        super().__init__()
        inner = heads * dim_head
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(
        self, tokens: Float[Tensor, "B L D"], keys_values: KeysValues | None = None
    ) -> Float[Tensor, "B L D"] | KeysValues:
        """Attend from view tokens, or, without keys and values, make these of reference tokens.

        One entry for both, because offloading hooks sit on `forward` alone.
        """
        if keys_values is None:
            made = self.to_kv(self.norm1(tokens))
            k, v = rearrange(made, "b l (two h d) -> two b h l d", two=2, h=self.heads)
            return k, v
        q = rearrange(self.to_q(self.norm2(tokens)), "b l (h d) -> b h l d", h=self.heads)
        # Expanding copies nothing: one reference serves every guidance branch.
        k, v = (x.expand(q.shape[0], -1, -1, -1) for x in keys_values)
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(rearrange(attended, "b h l d -> b l (h d)"))


class RefBlock(CogVideoXBlock):
    """A CogVideoX block and the reference attention that follows it (none after odd blocks).

    It is a subclass and not a wrapper, since a wrapper would put its own name into the name of
    every parameter of the released checkpoint.
    """

    def __init__(self, reference_attention: ReferenceAttention | None, **block: Any) -> None:
        super().__init__(**block)
        # Inside a tuple the attention is called but not registered; the model registers it.
        self._attends = (reference_attention,)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]: the model calls its own blocks
        self,
        hidden_states: Float[Tensor, "B view D"],
        encoder_hidden_states: Float[Tensor, "B text D"],
        temb: Float[Tensor, "B time"],
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        keys_values: KeysValues | None = None,
    ) -> tuple[Float[Tensor, "B view D"], Float[Tensor, "B text D"]]:
        """View and text tokens after the block; `keys_values` None leaves the reference out."""
        view, text = super().forward(hidden_states, encoder_hidden_states, temb, image_rotary_emb)
        (reference_attention,) = self._attends
        if reference_attention is not None and keys_values is not None:
            # A device map may have put the attention on another device than its block.
            view = view + reference_attention(view, keys_values).to(view.device)
        return view, text


# Step caches ask this table which of a block's results is which.
TransformerBlockRegistry.register(
    RefBlock,
    TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=1),
)


def rotary_table(
    head_dim: int,
    grid: tuple[int, int, int],
    base_grid: tuple[int, int],
    version: str = "current",
    device: torch.device | str | None = None,
) -> tuple[Float[Tensor, "tokens head_dim"], Float[Tensor, "tokens head_dim"]]:
    """Cosines and sines of the 3-D rotary position, float32.

    Args:
        head_dim: A quarter of the channels turn with time, three eighths with rows and columns.
        grid: Latent frames, token rows, token columns.
        base_grid: Rows and columns that the weights were trained with; the grid is fitted in.
        version: How positions are spaced; "legacy" is that of diffusers up to 0.31. They differ
            whenever the fitted grid does not start at 0.
    """
    frames, rows, columns = grid
    (top, bottom), (left, right) = _fit(rows, columns, *base_grid)
    t = torch.arange(frames, dtype=torch.float32, device=device)
    y = _positions(top, bottom, rows, version, device)
    x = _positions(left, right, columns, version, device)
    parts = (head_dim // 4, head_dim // 8 * 3, head_dim // 8 * 3)
    angles = [_angles(positions, d) for positions, d in zip((t, y, x), parts, strict=True)]
    grids = [
        angles[0][:, None, None].expand(-1, rows, columns, -1),
        angles[1][None, :, None].expand(frames, -1, columns, -1),
        angles[2][None, None].expand(frames, rows, -1, -1),
    ]
    table = torch.cat(grids, dim=-1).flatten(0, 2)
    return table.cos(), table.sin()


def _fit(
    rows: int, columns: int, base_rows: int, base_columns: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    if rows / columns > base_rows / base_columns:
        height, width = base_rows, round(base_rows / rows * columns)
    else:
        height, width = round(base_columns / columns * rows), base_columns
    top, left = round((base_rows - height) / 2), round((base_columns - width) / 2)
    return (top, top + height), (left, left + width)


def _positions(
    start: int, stop: int, n: int, version: str, device: torch.device | str | None
) -> Float[Tensor, " n"]:
    if version == "legacy":
        spaced = torch.arange(n, dtype=torch.float64) * ((stop - start) / n) + start
        return spaced.to(torch.float32).to(device)
    return torch.linspace(start, stop * (n - 1) / n, n, dtype=torch.float32, device=device)


def _angles(positions: Float[Tensor, " n"], channels: int) -> Float[Tensor, "n channels"]:
    exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=positions.device)
    frequencies = 1.0 / (10000.0 ** (exponents / channels))
    # Channel 2k turns with channel 2k + 1, so each frequency stands twice.
    return torch.outer(positions, frequencies).repeat_interleave(2, dim=1)
