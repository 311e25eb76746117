"""Depth checkpoints of the transformers library, at tiny size, from a folder."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    BeitConfig,
    CLIPVisionConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    DepthProConfig,
    DepthProForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    GLPNConfig,
    GLPNForDepthEstimation,
    PreTrainedModel,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
)
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.zoedepth.image_processing_pil_zoedepth import ZoeDepthImageProcessorPil

from trajectorycrafter.depth.estimator import load_depth_estimator
from trajectorycrafter.depth.huggingface import HuggingFaceDepth, Preparation, output_of
from trajectorycrafter.depth.temporal import flicker
from trajectorycrafter.geometry.cameras import DEFAULT_FOV_DEG, focal_from_fov
from trajectorycrafter.video.clip import Video

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
STAGES: dict[str, Any] = {
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
    "reshape_hidden_states": False,
}
VIT: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}


def _depth_anything(kind: str) -> tuple[PreTrainedModel, dict[str, Any]]:
    backbone = Dinov2Config(**VIT, **STAGES, image_size=70, patch_size=14, mlp_ratio=2)
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20 if kind == "metric" else 1,
    )
    processor = {
        "image_processor_type": "DPTImageProcessor",
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "size": {"height": 70, "width": 70},
        "keep_aspect_ratio": True,
        "ensure_multiple_of": 14,
        "resample": 3,
    }
    return DepthAnythingForDepthEstimation(config), processor


def _dpt() -> tuple[PreTrainedModel, dict[str, Any]]:
    config = DPTConfig(
        **VIT,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
        is_hybrid=False,
    )
    size = {"height": 32, "width": 32}
    processor = {"image_processor_type": "DPTImageProcessor", **HALF, "size": size, "resample": 3}
    return DPTForDepthEstimation(config), processor


def _zoedepth() -> tuple[PreTrainedModel, dict[str, Any]]:
    backbone = BeitConfig(
        **VIT,
        **STAGES,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        use_relative_position_bias=True,
    )
    config = ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[16] * 4,
        fusion_hidden_size=16,
        bottleneck_features=16,
        bin_embedding_dim=16,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "NYU"}],
    )
    processor = {
        "image_processor_type": "ZoeDepthImageProcessor",
        "do_pad": True,
        **HALF,
        "size": {"height": 64, "width": 64},
        "keep_aspect_ratio": True,
        "ensure_multiple_of": 32,
        "resample": 2,
    }
    return ZoeDepthForDepthEstimation(config), processor


def _depth_pro() -> tuple[PreTrainedModel, dict[str, Any]]:
    vit = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        mlp_ratio=2,
    )
    config = DepthProConfig(
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[16, 16],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.25],
        scaled_images_feature_dims=[16, 16],
        use_fov_model=True,
        image_model_config=vit,
        patch_model_config=vit,
        fov_model_config=vit,
    )
    size = {"height": 64, "width": 64}
    processor = {"image_processor_type": "DepthProImageProcessorFast", **HALF, "size": size}
    return DepthProForDepthEstimation(config), processor | {"resample": 2}


def _glpn() -> tuple[PreTrainedModel, dict[str, Any]]:
    heads = [1, 1, 2, 2]
    config = GLPNConfig(
        hidden_sizes=[8, 16, 16, 32],
        depths=[1] * 4,
        num_attention_heads=heads,
        decoder_hidden_size=16,
    )
    processor = {
        "image_processor_type": "GLPNImageProcessor",
        "do_resize": True,
        "size_divisor": 32,
    }
    return GLPNForDepthEstimation(config), processor


CHECKPOINTS = {
    "depth_anything": (lambda: _depth_anything("relative"), "relative"),
    "depth_anything_metric": (lambda: _depth_anything("metric"), "metric"),
    "dpt": (_dpt, "relative"),
    "zoedepth": (_zoedepth, "metric"),
    "depth_pro": (_depth_pro, "canonical"),
    "glpn": (_glpn, "metric"),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one checkpoint of random weights for each architecture."""
    folder = tmp_path_factory.mktemp("checkpoints")
    state = torch.get_rng_state()
    torch.manual_seed(0)
    for name, (make, _) in CHECKPOINTS.items():
        model, processor = make()
        model.save_pretrained(folder / name)
        (folder / name / "preprocessor_config.json").write_text(json.dumps(processor))
    torch.set_rng_state(state)
    return folder


