"""Depth of single frames made consistent along a clip, and relative disparity made into depth.

An estimator that sees one frame at a time gives every frame its own scale and shift, and noise on
top. Both are repaired here along the optical flow: one scale and shift per frame for the whole clip
at once, then a light average of each pixel with itself in the neighboring frames.

The one thing a reader would get wrong: everything here works on *disparity* (large is near, 0 is
infinitely far), because errors of such estimators are even in disparity and explode in depth.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..video.clip import Video
from ..video.flow import ClipFlow, clip_flow, warp


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

    Solves all frames at once, `a_t d_t(p) + b_t = a_u d_u(p + flow) + b_u` for neighbors t and u,
    by iteratively reweighted least squares. Chaining pairs instead would let errors add up. A weak
    pull of every frame to scale 1 and shift 0 keeps the solution from collapsing to a = 0 and
    from drifting; frames across a cut, which share no pixels, are held by it alone.
    """
    frames = len(disparity)
    unit = float(disparity.abs().mean().clamp_min(1e-12))
    small = F.interpolate(disparity / unit, flow.forward.shape[2:], mode="area")
    pairs = []
    for t, sure in enumerate(flow.forward_sure):
        # After a cut the few round trips that close do so by chance.
        if sure.float().mean() < 0.25:
            continue
        followed = warp(small[t + 1 : t + 2], flow.forward[t : t + 1])[0]
        here, there = small[t][sure].double(), followed[sure].double()
        # Some 4000 pixels tell two numbers well enough.
        thinned = slice(None, None, max(1, len(here) // 4000))
        pairs.append((t, here[thinned], there[thinned]))
    # The unknowns are a_0, b_0, a_1, ...; without shift every second one stays 0.
    sought = torch.arange(0, 2 * frames, 1 if shift else 2)
    pull = 1e-3
    scale = torch.ones(frames, dtype=torch.float64)
    offset = torch.zeros(frames, dtype=torch.float64)
    for _ in range(6):
        normal = torch.eye(2 * frames, dtype=torch.float64) * pull
        right = torch.zeros(2 * frames, dtype=torch.float64)
        right[0::2] = pull
        for t, here, there in pairs:
            residual = scale[t] * here + offset[t] - scale[t + 1] * there - offset[t + 1]
            # Cauchy weights at twice the typical residual (1.48 medians are a standard deviation):
            # moving or mistracked pixels drop out.
            spread = 2 * 1.48 * residual.abs().median().clamp_min(1e-4)
            weight = 1 / (1 + (residual / spread) ** 2)
            one = torch.ones_like(here)
            rows = torch.stack([here, one, -there, -one], dim=1)
            block = slice(2 * t, 2 * t + 4)
            normal[block, block] += (rows * weight[:, None]).T @ rows / weight.sum()
        solved = torch.zeros_like(right)
        solved[sought] = torch.linalg.solve(normal[sought][:, sought], right[sought])
        # Noise shrinks all scales alike; the clip as a whole keeps the scale it came with.
        mean = solved[0::2].mean()
        scale, offset = solved[0::2] / mean, solved[1::2] / mean
    return scale.to(disparity), (offset * unit).to(disparity)


def smooth_along_flow(
    disparity: Float[Tensor, "T 1 h w"], flow: ClipFlow, smoothing: float
) -> Float[Tensor, "T 1 h w"]:
    """Average every pixel with its own past and its own future, where it can be followed.

    Two recursive averages, one from the first frame on and one from the last frame back, meet in
    the middle. Pixels that lose their track or change by more than noise start again, so that
    moving edges leave no trail.
    """
    low, high = _percentiles(disparity, 0.05, 0.95)
    # A change of a tenth of the clip's range is an edge that passes, not noise.
    tolerance = 0.1 * float((high - low).clamp_min(1e-12))
    averages = []
    for values, back, sure in (
        (disparity, flow.backward, flow.backward_sure),
        (disparity.flip(0), flow.forward.flip(0), flow.forward_sure.flip(0)),
    ):
        known = F.interpolate(sure.float(), disparity.shape[2:], mode="nearest")
        averaged = [values[:1]]
        for t in range(1, len(values)):
            change = warp(averaged[-1], back[t - 1 : t]) - values[t : t + 1]
            weight = smoothing * torch.exp(-((change / tolerance) ** 2)) * known[t - 1 : t]
            averaged.append(values[t : t + 1] + weight * change)
        averages.append(torch.cat(averaged))
    past, future = averages
    return (past + future.flip(0)) / 2


def flicker(values: Float[Tensor, "T 1 h w"], video: Video, flow: ClipFlow | None = None) -> float:
    """Mean change of a pixel followed along the flow, relative to the mean value; 0 is steady.

    Args:
        values: disparity or depth. Disparity tells more: in depth the far background outweighs all.
        flow: `clip_flow(video)`, if the caller has it already.
    """
    if len(video) < 2:
        return 0.0
    flow = clip_flow(video) if flow is None else flow
    known = F.interpolate(flow.forward_sure.float(), values.shape[2:], mode="nearest") > 0.5
    change, count = 0.0, 0
    for t, sure in enumerate(known.split(1)):
        moved = warp(values[t + 1 : t + 2], flow.forward[t : t + 1])
        difference = (moved - values[t : t + 1]).abs()[sure]
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
    low, high = _percentiles(disparity, 0.002, 0.998)
    if zero_is_far:
        low = torch.zeros_like(low)
    spread = high - low
    if float(spread) <= 1e-9 * max(float(high.abs()), 1e-12):
        return torch.full_like(disparity, near)
    d = ((disparity - low) / spread).clamp_min(0)
    return 1 / (1 / far + (1 / near - 1 / far) * d)


def _percentiles(values: Tensor, *shares: float) -> Tensor:
    """Quantiles of at most a million evenly taken values; `torch.quantile` allows few more."""
    flat = values.flatten()
    flat = flat[:: max(1, len(flat) // 1_000_000)].float()
    return torch.quantile(flat, flat.new_tensor(shares))
