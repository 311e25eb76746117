"""The reference attention as the released code forms it: the whole score matrix, step by step."""

import torch
from einops import rearrange
from torch import Tensor

from trajectorycrafter.model.blocks import ReferenceAttention


def materialised(attention: ReferenceAttention, view: Tensor, reference: Tensor) -> Tensor:
    """Attention from view to reference tokens, softmax over scores in float32."""
    q = attention.to_q(attention.norm2(view))
    k, v = attention.to_kv(attention.norm1(reference)).chunk(2, dim=-1)
    q, k, v = (rearrange(x, "b l (h d) -> b h l d", h=attention.heads) for x in (q, k, v))
    scale = q.shape[-1] ** -0.25
    scores = (q * scale) @ (k * scale).transpose(-1, -2)
    weights = torch.softmax(scores.float(), dim=-1).to(q.dtype)
    return attention.to_out(rearrange(weights @ v, "b h l d -> b l (h d)"))
