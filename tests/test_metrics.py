"""PSNR and SSIM against scikit-image and loops; the table of metrics; scores."""

import math
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from trajectorycrafter.lab.evaluation import metrics, pixels
from trajectorycrafter.lab.evaluation.metrics import METRICS, Metric, columns, score

# Ours is float64 throughout, rounded to float32 once.
CLOSE = 1e-5

PIXELWISE = ["psnr", "psnr_pooled", "ssim", "ssim_uniform7", "ssim_dycheck"]


def random_pair(frames: int = 2, height: int = 40, width: int = 56) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(frames, 3, height, width, generator=generator)
    noise = torch.randn(true.shape, generator=generator)
    return (true + 0.1 * noise).clamp(0, 1), true


def real_pair() -> tuple[torch.Tensor, ...]:
    """Photographs, one of them with flat dark and light parts, and their noisy, blurred copies."""
    images = [skimage.data.astronaut()[:200, :300], skimage.data.coffee()[100:300, 100:400]]
    true = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
    blurred = torch.nn.functional.avg_pool2d(true, 5, stride=1, padding=2)
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(1))
    return (blurred + 0.02 * noise).clamp(0, 1), true


def random_mask(frames: torch.Tensor, share: float = 0.5) -> torch.Tensor:
    """Blobs of a few pixels, so that windows are cut in all ways."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(len(frames), 1, 8, 9, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, frames.shape[2:], mode="bilinear")
    return fine < fine.flatten().quantile(share)


PAIRS = pytest.mark.parametrize("pair", [random_pair(), real_pair()], ids=["random", "real"])


def channels_last(frame: torch.Tensor) -> np.ndarray:
    return frame.permute(1, 2, 0).double().numpy()


@PAIRS
def test_psnr_is_that_of_scikit_image(pair: tuple[torch.Tensor, ...]) -> None:
    made, true = pair
    theirs = [
        peak_signal_noise_ratio(channels_last(t), channels_last(m), data_range=1)
        for m, t in zip(made, true)
    ]
    assert pixels.psnr(made, true).numpy() == pytest.approx(theirs, abs=CLOSE)


def test_psnr_of_a_known_difference() -> None:
    true = torch.full((1, 3, 4, 4), 0.5)
    assert float(pixels.psnr(true + 0.1, true)) == pytest.approx(20, abs=1e-5)
    assert float(pixels.psnr(true, true)) == pixels.HIGHEST_DB


def test_masked_psnr_is_that_of_the_part() -> None:
    made, true = random_pair()
    mask = torch.zeros_like(made[:, :1], dtype=torch.bool)
    mask[..., 5:20, 8:30] = True
    part = (..., slice(5, 20), slice(8, 30))
    expected = pixels.psnr(made[part], true[part])
    torch.testing.assert_close(pixels.psnr(made, true, mask), expected, rtol=0, atol=CLOSE)


def test_pooled_psnr_pools_the_errors() -> None:
    _, true = random_pair(frames=3)
    made = true.clone()
    made[1] += 0.2
    mask = torch.ones_like(made[:, :1], dtype=torch.bool)
    mask[2] = False
    assert pixels.psnr_pooled(made, true).tolist() == pytest.approx(
        [-10 * math.log10(0.04 / 3)] * 3, abs=1e-4
    )
    masked = pixels.psnr_pooled(made, true, mask)
    assert masked[:2].tolist() == pytest.approx([-10 * math.log10(0.04 / 2)] * 2, abs=1e-4)
    assert masked[2].isnan()


@PAIRS
def test_ssim_is_that_of_scikit_image(pair: tuple[torch.Tensor, ...]) -> None:
    made, true = pair
    theirs = [
        structural_similarity(
            channels_last(t),
            channels_last(m),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=-1,
        )
        for m, t in zip(made, true)
    ]
    ours = pixels.ssim(made, true)
    assert ours.numpy() == pytest.approx(theirs, abs=CLOSE)


@PAIRS
def test_uniform_ssim_is_scikit_images_default(pair: tuple[torch.Tensor, ...]) -> None:
    made, true = pair
    theirs = [
        structural_similarity(channels_last(t), channels_last(m), data_range=1, channel_axis=-1)
        for m, t in zip(made, true)
    ]
    assert pixels.ssim_uniform7(made, true).numpy() == pytest.approx(theirs, abs=CLOSE)


def test_masked_ssim_is_the_mean_of_scikit_images_map() -> None:
    made, true = real_pair()
    mask = random_mask(made)
    found: Any = structural_similarity(
        channels_last(true[0]),
        channels_last(made[0]),
        gaussian_weights=True,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=-1,
        full=True,
    )
    whole = found[1]
    expected = whole[5:-5, 5:-5][mask[0, 0, 5:-5, 5:-5].numpy()].mean()
    assert float(pixels.ssim(made, true, mask)[0]) == pytest.approx(expected, abs=CLOSE)


def looped_masked_ssim(made: np.ndarray, true: np.ndarray, mask: np.ndarray) -> float:
    """DyCheck's masked SSIM of one channel, a window at a time."""
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    taps /= taps.sum()
    height, width = made.shape

    def mean(image: np.ndarray, y: int, x: int) -> float:
        total, rows = 0.0, 0
        for dy in range(11):
            seen = mask[y + dy, x : x + 11]
            if seen.any():
                rows += 1
                total += taps[dy] * (taps * image[y + dy, x : x + 11])[seen].sum() * 11 / seen.sum()
        return total * 11 / rows if rows else 0.0

    values = []
    for y in range(height - 10):
        for x in range(width - 10):
            mx, my = mean(made, y, x), mean(true, y, x)
            vx = max(0.0, mean(made**2, y, x) - mx**2)
            vy = max(0.0, mean(true**2, y, x) - my**2)
            cov = mean(made * true, y, x) - mx * my
            cov = math.copysign(min(math.sqrt(vx * vy), abs(cov)), cov)
            c1, c2 = 0.01**2, 0.03**2
            above = (2 * mx * my + c1) * (2 * cov + c2)
            values.append(above / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_masked_ssim_of_dycheck_against_loops(share: float) -> None:
    made, true = random_pair(frames=1, height=24, width=30)
    mask = random_mask(made, share)
    looped = [
        looped_masked_ssim(m.double().numpy(), t.double().numpy(), mask[0, 0].numpy())
        for m, t in zip(made[0], true[0])
    ]
    ours = float(pixels.ssim_dycheck(made, true, mask))
    assert ours == pytest.approx(np.mean(looped), abs=1e-6)


def test_masked_ssim_of_dycheck_counts_unseen_windows_as_perfect() -> None:
    made, true = random_pair(frames=1, height=60, width=60)
    mask = torch.zeros_like(made[:, :1], dtype=torch.bool)
    mask[..., :12, :12] = True
    assert float(pixels.ssim_dycheck(made, true, mask)) > 0.9
    assert float(pixels.ssim_dycheck(made, 1 - true, mask)) > 0.9
    assert float(pixels.ssim(made, 1 - true, mask)) < 0


@PAIRS
def test_masked_ssim_of_dycheck_without_a_mask_is_ssim(pair: tuple[torch.Tensor, ...]) -> None:
    torch.testing.assert_close(pixels.ssim_dycheck(*pair), pixels.ssim(*pair), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["ssim", "ssim_uniform7", "ssim_dycheck"])
def test_frames_smaller_than_the_window_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"windows of .* pixels; got frames of 6x20"):
        METRICS[name].compute(torch.rand(1, 3, 6, 20), torch.rand(1, 3, 6, 20), None)


