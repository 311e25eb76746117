"""Flicker and warping error where the truth is known, and VMAF through FFmpeg."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectorycrafter.lab.evaluation.temporal import (
    flicker,
    frame_difference,
    unoccluded,
    warping_error,
)
from trajectorycrafter.lab.evaluation.vmaf import vmaf
from trajectorycrafter.video.clip import Video
from trajectorycrafter.video.flow import warp


def panned(frames: int = 4, height: int = 80, width: int = 96) -> torch.Tensor:
    """A window that moves 3 pixels right and 2 down a frame, over a photograph."""
    image = torch.from_numpy(skimage.data.coffee()).permute(2, 0, 1) / 255
    corners = ((100 + 2 * t, 150 + 3 * t) for t in range(frames))
    return torch.stack([image[:, y : y + height, x : x + width] for y, x in corners])


def constant_flow(x: float, y: float, height: int = 80, width: int = 96) -> torch.Tensor:
    return (
        torch.tensor([x, y], dtype=torch.float32)[None, :, None, None]
        .expand(1, 2, height, width)
        .clone()
    )


# ------------------------------------------------------------------------------------ flicker


def test_frame_difference_is_the_mean_absolute_change() -> None:
    frames = torch.rand(5, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    expected = np.abs(np.diff(frames.double().numpy(), axis=0)).mean()
    assert frame_difference(frames) == pytest.approx(expected, abs=1e-6)


def test_frame_difference_is_one_less_the_flickering_of_vbench() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 7))
    vbench = np.mean([(255 - np.abs(a - b).mean()) / 255 for a, b in zip(codes, codes[1:])])
    frames = torch.from_numpy(codes).float() / 255
    assert frame_difference(frames) == pytest.approx(1 - vbench, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_flicker_ignores_the_truths_motion_and_what_stays(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    true = torch.rand(4, 3, 5, 6, generator=generator)
    still = torch.rand(1, 3, 5, 6, generator=generator)
    assert flicker(true + still, true) == pytest.approx(0, abs=1e-6)
    assert flicker(true, true) == 0
    assert flicker(still.expand_as(true), true) == pytest.approx(frame_difference(true), abs=1e-6)


def test_flicker_of_a_known_wobble() -> None:
    true = panned()
    made = true + torch.tensor([0.05, -0.05, 0.05, -0.05])[:, None, None, None]
    assert flicker(made, true) == pytest.approx(0.1, abs=1e-6)


def test_a_mask_counts_where_it_holds_in_both_frames() -> None:
    frames = torch.zeros(2, 3, 4, 4)
    frames[1, :, :2] = 1
    mask = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    assert frame_difference(frames, mask) == pytest.approx(0.5)
    mask[0, :, 2:] = False
    assert frame_difference(frames, mask) == pytest.approx(1)
    mask[1] = False
    assert math.isnan(frame_difference(frames, mask))


def test_one_frame_has_no_change() -> None:
    assert math.isnan(frame_difference(torch.rand(1, 3, 4, 4)))
    assert math.isnan(warping_error(torch.rand(1, 3, 32, 32)))


# ------------------------------------------------------------------------------ warping error


def test_warping_by_the_true_flow_gives_the_frame_back() -> None:
    frames = panned(2)
    flow = constant_flow(-3, -2)
    seen = unoccluded(flow, -flow)
    # What a camera that moves right and down loses lies at the left and upper border.
    assert not seen[..., :3].any()
    assert not seen[..., :2, :].any()
    assert seen[..., 2:, 3:].all()
    apart = (warp(frames[1:], flow) - frames[:1]).abs()[:, :, seen[0, 0]]
    assert float(apart.max()) < 1e-5


def test_warping_between_pixels_is_bilinear() -> None:
    ramp = torch.arange(96.0).expand(1, 1, 80, 96)
    moved = warp(ramp, constant_flow(0.25, 0.5))
    assert torch.allclose(moved[..., :-1], ramp[..., :-1] + 0.25, atol=1e-4)


def test_flow_that_does_not_return_or_bends_is_not_trusted() -> None:
    there = constant_flow(5, 0)
    assert not unoccluded(there, constant_flow(0, 0)).any()
    bent = constant_flow(0, 0)
    bent[..., 48:] = 4
    seen = unoccluded(bent, torch.zeros_like(bent))
    assert not seen[..., 47].any()
    assert seen[..., :47].all()


def test_the_warping_error_of_a_pan_is_small() -> None:
    true = panned()
    unwarped = float((true[1:] - true[:-1]).square().mean())
    assert warping_error(true) < 0.03 * unwarped
    still = true[:1].expand(3, -1, -1, -1)
    assert warping_error(still) == pytest.approx(0, abs=1e-9)


def test_the_warping_error_of_a_known_wobble() -> None:
    """Brightness that alternates by 0.1 adds 0.1 squared, since the flow is the truth's."""
    true = panned()
    made = true + torch.tensor([0.05, -0.05, 0.05, -0.05])[:, None, None, None]
    expected = 0.01 + warping_error(true)
    # The cross term: motion that is a little off changes brightness a little one way.
    assert warping_error(made, true) == pytest.approx(expected, abs=1e-3)


def test_the_warping_error_along_the_truth_sees_a_wrong_motion() -> None:
    true = panned()
    assert warping_error(true.flip(0), true) > 10 * warping_error(true, true)


def test_the_warping_error_counts_the_mask_of_the_earlier_frame() -> None:
    true = panned(2)
    made = true.clone()
    made[1, :, :, 48:] += 0.2
    left = torch.zeros(2, 1, 80, 96, dtype=torch.bool)
    left[0, ..., :40] = True
    assert warping_error(made, true, left) == warping_error(true, true, left)
    assert warping_error(made, true, ~left) > 0.01


def test_frames_too_small_for_flow_are_refused() -> None:
    with pytest.raises(ValueError, match=r"16 pixels or more on each side; got 12x40"):
        warping_error(torch.rand(2, 3, 12, 40))


# --------------------------------------------------------------------------------------- VMAF


def noisy(video: Video, sigma: float) -> Video:
    noise = torch.randn(video.frames.shape, generator=torch.Generator().manual_seed(0))
    return Video((video.frames + sigma * noise).clamp(0, 1), video.fps)


@pytest.fixture(scope="module")
def pan() -> Video:
    return Video(panned(5, 161, 193), 24.0)  # odd sides


def test_vmaf_is_high_for_a_copy_and_falls_with_noise(pan: Video) -> None:
    scores = [vmaf(noisy(pan, sigma), pan) for sigma in (0.0, 0.05, 0.2)]
    assert scores[0] >= 97
    assert scores[0] > scores[1] > scores[2] + 10


def test_vmaf_compares_equal_shapes_only(pan: Video) -> None:
    with pytest.raises(ValueError, match="got 4 frames of 161x193 and 5 frames of 161x193"):
        vmaf(pan[:4], pan)


def test_vmaf_without_its_package_names_the_extra(
    pan: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ValueError, match=r"pip install 'trajectorycrafter\[eval\]'"):
        vmaf(pan, pan)


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("[AVFilterGraph] No such filter: 'libvmaf'", "no libvmaf filter"),
        ("Out of luck", "could not compute VMAF: Out of luck"),
        ("", "it said nothing"),
    ],
)
def test_an_ffmpeg_that_cannot_do_it_is_told(
    pan: Video, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str, message: str
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\ncat > /dev/null\necho "{says}" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(ValueError, match=message):
        vmaf(pan, pan)
