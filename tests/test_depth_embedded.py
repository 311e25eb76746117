"""The embedded depth estimator, and what makes single-frame depth consistent over a clip.

Tolerances: the fingerprint of the features may move by 2e-2 of its size, since matrix products are
summed in another order on other processors; everything else is a comparison of two results.
"""

import hashlib
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from trajectorycrafter.depth import dinov2, embedded
from trajectorycrafter.depth.dinov2 import Dinov2, load_dinov2, quantize, read_quantized
from trajectorycrafter.depth.embedded import (
    DepthDecoder,
    EmbeddedDepth,
    joint_upsample,
    sharpen_steps,
    working_size,
)
from trajectorycrafter.depth.temporal import (
    align_over_time,
    disparity_to_depth,
    fit_scale_and_shift,
    flicker,
)
from trajectorycrafter.video.clip import Video
from trajectorycrafter.video.flow import clip_flow

BACKBONE_SHA256 = "1ed977f6d6d04af802c790bab2f7bcc0de8d32e478f9b7ab57a726edf40d0666"


def smooth_noise(height: int, width: int, cells: int, seed: int) -> torch.Tensor:
    """A texture that flow can follow, 3 x height x width in [0, 1]."""
    coarse = torch.rand(1, 3, cells, cells, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]


def box_before_ground(height: int = 112, width: int = 168) -> tuple[Video, torch.Tensor]:
    """A brick-red box on a green meadow below a blue sky; and where the box is."""
    rows = torch.linspace(0, 1, height)[:, None].expand(height, width)
    grain = smooth_noise(height, width, 40, 0)
    meadow = torch.tensor([0.35, 0.5, 0.2])[:, None, None] * (0.6 + 0.7 * grain.mean(0))
    sky = torch.tensor([0.55, 0.7, 0.95])[:, None, None] * (1.1 - 0.3 * rows)
    frame = torch.where(rows < 0.45, sky, meadow)
    box = torch.zeros(height, width, dtype=torch.bool)
    box[int(0.3 * height) : int(0.85 * height), int(0.35 * width) : int(0.65 * width)] = True
    bricks = torch.tensor([0.6, 0.25, 0.2])[:, None, None] * (
        0.7 + 0.5 * smooth_noise(height, width, 12, 1)
    )
    return Video(torch.where(box, bricks, frame)[None].clamp(0, 1), 24.0), box


def sliding_clip(frames: int = 8, height: int = 80, width: int = 112) -> tuple[Video, torch.Tensor]:
    """A textured plane that slides by two pixels a frame, and its true disparity."""
    texture = smooth_noise(height, width + 2 * frames, 36, 2)
    slope = torch.linspace(0.2, 1, width + 2 * frames).expand(1, height, -1)
    cut = [slice(2 * t, 2 * t + width) for t in range(frames)]
    video = Video(torch.stack([texture[:, :, c] for c in cut]), 24.0)
    return video, torch.stack([slope[:, :, c] for c in cut])


def with_jitter(disparity: torch.Tensor, noise: float = 0.01) -> torch.Tensor:
    """Another scale and shift in every frame, and noise, as of a single-frame estimator."""
    g = torch.Generator().manual_seed(3)
    frames = len(disparity)
    scale = 1 + 0.15 * torch.randn(frames, 1, 1, 1, generator=g)
    shift = 0.1 * torch.randn(frames, 1, 1, 1, generator=g)
    return disparity * scale + shift + noise * torch.randn(disparity.shape, generator=g)


@pytest.fixture(scope="module")
def estimator() -> EmbeddedDepth:
    return EmbeddedDepth()


# The weights


def test_the_shipped_backbone_is_the_one_that_was_extracted() -> None:
    assert hashlib.sha256(dinov2.WEIGHTS.read_bytes()).hexdigest() == BACKBONE_SHA256


def test_shipped_weights_are_small_finite_and_complete() -> None:
    assert dinov2.WEIGHTS.stat().st_size < 24e6
    assert embedded.WEIGHTS.stat().st_size < 6e6
    decoder = load_file(embedded.WEIGHTS)
    assert all(
        value.dtype == torch.float16 and value.isfinite().all() for value in decoder.values()
    )
    assert set(decoder) == set(DepthDecoder().state_dict())


def test_features_tell_the_things_in_a_picture_apart() -> None:
    video, box = box_before_ground()
    with torch.inference_mode():
        late = load_dinov2()(video.frames)[-1]
    tokens = F.normalize(late[0].flatten(1), dim=0)
    inside = F.avg_pool2d(box[None].float(), 14).flatten() > 0.9
    outside = F.avg_pool2d(box[None].float(), 14).flatten() < 0.1
    own = tokens[:, inside].T @ tokens[:, inside]
    other = tokens[:, inside].T @ tokens[:, outside]
    assert own.mean() > other.mean() + 0.2


