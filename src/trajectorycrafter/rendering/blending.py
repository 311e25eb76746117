"""A network's frames and the render as one picture: true pixels stay, borders are soft.

The one thing a reader would get wrong: colors are matched before anything is mixed. What the
network gets wrong where the render is known is carried on into the holes, less and less with the
distance, so that no border shows even where none is softened.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

SOFT = 2.0
"""Standard deviation of the soft border, pixels of a frame of 480 rows."""
REACH = 32.0
"""How far the match of colors reaches into holes, pixels of a frame of 480 rows."""
CHUNK = 8
"""Frames at a time."""


def blend(
    made: Float[Tensor, "T 3 H W"],
    render: Float[Tensor, "T 3 H W"],
    visible: Bool[Tensor, "T 1 H W"],
) -> Float[Tensor, "T 3 H W"]:
    """The render where it is seen, the made frames in its holes, and a soft border on either's own.

    Args:
        made: Whole frames by a network.
        render: What was seen, anything in holes.
    """
    if len(made) > CHUNK:
        parts = zip(*(x.split(CHUNK) for x in (made, render, visible)), strict=True)
        return torch.cat([blend(*part) for part in parts])
    scale = made.shape[2] / 480
    seen = visible.to(made)
    error = (render - made) * seen
    near = blurred(seen, REACH * scale)
    match = blurred(error, REACH * scale) / near.clamp(min=1e-3)
    # Far from all that is seen there is nothing to match.
    matched = made + match * (2 * near).clamp(max=1)
    # Weight of the render: 1 well inside of what is seen, 0 in holes and at their very border.
    inner = -F.max_pool2d(-seen, 3, stride=1, padding=1)
    weight = torch.minimum(blurred(inner, max(SOFT * scale, 0.5)), seen)
    return torch.lerp(matched, torch.where(visible, render, matched), weight).clamp(0, 1)


def blurred(x: Float[Tensor, "T C H W"], sigma: float) -> Float[Tensor, "T C H W"]:
    """Gaussian blur; beyond the border the picture goes on as it ends."""
    radius = max(1, round(3 * sigma))
    at = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = F.pad(x.flatten(0, 1)[:, None], (radius, radius, radius, radius), "replicate")
    flat = F.conv2d(F.conv2d(flat, kernel), kernel.transpose(2, 3))
    return flat[:, 0].unflatten(0, x.shape[:2])