# ------------------------------------------------------------------------------- every metric


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    """Three frames of a window that moves over a photograph."""
    image = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1) / 255
    return torch.stack([image[:, 40 + t : 136 + t, 180 + 2 * t : 276 + 2 * t] for t in range(3)])


every = pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))


@every
def test_a_metric_is_worse_the_more_noise(metric: Metric, photograph: torch.Tensor) -> None:
    noise = torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0))
    values = [
        float(metric.compute((photograph + s * noise).clamp(0, 1), photograph, None).nanmean())
        for s in (0.01, 0.05, 0.2)
    ]
    assert values == sorted(values, reverse=metric.better == "higher")
    assert len(set(values)) == 3


@every
def test_the_truth_is_best(metric: Metric, photograph: torch.Tensor) -> None:
    value = float(metric.compute(photograph, photograph, None).nanmean())
    best = {"psnr": pixels.HIGHEST_DB, "ssim": 1.0}.get(metric.name.split("_")[0], 0.0)
    # The truth's own warping error is what flow leaves unexplained.
    assert value == pytest.approx(best, abs=1e-3 if metric.name == "warping_error" else 1e-5)


@every
def test_a_full_mask_is_no_mask(metric: Metric, photograph: torch.Tensor) -> None:
    true = photograph[:2]
    made = (true * 0.8 + 0.1).flip(3)
    full = torch.ones_like(made[:, :1], dtype=torch.bool)
    torch.testing.assert_close(
        metric.compute(made, true, full),
        metric.compute(made, true, None),
        rtol=1e-5,
        atol=1e-6,
        equal_nan=True,
    )