def _video(frames: int, height: int, width: int) -> Video:
    """A smooth picture that moves by a pixel a frame."""
    x = torch.arange(width)[None, None] - torch.arange(frames)[:, None, None]
    y = torch.arange(height)[None, :, None]
    waves = [0.5 + 0.4 * torch.sin(x / a) * torch.cos(y / b) for a, b in ((5, 7), (9, 4), (6, 6))]
    return Video(torch.stack([w.expand(frames, height, width) for w in waves], dim=1), 24.0)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint_runs_from_a_folder(checkpoints: Path, name: str) -> None:
    video = _video(3, 48, 80)
    estimate = load_depth_estimator(f"huggingface:{checkpoints / name}")
    depth = estimate(video)
    assert depth.z.shape == (3, 1, 48, 80) and depth.valid.all()
    assert depth.K is not None
    if CHECKPOINTS[name][1] != "canonical":
        assert float(depth.K[0, 0, 0]) == pytest.approx(focal_from_fov(DEFAULT_FOV_DEG, 80))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_kind_of_output_is_told_from_the_configuration(checkpoints: Path, name: str) -> None:
    assert HuggingFaceDepth.from_pretrained(str(checkpoints / name)).output == CHECKPOINTS[name][1]


def test_weights_folder_is_searched_first(checkpoints: Path) -> None:
    found = HuggingFaceDepth.from_pretrained("somebody/dpt", weights=checkpoints)
    assert found.output == "relative"


def test_dpt_on_dinov2_is_metric_and_others_are_not() -> None:
    with_dinov2 = DPTConfig(backbone_config=Dinov2Config(**VIT, **STAGES))
    assert output_of(with_dinov2) == "metric"
    assert output_of(DPTConfig()) == "relative"


def test_unknown_output_is_refused() -> None:
    with pytest.raises(ValueError, match="clip_vision_model"):
        output_of(CLIPVisionConfig())


