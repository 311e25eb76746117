"""PSNR and SSIM of each frame, plain and as the two masked protocols of the iPhone clips have them.

The one thing a reader would get wrong: "SSIM" names several formulas. `ssim` is the Gaussian one of
Wang et al. 2004, `ssim_uniform7` the default of scikit-image, `ssim_dycheck` the masked one of
DyCheck and Shape of Motion. On the same pictures they differ by more than most methods do.

Everything is computed in float64: a variance is the small difference of two large numbers.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Frames: TypeAlias = Float[Tensor, "T 3 H W"]
Mask: TypeAlias = Bool[Tensor, "T 1 H W"]

K1, K2 = 0.01, 0.03
"""What keeps the two quotients of SSIM finite, as shares of the data range (which is 1)."""
HIGHEST_DB = 100.0
"""PSNR of equal frames; without a bound one such frame would make a clip's mean infinite."""
GAUSSIAN = 11
"""Taps of the Gaussian window; its standard deviation is 1.5."""
UNIFORM = 7
"""Taps of the uniform window."""


def psnr(made: Frames, true: Frames, mask: Mask | None = None) -> Float[Tensor, " T"]:
    """Peak signal-to-noise ratio of each frame, dB: `-10 log10(MSE)`, the peak being 1.

    The MSE is the mean over the pixels that count and over the three channels. That is
    `peak_signal_noise_ratio(data_range=1)` of scikit-image; with a mask it is `compute_psnr` of
    DyCheck (`dycheck/core/metrics/image.py`, Gao et al. 2022) and `mPSNR` of Shape of Motion
    (`flow3d/metrics.py`, Wang et al. 2024), which are one formula. On a frame whose mask is empty
    DyCheck says infinite, Shape of Motion nan for the whole clip.

    Returns:
        At most `HIGHEST_DB`, nan for a frame whose mask is empty.
    """
    return _decibel(_squared_errors(made, true, mask) / _counted(made, mask))


def psnr_pooled(made: Frames, true: Frames, mask: Mask | None = None) -> Float[Tensor, " T"]:
    """PSNR of the MSE over all frames together, dB.

    Never above the mean of the frames' own PSNR (Jensen), and far below it where few are bad.

    Returns:
        The one number for every frame, nan for a frame whose mask is empty.
    """
    counted = _counted(made, mask)
    pooled = _decibel(_squared_errors(made, true, mask).sum() / counted.sum())
    return torch.where(counted > 0, pooled, torch.nan)


def ssim(made: Frames, true: Frames, mask: Mask | None = None) -> Float[Tensor, " T"]:
    """Structural similarity of each frame with the Gaussian window (Wang et al. 2004, eq. 13).

    `(2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2))` with the moments
    under an 11x11 Gaussian of 1.5 pixels, C1 = 0.01^2, C2 = 0.03^2; mean over the windows that lie
    inside the frame and over channels. That is scikit-image's `structural_similarity` with
    `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1`. torchmetrics has
    the same map, but its mean also counts windows that reach over the border (reflected).

    Args:
        mask: the mean is over windows whose middle counts; a window may reach beyond the mask.

    Raises:
        ValueError: frames smaller than the window.
    """
    return _ssim_of_windows(made, true, mask, gaussian_taps(made.double()))


def ssim_uniform7(made: Frames, true: Frames, mask: Mask | None = None) -> Float[Tensor, " T"]:
    """Structural similarity of each frame with a uniform 7x7 window and sample covariances.

    The formula of `ssim`, variances and covariance times 49/48. It is what scikit-image does unless
    told otherwise (`structural_similarity(data_range=1, channel_axis=0)`), and so the SSIM of
    CogNVS (`eval/eval_metrics.py`, Chen et al. 2025).

    A mask counts as in `ssim`.

    Raises:
        ValueError: frames smaller than the window.
    """
    taps = torch.full((UNIFORM,), 1 / UNIFORM, dtype=torch.float64, device=made.device)
    return _ssim_of_windows(made, true, mask, taps, UNIFORM**2 / (UNIFORM**2 - 1))


def ssim_dycheck(made: Frames, true: Frames, mask: Mask | None = None) -> Float[Tensor, " T"]:
    """Structural similarity under a mask, of DyCheck and Shape of Motion, each frame.

    `compute_ssim` of `dycheck/core/metrics/image.py` (Gao et al. 2022) and `mSSIM` of
    `flow3d/metrics.py` (Wang et al. 2024), which are one formula. The Gaussian runs along rows,
    then along columns, each time over the pixels that count and times 11 over their number, as in
    partial convolutions (Liu et al. 2018). So where a mask cuts a window, the weights do not sum
    to one. Variances are clamped at 0, the covariance at the geometric mean of the variances.

    The mean is over *all* windows inside the frame, as in the originals: one without any pixel that
    counts has SSIM 1. A small mask therefore brings every method near 1. Without a mask this is
    `ssim`, but for the clamps.

    Returns:
        nan for a frame whose mask is empty (the originals say 1).

    Raises:
        ValueError: frames smaller than the window.
    """
    _check_window(made, GAUSSIAN)
    counts = torch.ones_like(made[:, :1], dtype=torch.bool) if mask is None else mask
    values = torch.full_like(made[:, 0, 0, 0], torch.nan)
    for t, (x, y, m) in enumerate(zip(made, true, counts, strict=True)):
        if not m.any():
            continue
        mean_x, mean_y, *rest = _moments(x, y, partial(_partially_blurred, mask=m.double()))
        variance_x, variance_y = (variance.clamp_min(0) for variance in rest[:2])
        most = (variance_x * variance_y).sqrt()
        covariance = rest[2].sign() * torch.minimum(most, rest[2].abs())
        values[t] = _similarity(mean_x, mean_y, variance_x, variance_y, covariance).mean()
    return values