@every
def test_an_empty_mask_measures_nothing(metric: Metric, photograph: torch.Tensor) -> None:
    mask = torch.ones_like(photograph[:, :1], dtype=torch.bool)
    mask[2] = False
    values = metric.compute((photograph + 0.1).clamp(0, 1), photograph, mask)
    assert values.shape == (3,)
    assert values[0].isfinite()
    assert values[2].isnan()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_similarities_are_symmetric_and_bounded(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    made, true = torch.rand(2, 1, 3, 16, 17, generator=generator)
    mask = torch.rand(1, 1, 16, 17, generator=generator) <= share
    mask[..., 8, 8] = True
    for name in PIXELWISE:
        one = METRICS[name].compute(made, true, mask)
        other = METRICS[name].compute(true, made, mask)
        torch.testing.assert_close(one, other)
        if name.startswith("ssim"):
            assert -1 <= float(one) <= 1


# ------------------------------------------------------------------------------------- scores


def test_a_score_has_a_key_for_each_metric_and_region() -> None:
    made, true = random_pair()
    mask = random_mask(made)
    chosen = [METRICS["psnr"], METRICS["ssim"]]
    regions = {"": None, "holes": ~mask, "seen": mask}
    values = score(made, true, chosen, regions)
    heads = columns(chosen, regions)
    assert list(values) == [head.name for head in heads]
    assert list(values) == ["psnr", "psnr_holes", "psnr_seen", "ssim", "ssim_holes", "ssim_seen"]
    assert values["psnr"] == pytest.approx(float(pixels.psnr(made, true).mean()))
    assert values["ssim_holes"] == pytest.approx(float(pixels.ssim(made, true, ~mask).mean()))
    assert [head.label for head in heads[:2]] == ["PSNR (dB)", "PSNR (dB), holes"]
    assert all(head.better == "higher" and head.about for head in heads)


def test_a_score_is_the_mean_over_frames_that_have_something_to_measure() -> None:
    made, true = random_pair()
    some = random_mask(made)
    some[0] = False
    none = torch.zeros_like(some)
    values = score(made, true, [METRICS["psnr"]], {"some": some, "none": none})
    assert values == {"psnr_some": pytest.approx(float(pixels.psnr(made, true, some)[1]))}


@pytest.mark.parametrize(
    ("made", "true", "mask", "message"),
    [
        ((2, 3, 8, 9), (3, 3, 8, 9), None, "got 2 frames of 8x9 and 3 frames of 8x9"),
        ((2, 3, 8, 9), (2, 3, 9, 8), None, "got 2 frames of 8x9 and 2 frames of 9x8"),
        ((0, 3, 8, 9), (0, 3, 8, 9), None, "at least one frame"),
        ((2, 3, 8, 9), (2, 3, 8, 9), (1, 1, 8, 9), r"region 'holes' .*\(2, 1, 8, 9\)"),
        ((2, 3, 8, 9), (2, 3, 8, 9), (2, 3, 8, 9), r"region 'holes' .*\(2, 1, 8, 9\)"),
    ],
)
def test_what_does_not_fit_is_refused(
    made: tuple[int, ...], true: tuple[int, ...], mask: tuple[int, ...] | None, message: str
) -> None:
    regions = {"holes": None if mask is None else torch.ones(mask, dtype=torch.bool)}
    with pytest.raises(ValueError, match=message):
        score(torch.rand(made), torch.rand(true), METRICS.values(), regions)


def test_the_table_is_in_order() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.about.endswith(".")
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
    assert METRICS["psnr"].compute is metrics.psnr
    assert METRICS["ssim"].compute is metrics.ssim