def test_eight_bits_are_enough_for_the_weights() -> None:
    torch.manual_seed(0)
    model = Dinov2(channels=24, blocks=12, heads=3, grid=4)
    state = {name: torch.randn_like(value) * 0.2 for name, value in model.state_dict().items()}
    stored = quantize(state)
    assert stored["blocks.0.qkv.weight"].dtype == torch.int8
    for name, value in state.items():
        scale = stored.get(f"{name}.scale")
        if scale is None:
            continue
        back = stored[name].float() * scale.float().reshape(-1, *[1] * (value.ndim - 1))
        step = value.flatten(1).abs().amax(dim=1) / 127
        # Half a step of rounding, and the scale itself rounded to float16.
        assert ((back - value).flatten(1).abs() <= 0.6 * step[:, None] + 1e-6).all()


class Says(torch.nn.Module):
    """A decoder that always says the same."""

    def __init__(self, disparity: torch.Tensor):
        super().__init__()
        self.disparity = disparity

    def forward(self, features: object, images: object):
        return self.disparity


def test_the_two_decoders_count_alike_whatever_their_scales() -> None:
    rows = torch.linspace(0, 2, 12)[:, None].expand(1, 1, 12, 16)
    columns = torch.linspace(0, 2, 16).expand(1, 1, 12, 16)
    decoder = DepthDecoder()
    for scale in (1.0, 100.0):
        decoder.register_module("narrow", Says(rows))
        decoder.register_module("wide", Says(scale * columns))
        mean = decoder([], torch.zeros(1, 3, 42, 56))
        assert torch.allclose(mean / mean.mean(), (rows + columns) / 2, atol=1e-5)


def test_a_missing_weight_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.safetensors"
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        EmbeddedDepth(weights=missing)
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        read_quantized(missing)


def test_the_backbone_wants_whole_tokens() -> None:
    with pytest.raises(ValueError, match="multiples of 14; got 30 by 28"):
        load_dinov2()(torch.zeros(1, 3, 30, 28))


# The estimator


def test_depth_has_the_clips_shape_is_positive_and_carries_intrinsics(
    estimator: EmbeddedDepth,
) -> None:
    video, _ = box_before_ground(90, 131)
    depth = estimator(video)
    assert depth.z.shape == (1, 1, 90, 131)
    assert depth.z.isfinite().all() and (depth.z > 0).all() and depth.valid.all()
    assert depth.K is not None
    half_angle = torch.rad2deg(torch.atan(131 / 2 / depth.K[0, 0, 0]))
    assert abs(2 * float(half_angle) - estimator.fov_deg) < 1e-3


def test_same_clip_same_depth(estimator: EmbeddedDepth) -> None:
    video, _ = box_before_ground()
    assert torch.equal(estimator(video).z, estimator(video).z)


def test_chunks_do_not_change_the_disparity(estimator: EmbeddedDepth) -> None:
    video, _ = box_before_ground()
    clip = Video(video.frames.repeat(3, 1, 1, 1), 24.0)
    split = EmbeddedDepth(chunk=2).disparity(clip)
    # The same sums in another order: float32 rounding through twelve blocks.
    assert torch.allclose(estimator.disparity(clip), split, atol=1e-3)


def test_the_box_is_nearer_than_the_sky_and_the_meadow_recedes(estimator: EmbeddedDepth) -> None:
    video, box = box_before_ground()
    z = estimator(video).z[0, 0]
    height, width = z.shape
    sky = z[: int(0.2 * height)].median()
    meadow = z[:, : int(0.25 * width)]
    assert z[box].median() < 0.5 * sky
    assert meadow[-10:].median() < meadow[int(0.55 * height) : int(0.6 * height)].median() < sky


