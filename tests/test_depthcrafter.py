"""DepthCrafter against numbers of the released classes on tiny weights, and its way from disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler
from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from trajectorycrafter.depth.depthcrafter import (
    DepthCrafter,
    PerFrameUNet,
    parity_depth,
    smooth_resize,
    working_size,
)
from trajectorycrafter.depth.estimator import load_depth_estimator
from trajectorycrafter.video.clip import Depth, Video

GOLDEN = Path(__file__).parent / "golden"
CONFIG = json.loads((GOLDEN / "depth/depthcrafter.config.json").read_text())
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SEED = 5
"""The golden noise is what a generator with this seed draws."""
TOLERANCE = 5e-5
"""Latents have a standard deviation of 0.6; a fused attention kernel moves them by up to 8e-6 over
three steps, a wrong operation by more than 1e-2."""
SIZE = (32, 48)


def _weights(part: str) -> dict[str, torch.Tensor]:
    state = load_file(GOLDEN / f"depth/depthcrafter_{part}.weights_fp16.safetensors")
    return {name: value.float() for name, value in state.items()}


def _tiny(**settings: Any) -> DepthCrafter:
    unet = PerFrameUNet(**CONFIG["unet"])
    vae = AutoencoderKLTemporalDecoder(**CONFIG["vae"])
    clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**CONFIG["clip"]))
    for part, name in ((unet, "unet"), (vae, "vae"), (clip, "clip")):
        part.load_state_dict(_weights(name))
        part.eval().requires_grad_(False)
    scheduler = EulerDiscreteScheduler(**CONFIG["scheduler"])
    return DepthCrafter(unet, vae, clip, scheduler, MEAN, STD, **settings)


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "depth/depthcrafter.io.safetensors")


@pytest.fixture
def frames(golden: dict[str, torch.Tensor]) -> torch.Tensor:
    return golden["video"].permute(0, 3, 1, 2).contiguous()


@pytest.fixture
def short(frames: torch.Tensor) -> Video:
    return Video(frames[:3], 24.0)


def _apart(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


def _disparities_apart(a: Depth, b: Depth) -> float:
    return _apart(1 / a.z, 1 / b.z)


def test_unet_gives_the_released_velocity(golden: dict[str, torch.Tensor]) -> None:
    unet = _tiny().unet
    names = ("sample", "timestep", "context", "added_time_ids")
    out = unet(*(golden[f"unet.{name}"] for name in names))
    assert _apart(out, golden["unet.out"]) < 2e-5


def test_every_frame_reads_its_own_context(golden: dict[str, torch.Tensor]) -> None:
    unet = _tiny().unet
    sample, timestep, context, ids = (
        golden[f"unet.{name}"] for name in ("sample", "timestep", "context", "added_time_ids")
    )
    shared = context[:, :1].expand_as(context)
    difference = (
        (unet(sample, timestep, shared, ids) - golden["unet.out"]).abs().amax(dim=(0, 2, 3, 4))
    )
    # A change of the other frames' context reaches frame 0 by attention over time only.
    assert difference[1:].min() > difference[0]


def test_image_embeddings_are_the_released_ones(
    golden: dict[str, torch.Tensor], frames: torch.Tensor
) -> None:
    assert _apart(_tiny().embed(frames, SIZE), golden["clip_embeddings"]) < TOLERANCE


@pytest.mark.parametrize(
    ("case", "window", "overlap", "guidance"),
    [
        ("one_window", 110, 25, 1.0),
        ("windows", 6, 2, 1.0),
        ("windows_guided", 6, 2, 1.2),
    ],
)
def test_equal_to_the_released_pipeline(
    golden: dict[str, torch.Tensor],
    frames: torch.Tensor,
    case: str,
    window: int,
    overlap: int,
    guidance: float,
) -> None:
    crafter = _tiny(steps=3, window=window, overlap=overlap, guidance=guidance)
    generator = torch.Generator().manual_seed(SEED)
    image_latents = crafter.encode(frames, SIZE, generator)
    latents = crafter.denoise(image_latents, golden["clip_embeddings"], generator)
    pictures = torch.cat(list(crafter.decode(latents))).permute(0, 2, 3, 1)
    assert _apart(latents[None], golden[f"{case}.latents"]) < TOLERANCE
    assert _apart(pictures, golden[f"{case}.frames"]) < TOLERANCE


def test_noise_is_drawn_in_the_released_order(golden: dict[str, torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(SEED)
    # Chunks of eight frames draw what one call for the whole clip draws.
    chunks = [torch.randn(n, 3, *SIZE, generator=generator) for n in (8, 2)]
    assert torch.equal(torch.cat(chunks), golden["windows.noise_video"])
    assert torch.equal(
        torch.randn(1, 6, 4, 4, 6, generator=generator), golden["windows.noise_latents"]
    )


@pytest.mark.parametrize(
    ("case", "near", "far"), [("default", 1e-4, 1e4), ("near3_far50", 3.0, 50.0)]
)
def test_parity_depth_is_the_released_one(case: str, near: float, far: float) -> None:
    tensors = load_file(GOLDEN / "modes/depth_postprocess.safetensors")
    disparity = tensors["pipeline_frames"].permute(0, 3, 1, 2).mean(dim=1, keepdim=True)
    expected = tensors[f"depths.{case}"]
    # The same few float32 operations in the same order: only the last bit may differ.
    torch.testing.assert_close(parity_depth(disparity, near, far), expected, rtol=1e-6, atol=0)


def test_parity_depth_of_one_value_is_far() -> None:
    assert (parity_depth(torch.full((2, 1, 4, 4), 0.3)) == 1e4).all()


@pytest.mark.parametrize("size", [(576, 1024), (1024, 576), (224, 300), (100, 2000), (320, 640)])
def test_smooth_resize_is_that_of_stable_video_diffusion(size: tuple[int, int]) -> None:
    frames = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    resize = vars(pipeline_stable_video_diffusion)["_resize_with_antialiasing"]
    expected = resize(frames, (224, 224))
    # Two one-dimensional blurs in another order of additions.
    assert _apart(smooth_resize(frames, (224, 224)), expected) < 1e-6


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((576, 1024), (576, 1024)),
        ((1080, 1920), (576, 1024)),
        ((1920, 1080), (1024, 576)),
        ((480, 640), (768, 1024)),
        ((384, 672), (576, 1024)),
        ((10, 1000), (64, 1024)),
    ],
)
def test_working_size_keeps_the_shape(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size(*size) == expected


def test_depth_has_the_clips_size_and_repeats(short: Video) -> None:
    crafter = _tiny(steps=2, longest_side=64, seed=7)
    depth = crafter(short)
    assert depth.z.shape == (3, 1, *SIZE)
    assert depth.valid.all() and (depth.z > 0).all()
    assert _disparities_apart(crafter(short), depth) < TOLERANCE
    assert (
        _disparities_apart(_tiny(steps=2, longest_side=64, seed=8)(short), depth) > 100 * TOLERANCE
    )


def test_seed_of_torch_is_left_alone(short: Video) -> None:
    crafter = _tiny(steps=1, longest_side=64)
    before = torch.get_rng_state()
    crafter(short)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_frame_is_enough(frames: torch.Tensor) -> None:
    assert _tiny(steps=1, longest_side=64)(Video(frames[:1], 24.0)).z.shape == (1, 1, *SIZE)


def test_parts_go_back_to_their_dtype(frames: torch.Tensor) -> None:
    crafter = _tiny()
    crafter.vae.half()
    latents = crafter.encode(frames[:2], SIZE, torch.Generator().manual_seed(0))
    assert latents.dtype == torch.float32 and bool(torch.isfinite(latents).all())
    assert crafter.vae.dtype == torch.float16


def test_overlap_must_be_smaller_than_the_window() -> None:
    with pytest.raises(ValueError, match="less than the window of 6 frames; got 6"):
        _tiny(window=6, overlap=6)


def write_depthcrafter(folder: Path) -> None:
    """The tiny parts under the names and in the layout of the released weights."""
    crafter = _tiny()
    base = folder / "stable-video-diffusion-img2vid-xt"
    crafter.unet.save_pretrained(folder / "DepthCrafter")
    crafter.vae.half().save_pretrained(base / "vae", variant="fp16")
    crafter.image_encoder.half().save_pretrained(base / "image_encoder", variant="fp16")
    crafter.scheduler.save_pretrained(base / "scheduler")
    (base / "feature_extractor").mkdir()
    (base / "feature_extractor/preprocessor_config.json").write_text(
        json.dumps(
            {"image_mean": MEAN, "image_std": STD, "crop_size": {"height": 224, "width": 224}}
        )
    )
    config = folder / "DepthCrafter/config.json"
    named = json.loads(config.read_text())
    named["_class_name"] = "DiffusersUNetSpatioTemporalConditionModelDepthCrafter"
    config.write_text(json.dumps(named))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    write_depthcrafter(tmp_path)
    return tmp_path


def test_loads_the_released_layout(weights: Path, short: Video) -> None:
    loaded = DepthCrafter.from_pretrained(weights, steps=2, longest_side=64, seed=7)
    assert loaded.unet.dtype == loaded.vae.dtype == torch.float32
    # The weights are exact in float16, so nothing was lost on disk.
    expected = _tiny(steps=2, longest_side=64, seed=7)(short)
    assert _disparities_apart(loaded(short), expected) < TOLERANCE


def test_loads_by_name(weights: Path) -> None:
    estimate = load_depth_estimator("depthcrafter", weights=weights, fov_deg=60.0, seed=1)
    # A strip, since the working size is 1024 wide for any clip.
    strip = torch.rand(1, 3, 8, 128, generator=torch.Generator().manual_seed(0))
    depth = estimate(Video(strip, 24.0))
    assert depth.z.shape == (1, 1, 8, 128) and depth.K is not None
    assert 1 <= float(depth.z.median()) <= 60


def test_missing_weights_are_named(weights: Path) -> None:
    (weights / "DepthCrafter/config.json").unlink()
    with pytest.raises(FileNotFoundError, match="tencent/DepthCrafter"):
        load_depth_estimator("depthcrafter", weights=weights)


def test_missing_tensor_is_named(weights: Path) -> None:
    file = weights / "DepthCrafter/diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["conv_in.bias"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"conv_in\.bias"):
        load_depth_estimator("depthcrafter", weights=weights)


def test_misshapen_tensor_is_named(weights: Path) -> None:
    file = (
        weights / "stable-video-diffusion-img2vid-xt/vae/diffusion_pytorch_model.fp16.safetensors"
    )
    state = load_file(file)
    state["quant_conv.bias"] = state["quant_conv.bias"][:3].clone()
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"quant_conv\.bias"):
        load_depth_estimator("depthcrafter", weights=weights)


def test_pickles_are_refused(weights: Path) -> None:
    file = weights / "DepthCrafter/diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(FileNotFoundError, match="safetensors"):
        load_depth_estimator("depthcrafter", weights=weights)
