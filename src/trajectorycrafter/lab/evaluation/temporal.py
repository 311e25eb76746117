"""How steady a clip is: change from frame to frame, and change that motion does not explain.

The one thing a reader would get wrong: a frozen or blurred clip is steady. `frame_difference` and
`warping_error` of a clip alone reward that; `flicker` and a warping error along the truth's flow do
so less, and none of them replaces a measure of what the frames show.

Pair t is the frames t and t + 1. The functions `..._of_frames` put its value at t, so the last
frame's is nan; the others give the mean over pairs.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ...video.flow import SMALLEST_SIDE, optical_flow, to_gray, warp
from .pixels import Frames, Mask


def frame_difference(frames: Frames, mask: Mask | None = None) -> float:
    """Mean |frame t + 1 - frame t| over pixels, channels and pairs, in [0, 1]; no truth needed.

    One minus it is the "temporal flickering" of VBench (Huang et al. 2024), which counts in 8 bits:
    (255 - mean absolute difference) / 255.

    A pixel counts for a pair if the mask has it in both frames; nan if there is nothing to measure.
    """
    return float(flicker_of_frames(frames, torch.zeros_like(frames), mask).nanmean())


def flicker(made: Frames, true: Frames, mask: Mask | None = None) -> float:
    """Mean |(made t + 1 - made t) - (true t + 1 - true t)| over pixels, channels and pairs.

    The change that is not the truth's own, in [0, 2]: 0 for the truth, and for the truth plus any
    picture that stays as it is. Own definition; after the residual of VBench's flickering. Mask and
    nan as for `frame_difference`.
    """
    return float(flicker_of_frames(made, true, mask).nanmean())


def flicker_of_frames(made: Frames, true: Frames, mask: Mask | None = None) -> Float[Tensor, " T"]:
    """`flicker` of each pair, nan at the last frame."""
    values = torch.full_like(made[:, 0, 0, 0], torch.nan)
    for t in range(len(made) - 1):
        change = ((made[t + 1] - made[t]) - (true[t + 1] - true[t])).abs().double()
        values[t] = (change if mask is None else change[:, (mask[t] & mask[t + 1])[0]]).mean()
    return values


def warping_error(made: Frames, true: Frames | None = None, mask: Mask | None = None) -> float:
    """Mean squared difference of a frame and the next one warped onto it, where motion is known.

    `E = sum_i M_i (V_t - W(V_{t+1}))_i^2 / sum_i M_i`, mean over channels and over pairs: the
    warping error of Lai et al. 2018, "Learning Blind Video Temporal Consistency", as
    `evaluate_WarpError.py` of their code has it. M leaves out what `unoccluded` does. Their
    flow is FlowNet2 of the unprocessed clip; here it is dense inverse search (Kroeger et al. 2016),
    so compare values of this function only.

    Args:
        true: the clip whose flow is followed; None for the flow of `made` itself, which hides
            wobble, since the flow follows it.
        mask: a pixel counts for a pair if it does in frame t; nan if there is nothing to measure.

    Raises:
        ValueError: frames smaller than 16 pixels.
    """
    return float(warping_error_of_frames(made, made if true is None else true, mask).nanmean())


def warping_error_of_frames(
    made: Frames, true: Frames, mask: Mask | None = None
) -> Float[Tensor, " T"]:
    """`warping_error` of each pair along the flow of `true`, nan at the last frame."""
    if min(made.shape[2:]) < SMALLEST_SIDE:
        raise ValueError(
            f"Optical flow needs frames of {SMALLEST_SIDE} pixels or more on each side; got "
            f"{made.shape[2]}x{made.shape[3]}. Use larger frames or leave the warping error out."
        )
    values = torch.full_like(made[:, 0, 0, 0], torch.nan)
    grays = to_gray(true)
    for t in range(len(grays) - 1):
        pair = grays[t : t + 2]
        forward, backward = optical_flow(pair, "MEDIUM"), optical_flow(pair[::-1], "MEDIUM")
        counts = unoccluded(forward, backward)[0].to(made.device)
        if mask is not None:
            counts &= mask[t]
        warped = warp(made[t + 1 : t + 2], forward.to(made.device))[0]
        values[t] = (warped - made[t]).double().square()[:, counts[0]].mean()
    return values


def unoccluded(
    forward: Float[Tensor, "1 2 H W"], backward: Float[Tensor, "1 2 H W"]
) -> Bool[Tensor, "1 1 H W"]:
    """Where the flow from a frame to the next can be trusted, on the first one's grid.

    Ruder et al. 2016, "Artistic Style Transfer for Videos", as Lai et al. use it: going there (w)
    and back (b) returns, `|w + b|^2 <= 0.01 (|w|^2 + |b|^2) + 0.5`; no edge of the motion is near,
    `|grad w|^2 <= 0.01 |w|^2 + 0.002`; and the flow stays inside the frame.

    Args:
        forward: from the first frame to the next, pixels.
        backward: from the next frame to the first, on the next one's grid.
    """
    # What leaves the frame becomes nan and closes nowhere.
    returned = warp(backward, forward, outside=torch.nan)
    length = forward.square().sum(dim=1, keepdim=True)
    slack = 0.01 * (length + returned.square().sum(dim=1, keepdim=True)) + 0.5
    closes = (forward + returned).square().sum(dim=1, keepdim=True) <= slack
    right = F.pad(forward[..., 1:] - forward[..., :-1], (0, 1))
    down = F.pad(forward[..., 1:, :] - forward[..., :-1, :], (0, 0, 0, 1))
    edge = (right.square() + down.square()).sum(dim=1, keepdim=True)
    return closes & (edge <= 0.01 * length + 0.002)