def test_an_empty_clip_is_refused(estimator: EmbeddedDepth) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        estimator(Video(torch.zeros(0, 3, 32, 32), 24.0))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((994, 1768), (252, 448)),
        ((1, 1), (252, 252)),
        ((64, 640), (252, 1008)),
        ((360, 270), (336, 252)),
    ],
)
def test_working_size_is_whole_tokens_near_the_aspect_ratio(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert working_size(*size, 252) == expected


def test_ramps_become_steps_and_slopes_stay() -> None:
    ramp = torch.cat([torch.zeros(12), torch.linspace(0, 1, 5), torch.ones(12)]).expand(1, 1, 9, -1)

    def between(x: torch.Tensor) -> int:
        return int(((x > 0.05) & (x < 0.95)).sum())

    assert between(sharpen_steps(ramp)) < between(ramp) / 2
    slope = torch.linspace(0, 1, 72)[:, None].expand(1, 1, 72, 96)
    assert torch.equal(sharpen_steps(slope), slope)


def test_upsampling_puts_steps_where_the_colours_change() -> None:
    frames = torch.zeros(1, 3, 64, 96)
    frames[..., 50:] = 0.8
    coarse = torch.zeros(1, 1, 16, 24)
    coarse[..., 12:] = 1.0
    fine = joint_upsample(coarse, frames)[0, 0, 32]
    # Cell 12 begins at pixel 48, the colour at 50: the cell's colour is mixed, its value is not.
    assert (fine[:46] < 0.05).all() and (fine[54:] > 0.95).all()
    assert fine[51] > 0.7 > 0.3 > fine[47]


# Consistency over time


def test_flow_finds_the_motion() -> None:
    video, _ = sliding_clip()
    flow = clip_flow(video)
    sure = flow.forward_sure.expand_as(flow.forward)
    horizontal = flow.forward[:, :1][sure[:, :1]]
    assert abs(float(horizontal.median()) + 2) < 0.1
    assert flow.forward_sure.float().mean() > 0.9


def test_alignment_finds_each_frames_scale_and_shift() -> None:
    video, true = sliding_clip()
    jittered = with_jitter(true, noise=0.0)
    scale, shift = fit_scale_and_shift(jittered, clip_flow(video))
    repaired = jittered * scale[:, None, None, None] + shift[:, None, None, None]
    middle = repaired[:, 0, 40, 56] - torch.stack([t[0, 40, 56] for t in true])
    before = jittered[:, 0, 40, 56] - torch.stack([t[0, 40, 56] for t in true])
    assert middle.std() < 0.2 * before.std()
    assert abs(float(scale.mean()) - 1) < 1e-5


def test_alignment_reduces_flicker_and_smoothing_reduces_it_further() -> None:
    video, true = sliding_clip()
    jittered = with_jitter(true)
    aligned = align_over_time(jittered, video, smoothing=0.0)
    smoothed = align_over_time(jittered, video)
    assert flicker(aligned, video) < 0.35 * flicker(jittered, video)
    assert flicker(smoothed, video) < 0.7 * flicker(aligned, video)


def test_steady_disparity_stays_as_it_is() -> None:
    video, true = sliding_clip()
    # Resampling along flow that is a hundredth of a pixel off.
    assert torch.allclose(align_over_time(true, video), true, atol=0.02)


def test_without_shift_only_scales_are_fitted() -> None:
    video, true = sliding_clip()
    scales = 1 + 0.2 * torch.sin(torch.arange(8.0))[:, None, None, None]
    scale, shift = fit_scale_and_shift(true * scales, clip_flow(video), shift=False)
    product = scale * scales.flatten()
    assert torch.equal(shift, torch.zeros(8))
    assert product.std() < 0.02 * product.mean()


def test_frames_across_a_cut_do_not_pull_at_each_other() -> None:
    video, true = sliding_clip()
    other = Video(
        torch.cat([video.frames, 1 - smooth_noise(80, 112, 30, 9).expand(4, 3, 80, 112)]), 24.0
    )
    disparity = torch.cat([true, torch.full((4, 1, 80, 112), 5.0)])
    aligned = align_over_time(disparity, other)
    assert (aligned[8:].mean() - 5).abs() < 0.5


def test_one_frame_and_wrong_counts() -> None:
    video, true = sliding_clip()
    assert torch.equal(align_over_time(true[:1], video[:1]), true[:1])
    assert flicker(true[:1], video[:1]) == 0
    with pytest.raises(ValueError, match=r"one disparity map per frame \(8\); got 3"):
        align_over_time(true[:3], video)
    with pytest.raises(ValueError, match="smoothing"):
        align_over_time(true, video, smoothing=1.0)


# Disparity to depth


def test_depth_falls_with_disparity_between_near_and_far() -> None:
    disparity = torch.linspace(-3, 5, 4000).reshape(1, 1, 40, 100)
    z = disparity_to_depth(disparity, near=1.0, far=60.0)
    assert (z.flatten().diff() <= 0).all()
    assert z.max() == pytest.approx(60, rel=1e-4) and 0.97 < float(z.min()) < 1


def test_one_wrong_pixel_does_not_rescale_the_scene() -> None:
    disparity = torch.linspace(0, 1, 4000).reshape(1, 1, 40, 100)
    wrong = disparity.clone()
    wrong[0, 0, 0, 0] = 1000.0
    a, b = disparity_to_depth(disparity), disparity_to_depth(wrong)
    # Compared as disparity: one pixel in 4000 moves the percentile by one of 4000 even steps.
    assert torch.allclose(1 / a.flatten()[10:], 1 / b.flatten()[10:], atol=1e-3)


def test_a_trusted_zero_keeps_a_shallow_scene_shallow() -> None:
    disparity = torch.linspace(0.5, 1, 400).reshape(1, 1, 20, 20)
    assert float(disparity_to_depth(disparity, zero_is_far=True).max()) < 2.1
    assert float(disparity_to_depth(disparity).max()) > 50


def test_flat_disparity_is_a_wall_at_near_and_bad_ranges_are_refused() -> None:
    assert (disparity_to_depth(torch.ones(1, 1, 4, 4), near=2.0) == 2).all()
    with pytest.raises(ValueError, match="0 < near < far"):
        disparity_to_depth(torch.ones(1, 1, 4, 4), near=2.0, far=1.0)
