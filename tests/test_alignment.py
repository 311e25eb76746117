"""Disparity fitted to known disparity: its three losses, held to numbers and to wrong points."""

from typing import Literal

import numpy as np
import pytest
import torch

from trajectorycrafter.depth.alignment import fit_disparity

Robust = Literal["differences", "ratios"] | None


def points(wrong: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy disparity of 400 points, and their own, of which the first ones are wrong."""
    generator = torch.Generator().manual_seed(0)
    z = 1 + 4 * torch.rand(400, generator=generator, dtype=torch.float64)
    noise = 0.02 * torch.randn(400, generator=generator, dtype=torch.float64)
    disparity = (1 / z - 0.1) / 0.5 + noise
    z[:wrong] *= 2.5
    return disparity, 1 / z


@pytest.mark.parametrize(
    ("robust", "scale", "shift"),
    [
        # Computed with the loops that real-4D and curation each had; to float32's rounding.
        ("differences", 0.49818835899245484, 0.09793333466921082),
        ("ratios", 0.4962762440874541, 0.09246078339316306),
        (None, 0.42904126202467024, 0.09402699204517581),
    ],
)
def test_the_fit_keeps_its_numbers(robust: Robust, scale: float, shift: float) -> None:
    assert fit_disparity(*points(wrong=80), robust) == pytest.approx((scale, shift), rel=1.2e-7)


def test_without_robustness_it_is_least_squares() -> None:
    disparity, true = points(wrong=0)
    expected = np.polyfit(disparity.numpy(), true.numpy(), 1)
    assert fit_disparity(disparity, true) == pytest.approx(tuple(expected), rel=1e-9)


@pytest.mark.parametrize("robust", ["differences", "ratios"])
def test_wrong_points_hardly_move_a_robust_fit(
    robust: Robust,
) -> None:
    scale, shift = fit_disparity(*points(wrong=80), robust)
    assert abs(scale - 0.5) < 0.01 and abs(shift - 0.1) < 0.01
    assert fit_disparity(*points(wrong=80))[0] < 0.45


@pytest.mark.parametrize("robust", [None, "differences", "ratios"])
def test_flat_disparity_is_fitted_too(robust: Robust) -> None:
    scale, shift = fit_disparity(torch.full((9,), 2.0), torch.full((9,), 0.5), robust)
    assert 2 * scale + shift == pytest.approx(0.5)
