"""A perceptual distance that needs no download: patch features of the DINOv2 ViT-S in this package.

The one thing a reader would get wrong: this is not LPIPS, and its numbers compare with nobody
else's. It stands beside PSNR where LPIPS is missing: it forgives a shift by a few pixels, and
minds what things are. The encoder's weights are the shipped ones in 8 bits.
"""

import weakref
from collections import OrderedDict
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...depth.dinov2 import PATCH, Dinov2, load_dinov2
from ...depth.embedded import working_size
from .pixels import Frames, Mask

SHORT_SIDE = 224
"""Frames are looked at with this short side, pixels: 16 tokens of 14. Smaller ones are not enlarged
beyond the next whole token."""
CHUNK = 4
"""Frames at a time."""
KEPT = 4
"""Clips whose tokens are kept: a clip is compared in several regions, a truth with several rows."""


def dino_distance(
    made: Frames, true: Frames, mask: Mask | None = None, *, short_side: int | None = None
) -> Float[Tensor, " T"]:
    """One minus the cosine of the patch tokens, mean over patches; 0 is alike, each frame.

    The tokens are those after the last block and its norm of DINOv2 ViT-S/14 (Oquab et al. 2023).

    Args:
        mask: patches are weighted by the share of their pixels that count; a frame whose mask is
            empty gets nan. What lies around them still has some say: tokens attend to each other.
        short_side: frames are resized (bilinear, antialiased) to this and to whole tokens; default:
            `SHORT_SIDE`, or their own if that is smaller.
    """
    own = -(-min(made.shape[2:]) // PATCH) * PATCH
    size = working_size(made.shape[2], made.shape[3], short_side or min(own, SHORT_SIDE))
    apart = 1 - F.cosine_similarity(_tokens(made, size), _tokens(true, size))
    if mask is None:
        return apart.mean(dim=(1, 2))
    share = F.interpolate(mask.to(apart), apart.shape[1:], mode="area")[:, 0]
    return (apart * share).sum(dim=(1, 2)) / share.sum(dim=(1, 2))


_seen: OrderedDict[tuple[int, int, tuple[int, int]], tuple[weakref.ref[Tensor], Tensor]] = (
    OrderedDict()
)


def _tokens(frames: Frames, size: tuple[int, int]) -> Float[Tensor, "T D h w"]:
    """Tokens of all frames, kept while the same tensor is asked for again, unchanged."""
    if frames.is_inference():
        frames = frames.clone()  # Such a tensor does not say whether it was changed.
    key = (id(frames), frames._version, size)
    known, tokens = _seen.get(key, (None, None))
    if tokens is None or known is None or known() is not frames:
        tokens = torch.cat([_encoded(part, size) for part in frames.split(CHUNK)])
        _seen[key] = weakref.ref(frames), tokens
        while len(_seen) > KEPT:
            _seen.popitem(last=False)
    return tokens


@torch.no_grad()
def _encoded(frames: Frames, size: tuple[int, int]) -> Float[Tensor, "T D h w"]:
    images = F.interpolate(frames.float(), size, mode="bilinear", antialias=True)
    return _encoder(str(frames.device))(images)[-1]


@lru_cache(maxsize=1)
def _encoder(device: str) -> Dinov2:
    return load_dinov2().to(device)
