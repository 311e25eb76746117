"""Optical flow between frames, and values looked up where it leads.

Flow is dense inverse search (Kroeger et al. 2016), in pixels, `2 h w` with x first. On the grid of
a frame it tells where each pixel is in the other one.
"""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from .clip import Video

SMALLEST_SIDE = 16
"""Pixels. The search works in patches of 8 on a pyramid and fails on smaller images."""
FLOW_SHORT_SIDE = 240
"""`clip_flow` is estimated on frames no larger than this: it is needed to about a pixel."""


@dataclass(frozen=True)
class ClipFlow:
    """Optical flow between the P = T - 1 neighboring pairs of a clip, in pixels of h by w."""

    forward: Float[Tensor, "P 2 h w"]
    """From frame t to frame t + 1, on the grid of t."""
    backward: Float[Tensor, "P 2 h w"]
    """From frame t + 1 to frame t, on the grid of t + 1."""
    forward_sure: Bool[Tensor, "P 1 h w"]
    """True where going there and back again ends where it began, on the same gray."""
    backward_sure: Bool[Tensor, "P 1 h w"]


def clip_flow(video: Video, short_side: int = FLOW_SHORT_SIDE) -> ClipFlow:
    """The flow of every neighboring pair, both ways, and where it can be trusted."""
    shrink = min(1.0, short_side / min(video.height, video.width))
    width, height = (max(SMALLEST_SIDE, round(s * shrink)) for s in (video.width, video.height))
    whole = to_gray(video.frames)
    grays = [cv2.resize(g, (width, height), interpolation=cv2.INTER_AREA) for g in whole]
    forward, backward = optical_flow(grays), optical_flow(grays[::-1]).flip(0)
    images = torch.from_numpy(np.stack(grays))[:, None].float() / 255
    sure = []
    for out, home, here, there in (
        (forward, backward, images[:-1], images[1:]),
        (backward, forward, images[1:], images[:-1]),
    ):
        # There and back again may miss by a pixel, and by more where much moves; what leaves the
        # frame becomes nan, which is never below. Brightness must agree too, since across a cut
        # round trips also close by chance.
        missed = (out + warp(home, out, outside=torch.nan)).norm(dim=1, keepdim=True)
        closes = missed < 1.0 + 0.05 * out.norm(dim=1, keepdim=True)
        sure.append(closes & ((warp(there, out) - here).abs() < 0.12))
    return ClipFlow(forward, backward, *sure)


def to_gray(frames: Float[Tensor, "T 3 H W"]) -> list[UInt8[np.ndarray, "H W"]]:
    """Luma of BT.601, 0.299 R + 0.587 G + 0.114 B, of the frames in 8 bits."""
    colors = (frames.float() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
    return [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in colors.cpu().numpy()]


def optical_flow(
    grays: list[UInt8[np.ndarray, "h w"]], preset: Literal["ULTRAFAST", "FAST", "MEDIUM"] = "FAST"
) -> Float[Tensor, "P 2 h w"]:
    """From each picture to the next one, P = number of pictures - 1.

    Args:
        preset: OpenCV's; they differ in how far the pyramid goes down and how it is refined.
    """
    flow = np.empty((len(grays) - 1, *grays[0].shape, 2), np.float32)
    for pair in range(len(flow)):
        # A fresh object per pair: the search starts from nothing, so a pair's flow does not depend
        # on which pairs were looked at before. The type stub does not know that None means no
        # first guess.
        search: Any = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset}"))
        flow[pair] = search.calc(grays[pair], grays[pair + 1], None)
    return torch.from_numpy(flow).permute(0, 3, 1, 2).contiguous()


def warp(
    values: Float[Tensor, "n c h w"], flow: Float[Tensor, "n 2 _h _w"], outside: float | None = None
) -> Float[Tensor, "n c h w"]:
    """`values` looked up (bilinearly) where the flow leads.

    Args:
        flow: in pixels of its own size, which may differ from that of `values`.
        outside: the value beyond the border; None for the border's own.
    """
    height, width = values.shape[2:]
    scale = torch.tensor([width / flow.shape[3], height / flow.shape[2]]).to(flow)
    if flow.shape[2:] != values.shape[2:]:
        flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
    step = flow * scale[:, None, None]
    x = torch.arange(width).to(step) + 0.5 + step[:, 0]
    y = torch.arange(height).to(step)[:, None] + 0.5 + step[:, 1]
    # -1 to 1 between the outer edges of the frame.
    grid = torch.stack([x / width * 2 - 1, y / height * 2 - 1], dim=-1)
    moved = F.grid_sample(values, grid.to(values), padding_mode="border", align_corners=False)
    if outside is None:
        return moved
    return moved.where((grid.abs() <= 1).all(dim=-1)[:, None], outside)
