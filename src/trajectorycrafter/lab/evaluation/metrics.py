"""The measures of a made clip against the true one, by name, and how a clip gets its scores.

The one thing a reader would get wrong: the score of a clip is the mean of its frames' values, and a
frame whose mask is empty is left out of it. `psnr_pooled` and the masks of `flicker` and
`warping_error` alone work otherwise. LPIPS needs weights and is made by `perceptual.load_lpips`;
formulas, sources and measured equality with other implementations are in
`docs/reference/metrics.md`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from .dino import dino_distance
from .pixels import Frames, Mask, psnr, psnr_pooled, ssim, ssim_dycheck, ssim_uniform7
from .records import Column
from .temporal import flicker_of_frames, warping_error_of_frames


@dataclass(frozen=True)
class Metric(Column):
    """A measure of frames against true frames, one value a frame, and how its column is headed."""

    compute: Callable[[Frames, Frames, Mask | None], Float[Tensor, " T"]] = field(kw_only=True)
    """From made and true frames and what counts of them (None: all) to one value per frame, nan
    where nothing is to be measured."""


METRICS: dict[str, Metric] = {metric.name: metric for metric in [
    Metric("psnr", "PSNR (dB)", "higher",
           "-10 log10(MSE) of RGB in [0, 1], each frame; mean over frames.", 2, compute=psnr),
    Metric("psnr_pooled", "PSNR, pooled (dB)", "higher",
           "-10 log10 of the MSE over all frames together.", 2, compute=psnr_pooled),
    Metric("psnr_dycheck", "PSNR, DyCheck (dB)", "higher",
           "PSNR of the pixels that count, as DyCheck (mPSNR): the formula of `psnr`.", 2,
           compute=psnr),
    Metric("psnr_som", "PSNR, Shape of Motion (dB)", "higher",
           "PSNR of the pixels that count, as Shape of Motion (mPSNR): the formula of "
           "`psnr`.", 2, compute=psnr),
    Metric("ssim", "SSIM", "higher",
           "Wang et al. 2004: Gaussian window 11x11 of 1.5 pixels, data range 1, "
           "channel mean.", 3, compute=ssim),
    Metric("ssim_uniform7", "SSIM, 7x7", "higher",
           "scikit-image's default, as CogNVS: uniform window 7x7, sample "
           "covariance.", 3, compute=ssim_uniform7),
    Metric("ssim_dycheck", "SSIM, DyCheck", "higher",
           "Gaussian over the pixels that count, mean over all windows, as "
           "DyCheck (mSSIM).", 3, compute=ssim_dycheck),
    Metric("ssim_som", "SSIM, Shape of Motion", "higher",
           "As Shape of Motion (mSSIM): the formula of `ssim_dycheck`.", 3, compute=ssim_dycheck),
    Metric("dino", "DINO distance", "lower",
           "1 - cosine of DINOv2 ViT-S/14 patch tokens at 224 pixels, mean; "
           "not LPIPS.", 4, compute=dino_distance),
    Metric("flicker", "Flicker", "lower",
           "Mean |change from frame to frame, made minus true|, RGB in "
           "[0, 1].", 4, compute=flicker_of_frames),
    Metric("warping_error", "Warping error", "lower",
           "Lai et al. 2018: MSE of a frame and the next one warped "
           "onto it by the truth's flow.", 5, compute=warping_error_of_frames),
]}  # fmt: skip
"""Those that need no weights beyond this package's own."""


def score(
    made: Float[Tensor, "T 3 H W"],
    true: Float[Tensor, "_t 3 _h _w"],
    metrics: Iterable[Metric],
    regions: Mapping[str, Bool[Tensor, "_t _c _h _w"] | None],
) -> dict[str, float]:
    """A clip's value of each metric in each region: the mean over frames, nan left out.

    Args:
        regions: `{"": None, "holes": mask}` gives `psnr` and `psnr_holes`; a mask is True where a
            pixel counts. A key is left out if no frame has anything to measure.

    Raises:
        ValueError: clips or masks of different lengths or sizes, or no frames.
    """
    _check_alike(made, true, regions)
    values = {}
    for metric in metrics:
        for region, mask in regions.items():
            mean = float(metric.compute(made, true, mask).nanmean())
            if mean == mean:
                values[_key(metric, region)] = mean
    return values


def columns(metrics: Iterable[Metric], regions: Collection[str]) -> list[Column]:
    """How a report heads the keys of `score`, in the order of `score`."""
    found = []
    for m in metrics:
        for region in regions:
            label = f"{m.label}, {region}" if region else m.label
            found.append(Column(_key(m, region), label, m.better, m.about, m.digits))
    return found


def _key(metric: Metric, region: str) -> str:
    return f"{metric.name}_{region}" if region else metric.name


def _check_alike(made: Tensor, true: Tensor, regions: Mapping[str, Tensor | None]) -> None:
    if len(made) == 0:
        raise ValueError("Expected at least one frame to score; got an empty clip.")
    if made.shape != true.shape:
        got = " and ".join(f"{len(x)} frames of {x.shape[2]}x{x.shape[3]}" for x in (made, true))
        raise ValueError(
            f"Made and true clip must be alike; got {got}. Choose the same frames and resize one "
            "of them."
        )
    wanted = (len(made), 1, *made.shape[2:])
    for region, mask in regions.items():
        if mask is not None and tuple(mask.shape) != wanted:
            raise ValueError(
                f"The mask of region {region!r} must have shape {wanted}, one channel for each "
                f"frame; got {tuple(mask.shape)}."
            )