def _as_bytes(video: Video) -> list[np.ndarray]:
    frames = (video.frames.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    return list(frames)


@pytest.mark.parametrize("size", [(48, 80), (120, 90), (70, 70), (100, 231)])
@pytest.mark.parametrize("name", ["depth_anything", "dpt"])
def test_pictures_are_prepared_as_by_the_library(
    checkpoints: Path, name: str, size: tuple[int, int]
) -> None:
    video = _video(2, *size)
    processor = DPTImageProcessorPil.from_pretrained(checkpoints / name)
    expected = torch.from_numpy(np.stack(processor(_as_bytes(video))["pixel_values"]))
    prepared = Preparation.read(str(checkpoints / name))(video.frames)
    # Theirs is rounded to bytes twice, 1/255 over a deviation of 0.22 each, which is 0.018.
    torch.testing.assert_close(prepared, expected.float(), rtol=0, atol=0.03)


def test_zoedepth_mirrors_a_margin_as_the_library(checkpoints: Path) -> None:
    video = _video(2, 96, 128)
    processor = ZoeDepthImageProcessorPil.from_pretrained(checkpoints / "zoedepth")
    expected = torch.from_numpy(np.stack(processor(_as_bytes(video))["pixel_values"]))
    prepare = Preparation.read(str(checkpoints / "zoedepth"))
    prepared = prepare(video.frames)
    assert prepared.shape == expected.shape
    # Theirs samples without antialiasing and puts corners on corners.
    assert float((prepared - expected).abs().mean()) < 0.06
    assert prepare.margin(96, 128) == (20, 24)


def test_margin_is_cut_off_again() -> None:
    prepare = Preparation(None, False, 1, "bilinear", (0.0,) * 3, (1.0,) * 3, reflect=True)
    frames = _video(2, 60, 80).frames
    red = prepare(frames)[:, :1]
    assert red.shape[2:] == (60 + 2 * 16, 80 + 2 * 18)
    torch.testing.assert_close(prepare.undo_margin(red, 60, 80), frames[:, :1])


class Known(nn.Module):
    """A model that returns the red channel at its own size, times a factor that jitters."""

    def __init__(self, jitter: float = 0.0, fov_deg: float | None = None):
        super().__init__()
        self.jitter, self.fov_deg, self.calls = jitter, fov_deg, 0

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        red = pixel_values[:, 0]
        factor = 1 + self.jitter * (-1) ** torch.arange(self.calls, self.calls + len(red))
        self.calls += len(red)
        fov = None if self.fov_deg is None else torch.full((len(red),), self.fov_deg)
        return SimpleNamespace(predicted_depth=red * factor[:, None, None], field_of_view=fov)


AS_IT_IS = Preparation(None, False, 1, "bilinear", (0.0,) * 3, (1.0,) * 3, reflect=False)


def test_metric_depth_keeps_its_scale() -> None:
    video = Video(_video(1, 48, 64).frames.repeat(4, 1, 1, 1), 24.0)
    z = HuggingFaceDepth(Known(), AS_IT_IS, "metric")(video).z
    # Only the light smoothing over time works on a clip that stands still; it changes nothing.
    torch.testing.assert_close(z, video.frames[:, :1], rtol=1e-3, atol=0)


def test_relative_depth_falls_with_the_output() -> None:
    video = Video(_video(1, 48, 64).frames.repeat(2, 1, 1, 1), 24.0)
    z = HuggingFaceDepth(Known(), AS_IT_IS, "relative")(video).z
    order = video.frames[0, 0].flatten().argsort()
    assert (z[0, 0].flatten()[order].diff() <= 1e-5).all()


def test_canonical_depth_follows_the_focal_length() -> None:
    video = Video(_video(1, 48, 64).frames.repeat(2, 1, 1, 1), 24.0)
    depth = HuggingFaceDepth(Known(fov_deg=90.0), AS_IT_IS, "canonical")(video)
    # At 90 degrees the focal length is half the width, so z = f / (W * output) = 0.5 / output.
    torch.testing.assert_close(depth.z, 0.5 / video.frames[:, :1], rtol=1e-3, atol=0)
    assert depth.K is not None and float(depth.K[0, 0, 0]) == pytest.approx(32, rel=1e-5)


def test_users_field_of_view_wins() -> None:
    video = Video(_video(1, 48, 64).frames.repeat(2, 1, 1, 1), 24.0)
    own = HuggingFaceDepth(Known(fov_deg=90.0), AS_IT_IS, "canonical", fov_deg=53.130102)(video)
    # tan(53.13 / 2) = 1 / 2, so the focal length is one width.
    torch.testing.assert_close(own.z, 1 / video.frames[:, :1], rtol=1e-3, atol=0)
    assert own.K is not None and float(own.K[0, 0, 0]) == pytest.approx(64, rel=1e-4)


def test_frames_are_made_consistent() -> None:
    video = _video(8, 96, 128)
    estimator = HuggingFaceDepth(Known(jitter=0.2), AS_IT_IS, "relative")
    raw, _ = HuggingFaceDepth(Known(jitter=0.2), AS_IT_IS, "relative").disparity(video)
    before, after = flicker(raw, video), flicker(1 / estimator(video).z, video)
    assert after < 0.5 * before, (before, after)


def test_no_such_folder_is_said() -> None:
    with pytest.raises(FileNotFoundError, match="No depth checkpoint"):
        load_depth_estimator("huggingface:/nowhere/at/all")


def test_pickles_are_refused(checkpoints: Path, tmp_path: Path) -> None:
    model, processor = _dpt()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(FileNotFoundError, match="safetensors"):
        HuggingFaceDepth.from_pretrained(str(tmp_path))


def test_missing_tensor_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    model, processor = _dpt()
    state = model.state_dict()
    del state["head.head.0.bias"]
    model.save_pretrained(tmp_path, state_dict=state)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ValueError, match=r"head\.head\.0\.bias"):
        HuggingFaceDepth.from_pretrained(str(tmp_path))