def gaussian_taps(like: Tensor) -> Float[Tensor, " n"]:
    """The 11 weights of a Gaussian of 1.5 pixels; they sum to one."""
    steps = torch.arange(GAUSSIAN, dtype=like.dtype, device=like.device) - GAUSSIAN // 2
    return torch.softmax(-0.5 * (steps / 1.5) ** 2, dim=0)


def _decibel(mse: Tensor) -> Tensor:
    return (-10 * torch.log10(mse)).clamp(max=HIGHEST_DB)


def _squared_errors(made: Frames, true: Frames, mask: Mask | None) -> Float[Tensor, " T"]:
    """Sum of the squared differences that count, frame by frame to save memory."""
    sums = []
    for t, (x, y) in enumerate(zip(made, true, strict=True)):
        squares = (x.double() - y.double()).square()
        sums.append((squares if mask is None else squares * mask[t]).sum())
    return torch.stack(sums).to(made.dtype)


def _counted(made: Frames, mask: Mask | None) -> Float[Tensor, " T"]:
    """How many values of each frame count, channels included; as float."""
    if mask is None:
        return torch.full_like(made[:, 0, 0, 0], made[0].numel())
    return 3 * mask.flatten(1).sum(dim=1).to(made.dtype)


def _ssim_of_windows(
    made: Frames, true: Frames, mask: Mask | None, taps: Float[Tensor, " n"], sample: float = 1.0
) -> Float[Tensor, " T"]:
    """Means of the frames' similarity maps over the windows whose middle counts.

    Args:
        taps: the window's weights along either axis.
        sample: factor on the variances and the covariance.
    """
    _check_window(made, len(taps))
    inside = (..., *(slice(len(taps) // 2, side - len(taps) // 2) for side in made.shape[2:]))
    means = []
    for t, (x, y) in enumerate(zip(made, true, strict=True)):
        mean_x, mean_y, *rest = _moments(x, y, lambda v: _slid(_slid(v, taps, -1), taps, -2))
        found = _similarity(mean_x, mean_y, *(sample * moment for moment in rest)).mean(dim=0)
        means.append((found if mask is None else found[mask[t, 0][inside]]).mean())
    return torch.stack(means).to(made.dtype)


def _moments(x: Tensor, y: Tensor, mean: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    """Both means, both variances and the covariance, `mean` being that of each window."""
    x, y = x.double(), y.double()
    mean_x, mean_y, xx, yy, xy = (mean(v) for v in (x, y, x * x, y * y, x * y))
    return mean_x, mean_y, xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y


def _similarity(
    mean_x: Tensor, mean_y: Tensor, variance_x: Tensor, variance_y: Tensor, covariance: Tensor
) -> Tensor:
    c1, c2 = K1**2, K2**2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return above / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))


def _partially_blurred(
    values: Float[Tensor, "C H W"], mask: Float[Tensor, "1 H W"]
) -> Float[Tensor, "C h w"]:
    """Gaussian means over the pixels that count; 0 where none does."""
    taps = gaussian_taps(values)
    ones = torch.ones_like(taps)
    for dim in (-1, -2):
        number = _slid(mask, ones, dim)
        values = _slid(values * mask, taps, dim) * (GAUSSIAN / number.clamp_min(1))
        mask = (number > 0).to(values)
    return values


def _slid(values: Float[Tensor, "C H W"], taps: Float[Tensor, " n"], dim: int) -> Tensor:
    """Weighted sums along one axis, of whole windows only.

    Sums of shifted views: in float64 on a CPU seven times as fast as `conv2d`.
    """
    length = values.shape[dim] - len(taps) + 1
    total = values.narrow(dim, 0, length) * taps[0]
    for k in range(1, len(taps)):
        total.add_(values.narrow(dim, k, length), alpha=float(taps[k]))
    return total


def _check_window(frames: Frames, window: int) -> None:
    height, width = frames.shape[2:]
    if min(height, width) < window:
        raise ValueError(
            f"SSIM looks through windows of {window}x{window} pixels; got frames of "
            f"{height}x{width}. Use larger frames or another metric."
        )
