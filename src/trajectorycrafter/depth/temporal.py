"""Depth of single frames made consistent along a clip, and relative disparity made into depth.

An estimator that sees one frame at a time gives every frame its own scale and shift, and noise on
top. Both are repaired here along the optical flow: one scale and shift per frame for the whole clip
at once, then a light average of each pixel with itself in the neighbouring frames.

The one thing a reader would get wrong: everything here works on *disparity* (large is near, 0 is
infinitely far), because errors of such estimators are even in disparity and explode in depth.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..video.clip import Video

FLOW_SHORT_SIDE = 240
"""Flow is estimated on frames no larger than this: it is needed to about a pixel, and cheaply."""


@dataclass(frozen=True)
class ClipFlow:
    """Optical flow between the P = T - 1 neighbouring pairs of a clip, in pixels of h by w."""

    forward: Float[Tensor, "P 2 h w"]
    """From frame t to frame t + 1, on the grid of t."""
    backward: Float[Tensor, "P 2 h w"]
    """From frame t + 1 to frame t, on the grid of t + 1."""
    forward_sure: Bool[Tensor, "P 1 h w"]
    """True where going there and back again ends where it began, on the same grey."""
    backward_sure: Bool[Tensor, "P 1 h w"]


def clip_flow(video: Video, short_side: int = FLOW_SHORT_SIDE) -> ClipFlow:
    """Dense inverse-search flow (Kroeger et al. 2016) of every neighbouring pair, both ways."""
    grey = _grey_frames(video, short_side)
    forward, backward = [], []
    for here, there in pairwise(grey):
        # A fresh object per pair: the search starts from nothing, so a clip's flow does not depend
        # on which pairs were looked at before.
        # OpenCV's type stub does not know that None means no first guess.
        search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        forward.append(search.calc(here, there, None))
        backward.append(search.calc(there, here, None))
    there_way, back_way = _stack(forward, grey[0].shape), _stack(backward, grey[0].shape)
    images = torch.from_numpy(np.stack(grey))[:, None].float() / 255
    forward_sure = _round_trip(there_way, back_way) & _same_grey(images[:-1], images[1:], there_way)
    backward_sure = _round_trip(back_way, there_way) & _same_grey(images[1:], images[:-1], back_way)
    return ClipFlow(there_way, back_way, forward_sure, backward_sure)


def align_over_time(
    disparity: Float[Tensor, "T 1 h w"],
    video: Video,
    *,
    shift: bool = True,
    smoothing: float = 0.7,
    flow: ClipFlow | None = None,
) -> Float[Tensor, "T 1 h w"]:
    """The same disparity with one scale (and shift) per frame fitted, and flicker smoothed away.

    A camera that comes closer raises all true disparities; a part of that is taken for a change of
    scale and lost. Over the few frames of a clip this is far less than the jitter removed.

    Args:
        disparity: large is near; its size may differ from the video's, the shape of the image not.
        shift: also fit a shift per frame; False for metric models, whose zero is true.
        smoothing: 0 to below 1, the weight of a pixel's past (and future) in its own average.
        flow: `clip_flow(video)`, if the caller has it already.

    Returns:
        Disparity whose mean scale over the clip is that of the input.

    Raises:
        ValueError: frame counts differ, or `smoothing` is out of range.
    """
    if len(disparity) != len(video):
        raise ValueError(
            f"Expected one disparity map per frame ({len(video)}); got {len(disparity)}. "
            "Estimate depth on this very clip."
        )
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing lies in [0, 1); got {smoothing:g}.")
    if len(video) < 2:
        return disparity.clone()
    flow = clip_flow(video) if flow is None else flow
    scale, offset = fit_scale_and_shift(disparity, flow, shift=shift)
    aligned = disparity * scale[:, None, None, None] + offset[:, None, None, None]
    if smoothing == 0:
        return aligned
    return smooth_along_flow(aligned, flow, smoothing)


def fit_scale_and_shift(
    disparity: Float[Tensor, "T 1 h w"], flow: ClipFlow, *, shift: bool = True
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """Scale and shift per frame that make flow-connected pixels agree over the whole clip.

    Solves all frames at once, `a_t d_t(p) + b_t = a_u d_u(p + flow) + b_u` for neighbours t and u,
    by iteratively reweighted least squares. Chaining pairs instead would let errors add up. A weak
    pull of every frame to scale 1 and shift 0 keeps the solution from collapsing to a = 0 and
    from drifting; frames across a cut, which share no pixels, are held by it alone.
    """
    unit = float(disparity.abs().mean().clamp_min(1e-12))
    pairs = _matched_samples(disparity / unit, flow)
    frames = len(disparity)
    scale = torch.ones(frames, dtype=torch.float64)
    offset = torch.zeros(frames, dtype=torch.float64)
    for _ in range(6):
        scale, offset = _solve_reweighted(pairs, scale, offset, shift)
    return scale.to(disparity), (offset * unit).to(disparity)


def smooth_along_flow(
    disparity: Float[Tensor, "T 1 h w"], flow: ClipFlow, smoothing: float
) -> Float[Tensor, "T 1 h w"]:
    """Average every pixel with its own past and its own future, where it can be followed.

    Two recursive averages, one from the first frame on and one from the last frame back, meet in
    the middle. Pixels that lose their track or change by more than noise start afresh, so that
    moving edges leave no trail.
    """
    tolerance = 0.1 * float(
        (_quantile(disparity, 0.95) - _quantile(disparity, 0.05)).clamp_min(1e-12)
    )
    past = _recursive_average(disparity, flow.backward, flow.backward_sure, smoothing, tolerance)
    future = _recursive_average(
        disparity.flip(0), flow.forward.flip(0), flow.forward_sure.flip(0), smoothing, tolerance
    ).flip(0)
    return (past + future) / 2


def flicker(values: Float[Tensor, "T 1 h w"], video: Video, flow: ClipFlow | None = None) -> float:
    """Mean change of a pixel followed along the flow, relative to the mean value; 0 is steady.

    Args:
        values: disparity or depth. Disparity tells more: in depth the far background outweighs all.
        flow: `clip_flow(video)`, if the caller has it already.
    """
    if len(video) < 2:
        return 0.0
    flow = clip_flow(video) if flow is None else flow
    change, count = 0.0, 0
    for pair in range(len(values) - 1):
        moved = _follow(values[pair + 1 : pair + 2], flow.forward[pair : pair + 1])
        sure = _resized_mask(flow.forward_sure[pair : pair + 1], values)
        difference = (moved - values[pair : pair + 1]).abs()[sure]
        change, count = change + float(difference.sum(dtype=torch.float64)), count + len(difference)
    return change / max(count, 1) / float(values.abs().mean().clamp_min(1e-12))


def disparity_to_depth(
    disparity: Float[Tensor, "T 1 H W"],
    near: float = 1.0,
    far: float = 60.0,
    *,
    zero_is_far: bool = False,
) -> Float[Tensor, "T 1 H W"]:
    """Relative disparity of a clip as depth: a falling function, one for the whole clip.

    `z = 1 / (1/far + (1/near - 1/far) * d)` with d = 0 at the farthest and 1 at the nearest two per
    mille of the clip. These percentiles stand in for minimum and maximum, since a single wrong
    pixel would otherwise rescale the whole video. Nearer pixels than that keep their order and come
    nearer than `near`; farther ones end at `far`. The range 1:60 puts half the disparity at about
    twice the near distance, as in a true scene with a far background, while the parallax left at
    `far` (1.7 percent of that at `near`) is below what a viewer tells from infinity; a larger range
    only magnifies noise of the far disparities.

    Args:
        near, far: scene units, 0 < near < far.
        zero_is_far: the estimator's zero means infinitely far and is trusted, so a scene without a
            far background keeps its own shallow range.

    Raises:
        ValueError: if not 0 < near < far.
    """
    if not 0 < near < far:
        raise ValueError(f"Expected 0 < near < far; got near={near:g}, far={far:g}.")
    low, high = _quantile(disparity, 0.002), _quantile(disparity, 0.998)
    if zero_is_far:
        low = torch.zeros_like(low)
    spread = high - low
    if float(spread) <= 1e-9 * max(float(high.abs()), 1e-12):
        return torch.full_like(disparity, near)
    d = ((disparity - low) / spread).clamp_min(0)
    return 1 / (1 / far + (1 / near - 1 / far) * d)


def _quantile(values: Tensor, q: float) -> Tensor:
    """A quantile of at most a million evenly taken values; `torch.quantile` allows few more."""
    flat = values.flatten()
    return torch.quantile(flat[:: max(1, len(flat) // 1_000_000)].float(), q)


def _grey_frames(video: Video, short_side: int) -> list[np.ndarray]:
    height, width = video.height, video.width
    shrink = min(1.0, short_side / min(height, width))
    # The search works in patches of 8 on a pyramid and fails on smaller images.
    size = (max(16, round(width * shrink)), max(16, round(height * shrink)))
    grey = []
    for frame in video.frames:
        pixels = (frame.permute(1, 2, 0).cpu().numpy() * 255).round().clip(0, 255).astype(np.uint8)
        grey.append(
            cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        )
    return grey


def _stack(flows: list[np.ndarray], shape: tuple[int, ...]) -> Float[Tensor, "P 2 h w"]:
    if not flows:
        return torch.zeros(0, 2, *shape[:2])
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).contiguous()


def _round_trip(
    out: Float[Tensor, "P 2 h w"], home: Float[Tensor, "P 2 h w"]
) -> Bool[Tensor, "P 1 h w"]:
    """Where out and home cancel to within a pixel plus five percent of the motion."""
    returned = _follow(home, out, outside=float("nan"))
    error = (out + returned).norm(dim=1, keepdim=True)
    return error < 1.0 + 0.05 * out.norm(dim=1, keepdim=True)


def _same_grey(
    here: Float[Tensor, "P 1 h w"], there: Float[Tensor, "P 1 h w"], flow: Float[Tensor, "P 2 h w"]
) -> Bool[Tensor, "P 1 h w"]:
    """Where the flow leads to a like brightness; across a cut round trips also close by chance."""
    return (_follow(there, flow) - here).abs() < 0.12


def _follow(
    values: Float[Tensor, "n c h w"], flow: Float[Tensor, "n 2 _h _w"], outside: float | None = None
) -> Float[Tensor, "n c h w"]:
    """`values` looked up where the flow leads; beyond the border the border, or `outside`."""
    height, width = values.shape[2:]
    scale = torch.tensor([width / flow.shape[3], height / flow.shape[2]]).to(flow)
    if flow.shape[2:] != values.shape[2:]:
        flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
    step = flow * scale[:, None, None]
    x = torch.arange(width).to(step) + 0.5 + step[:, 0]
    y = torch.arange(height).to(step)[:, None] + 0.5 + step[:, 1]
    grid = torch.stack([x / width * 2 - 1, y / height * 2 - 1], dim=-1)
    moved = F.grid_sample(values, grid.to(values), padding_mode="border", align_corners=False)
    if outside is None:
        return moved
    inside = ((grid.abs() <= 1).all(dim=-1))[:, None]
    return torch.where(inside, moved, torch.full_like(moved, outside))


def _resized_mask(mask: Bool[Tensor, "n 1 _h _w"], like: Tensor) -> Bool[Tensor, "n 1 h w"]:
    if mask.shape[2:] == like.shape[2:]:
        return mask
    return F.interpolate(mask.float(), like.shape[2:], mode="nearest") > 0.5


def _matched_samples(
    disparity: Float[Tensor, "T 1 h w"], flow: ClipFlow, samples: int = 4000
) -> list[tuple[Tensor, Tensor]]:
    """For each pair, disparities here and there of up to `samples` pixels that can be followed."""
    small = F.interpolate(disparity, flow.forward.shape[2:], mode="area")
    pairs = []
    for pair in range(len(small) - 1):
        there = _follow(small[pair + 1 : pair + 2], flow.forward[pair : pair + 1])
        sure = flow.forward_sure[pair]
        # After a cut the few round trips that close do so by chance.
        if sure.float().mean() < 0.25:
            sure = torch.zeros_like(sure)
        a, b = small[pair][sure].double(), there[0][sure].double()
        step = max(1, len(a) // samples)
        pairs.append((a[::step], b[::step]))
    return pairs


def _solve_reweighted(
    pairs: list[tuple[Tensor, Tensor]], scale: Tensor, offset: Tensor, shift: bool
) -> tuple[Tensor, Tensor]:
    """One weighted least-squares step of `fit_scale_and_shift` for (a_0, b_0, a_1, ...)."""
    frames = len(scale)
    pull = 1e-3
    normal = torch.eye(2 * frames, dtype=torch.float64) * pull
    right = torch.zeros(2 * frames, dtype=torch.float64)
    right[0::2] = pull
    for t, (here, there) in enumerate(pairs):
        if len(here) == 0:
            continue
        residual = scale[t] * here + offset[t] - scale[t + 1] * there - offset[t + 1]
        # Cauchy weights at twice the typical residual: moving or mistracked pixels drop out.
        spread = 2 * 1.48 * residual.abs().median().clamp_min(1e-4)
        weight = 1 / (1 + (residual / spread) ** 2)
        one = torch.ones_like(here)
        rows = torch.stack([here, one, -there, -one], dim=1)
        block = slice(2 * t, 2 * t + 4)
        normal[block, block] += (rows * weight[:, None]).T @ rows / weight.sum()
    if not shift:
        keep = torch.arange(0, 2 * frames, 2)
        scale = torch.linalg.solve(normal[keep][:, keep], right[keep])
        return scale / scale.mean(), torch.zeros_like(scale)
    solved = torch.linalg.solve(normal, right)
    scale, offset = solved[0::2], solved[1::2]
    # Noise shrinks all scales alike; the clip as a whole keeps the scale it came with.
    return scale / scale.mean(), offset / scale.mean()


def _recursive_average(
    disparity: Float[Tensor, "T 1 h w"],
    back: Float[Tensor, "P 2 _h _w"],
    sure: Bool[Tensor, "P 1 _h _w"],
    smoothing: float,
    tolerance: float,
) -> Float[Tensor, "T 1 h w"]:
    """Running mean from the first frame on; `back[t]` leads from frame t + 1 to frame t."""
    averaged = [disparity[:1]]
    for t in range(1, len(disparity)):
        now = disparity[t : t + 1]
        before = _follow(averaged[-1], back[t - 1 : t])
        known = _resized_mask(sure[t - 1 : t], now)
        alike = torch.exp(-(((before - now) / tolerance) ** 2))
        weight = smoothing * alike * known
        averaged.append(now + weight * (before - now))
    return torch.cat(averaged)
