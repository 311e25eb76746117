"""VBench-7: formulas against slow twins, networks of the true classes, and a stand-in package."""

import json
import math
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

from trajectorycrafter.job.manifest import read_manifest
from trajectorycrafter.lab.evaluation.records import summarize
from trajectorycrafter.lab.evaluation.vbench import benchmark as vbench
from trajectorycrafter.lab.evaluation.vbench import networks
from trajectorycrafter.lab.evaluation.vbench.benchmark import (
    DIMENSIONS,
    QUOTED,
    VBENCH_TRAJECTORIES,
    evaluate_vbench,
    read_as_vbench,
    temporal_flickering,
    vbench_jobs,
)
from trajectorycrafter.lab.evaluation.vbench.external import (
    external_scores,
    read_scores,
    vbench_version,
)
from trajectorycrafter.lab.evaluation.vbench.networks import (
    HEAD,
    clip_input,
    consistency,
    dino_input,
    dino_positions,
    load_dino,
    load_head,
    load_scorer,
)
from trajectorycrafter.video.clip import Video

CHANNELS = 20
"""Length of the tiny CLIPs' features."""


def some_frames(count: int, height: int = 40, width: int = 64, seed: int = 0) -> Tensor:
    """Smooth pictures that change, so that networks see similar but different frames."""
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.rand(2, 3, 5, 8, generator=generator)
    mix = torch.linspace(0, 1, count)[:, None, None, None]
    return F.interpolate(start * (1 - mix) + end * mix, (height, width), mode="bilinear")


# ------------------------------------------------------------------------------------- flickering


def slow_flickering(frames: Tensor) -> float:
    """With OpenCV on 8-bit BGR pictures, as the definition says."""
    pictures = [
        cv2.cvtColor((f.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8), cv2.COLOR_RGB2BGR)
        for f in frames
    ]
    differences = [
        np.mean(cv2.absdiff(a.astype(np.float32), b.astype(np.float32)))
        for a, b in zip(pictures, pictures[1:])
    ]
    return (255.0 - np.mean(np.array(differences)).item()) / 255.0


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
def test_flickering_is_opencvs_to_the_last_bit(
    count: int, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(count, 3, height, width, generator=generator)
    assert temporal_flickering(frames) == slow_flickering(frames)


@pytest.mark.parametrize("seed", [2, 8, 12])
def test_flickering_sums_large_frames_in_opencvs_order(seed: int) -> None:
    # Sums beyond 2**24 are rounded in float32; with these seeds planes in a row differ from pixels.
    frames = torch.rand(2, 3, 384, 672, generator=torch.Generator().manual_seed(seed))
    assert temporal_flickering(frames) == slow_flickering(frames)


@pytest.mark.parametrize(
    ("levels", "score"),
    [
        ((7, 7, 7), 1.0),
        ((0, 255, 0), 0.0),
        ((255, 0, 0), 0.5),  # the difference downwards does not wrap around, nor is it cut to 0
        ((10.4, 10, 9.6), 1.0),  # rounded to the same 8 bits
    ],
)
def test_flickering_by_hand(levels: tuple[float, ...], score: float) -> None:
    frames = torch.tensor(levels)[:, None, None, None].expand(-1, 3, 4, 6) / 255
    assert temporal_flickering(frames) == pytest.approx(score, abs=1e-7)


def test_flickering_of_one_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        temporal_flickering(torch.zeros(1, 3, 4, 4))


def test_files_are_read_in_rgb(tmp_path: Path) -> None:
    frames = torch.zeros(5, 3, 32, 48)
    frames[:, 0], frames[:, 1, :, 24:] = 0.8, 0.4
    path = Video(frames, 10).write(tmp_path / "red.mp4", crf=1)
    read = read_as_vbench(path)
    assert read.shape == frames.shape
    assert read.dtype == torch.float32
    # OpenCV assumes another colour matrix than the file says: some levels, not another channel.
    assert (read - frames).abs().mean() < 0.05


# --------------------------------------------------------------------------------------- formulas


def cosine(a: list[float], b: list[float]) -> float:
    """Negative is 0."""
    dot = sum(x * y for x, y in zip(a, b))
    return max(0.0, dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b)))


def slow_consistency(features: Tensor) -> float:
    """One frame after the other, in plain numbers."""
    rows = features.tolist()
    pairs = [(cosine(rows[i - 1], rows[i]), cosine(rows[0], rows[i])) for i in range(1, len(rows))]
    return sum((a + b) / 2 for a, b in pairs) / len(pairs)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 12), st.integers(0, 999))
def test_consistency_is_the_slow_formula(count: int, channels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, channels, generator=generator)
    # float32 cosines against double ones
    assert consistency(features) == pytest.approx(slow_consistency(features), abs=2e-6)


def test_opposite_features_count_nothing() -> None:
    a, b = [1.0, 0.0], [-1.0, 0.0]
    assert consistency(torch.tensor([a, b, a])) == pytest.approx((0 + (0 + 1) / 2) / 2)
    assert consistency(torch.tensor([a, a, a])) == pytest.approx(1)


@pytest.mark.parametrize(("height", "width"), [(384, 672), (100, 50), (224, 224), (90, 131)])
def test_networks_see_the_sizes_of_vbench(height: int, width: int) -> None:
    frames = torch.full((1, 3, height, width), 0.5)
    short = min(height, width)
    expected = tuple(224 if side == short else int(224 * side / short) for side in (height, width))
    assert dino_input(frames).shape[2:] == expected
    assert clip_input(frames).shape[2:] == (224, 224)
    assert torch.allclose(dino_input(frames)[0, 0], torch.tensor((0.5 - 0.485) / 0.229))
    assert torch.allclose(
        clip_input(frames)[0, 2], torch.tensor((0.5 - 0.40821073) / 0.27577711), atol=1e-5
    )


def test_clip_sees_the_middle() -> None:
    frames = torch.zeros(1, 3, 224, 324)
    frames[..., 50:274] = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None]
    std = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]
    assert torch.allclose(clip_input(frames)[0] * std + mean, frames[0, ..., 50:274], atol=1e-5)


def test_frames_shrink_without_antialiasing() -> None:
    # Every third pixel of a threefold enlargement is its centre: what bilinear samples read.
    small = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    frames = torch.zeros(1, 3, 672, 672)
    frames[..., 1::3, 1::3] = small
    mean = torch.tensor((0.485, 0.456, 0.406))[:, None, None]
    std = torch.tensor((0.229, 0.224, 0.225))[:, None, None]
    assert torch.allclose(dino_input(frames)[0] * std + mean, small[0], atol=1e-4)


def test_positions_stay_where_dino_was_trained() -> None:
    positions = torch.rand(1, 1 + 14 * 14, 6, generator=torch.Generator().manual_seed(0))
    assert dino_positions(positions, 224, 224, 16) is positions
    assert dino_positions(positions, 224, 392, 16).shape == (1, 1 + 14 * 24, 6)
    assert torch.equal(dino_positions(positions, 224, 392, 16)[:, 0], positions[:, 0])


def slow_cubic(values: list[float], at: float) -> float:
    """Keys' cubic of four neighbours with a = -0.75, as torch has it; ends are repeated."""

    def weight(x: float) -> float:
        x, a = abs(x), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * (x**3 - 5 * x**2 + 8 * x - 4)

    left = math.floor(at)
    near = range(left - 1, left + 3)
    return sum(values[min(max(i, 0), len(values) - 1)] * weight(at - i) for i in near)


def test_positions_are_sampled_a_tenth_of_a_patch_beside() -> None:
    values = torch.rand(14, generator=torch.Generator().manual_seed(0))
    positions = F.pad(values.repeat(14).reshape(1, -1, 1), (0, 0, 1, 0))  # all rows alike
    found = dino_positions(positions, 224, 24 * 16, 16)[0, 1:, 0].reshape(14, 24)
    expected = [slow_cubic(values.tolist(), (i + 0.5) * 14 / 24.1 - 0.5) for i in range(24)]
    assert torch.allclose(found, torch.tensor(expected).expand(14, 24), atol=1e-5)
    without = [slow_cubic(values.tolist(), (i + 0.5) * 14 / 24 - 0.5) for i in range(24)]
    assert (found[0] - torch.tensor(without)).abs().max() > 1e-3


# --------------------------------------------------------------------------------------- networks


def tiny_clip(patch: int, seed: int) -> CLIPModel:
    torch.manual_seed(seed)
    tower = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 32}
    vision = tower | {"num_hidden_layers": 2, "image_size": 224, "patch_size": patch}
    text = tower | {"num_hidden_layers": 1, "vocab_size": 60000, "eos_token_id": 2}
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=CHANNELS)
    model = CLIPModel(config)
    spread(model)
    return model


def spread(model: torch.nn.Module) -> None:
    """Weights far enough from zero that frames are told apart."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny networks of the true classes, in the folder that `--weights` expects."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        vit = ViTConfig(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        dino = ViTModel(vit, add_pooling_layer=False)
        spread(dino)
        dino.save_pretrained(folder / "dino-vitb16")
        tiny_clip(32, 4).save_pretrained(folder / "openai" / "clip-vit-base-patch32")
        tiny_clip(14, 5).save_pretrained(folder / "clip-vit-large-patch14")
        torch.save(torch.nn.Linear(CHANNELS, 1).state_dict(), folder / HEAD)
    return folder


def slow_dino(state: dict[str, Tensor], image: Tensor) -> Tensor:
    """DINO's vision transformer of two layers and two heads, written out from its definition."""

    def linear(x: Tensor, *names: str) -> Tensor:
        name = next(n for n in names if f"{n}.weight" in state)
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    patch = "embeddings.patch_embeddings.projection"
    x = F.conv2d(image[None], state[f"{patch}.weight"], state[f"{patch}.bias"], stride=16)
    tall, wide = x.shape[2:]
    x = torch.cat([state["embeddings.cls_token"], x.flatten(2).mT], 1)
    places = state["embeddings.position_embeddings"]
    square = places[:, 1:].mT.reshape(1, -1, 14, 14)
    scale = ((tall + 0.1) / 14, (wide + 0.1) / 14)
    stretched = F.interpolate(square, scale_factor=scale, mode="bicubic").flatten(2).mT
    x = x + torch.cat([places[:, :1], stretched], 1)
    for i in range(2):
        at = f"layers.{i}" if f"layers.{i}.layernorm_before.weight" in state else ""
        at = at or f"encoder.layer.{i}"
        y = norm(x, f"{at}.layernorm_before")
        old, new = f"{at}.attention.attention", f"{at}.attention"
        q, k, v = (
            linear(y, f"{old}.{a}", f"{new}.{a}", f"{new}.{b}").unflatten(-1, (2, -1))
            for a, b in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))
        )
        share = (torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(q.shape[-1])).softmax(-1)
        y = torch.einsum("bhij,bjhd->bihd", share, v).flatten(2)
        x = x + linear(y, f"{new}.output.dense", f"{new}.o_proj")
        y = norm(x, f"{at}.layernorm_after")
        y = F.gelu(linear(y, f"{at}.intermediate.dense", f"{at}.mlp.fc1"))
        x = x + linear(y, f"{at}.output.dense", f"{at}.mlp.fc2")
    return norm(x, "layernorm")[0, 0]


@torch.no_grad()
def test_subject_consistency_on_a_wide_clip(weights: Path) -> None:
    frames = some_frames(5, 60, 105)
    state = ViTModel.from_pretrained(weights / "dino-vitb16", add_pooling_layer=False).state_dict()
    features = torch.stack([slow_dino(state, image) for image in dino_input(frames)])
    score = load_scorer("subject_consistency", weights)(frames)
    assert score == pytest.approx(slow_consistency(features), abs=2e-6)
    assert 0 < score < 1 - 1e-4


def test_dino_normalises_with_its_own_eps(weights: Path) -> None:
    # transformers' default is 1e-12, and so says the configuration on the hub.
    model = load_dino(weights / "dino-vitb16")
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.LayerNorm)]
    assert [layer.eps for layer in layers] == [1e-6] * 5


@torch.no_grad()
def test_background_consistency(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = some_frames(5)
    model = CLIPModel.from_pretrained(weights / "openai" / "clip-vit-base-patch32").eval()
    features = [model.vision_model(image[None]).pooler_output for image in clip_input(frames)]
    expected = slow_consistency(model.visual_projection(torch.cat(features)))
    monkeypatch.setattr(networks, "BATCH", 2)  # three batches, the last of one frame
    score = load_scorer("background_consistency", weights)(frames)
    assert score == pytest.approx(expected, abs=2e-6)
    assert 0 < score < 1 - 1e-4


@torch.no_grad()
def test_aesthetic_quality(weights: Path) -> None:
    frames = some_frames(4)
    model = CLIPModel.from_pretrained(weights / "clip-vit-large-patch14").eval()
    state = torch.load(weights / HEAD, weights_only=True)
    scores = []
    for image in clip_input(frames):
        feature = model.visual_projection(model.vision_model(image[None]).pooler_output)[0]
        unit = feature / feature.norm()
        scores.append((unit @ state["weight"][0] + state["bias"][0]).item() / 10)
    expected = sum(scores) / len(scores)
    score = load_scorer("aesthetic_quality", weights)(frames)
    assert score == pytest.approx(expected, abs=1e-6)


def test_a_head_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(5, 1).state_dict(), tmp_path / "head.pth")
    with pytest.raises(ValueError, match=r"expected a weight of 1x768 and a bias, got .*\(1, 5\)"):
        load_head(tmp_path / "head.pth", 768)


def test_absent_networks_are_named(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"facebook/dino-vitb16 is not in .*vbench.md"):
        load_scorer("subject_consistency", tmp_path)
    (tmp_path / "clip-vit-large-patch14").symlink_to(weights / "clip-vit-large-patch14")
    with pytest.raises(FileNotFoundError, match=HEAD):
        load_scorer("aesthetic_quality", tmp_path)


def test_networks_are_found_in_the_hub_cache(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    lacks = networks.missing("subject_consistency", None)
    assert lacks == "facebook/dino-vitb16 is not in the Hugging Face cache"
    cached = tmp_path / "models--facebook--dino-vitb16"
    for folder in ("refs", "snapshots"):
        (cached / folder).mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    (cached / "snapshots" / "abc").symlink_to(weights / "dino-vitb16")
    assert networks.missing("subject_consistency", None) is None
    frames = some_frames(3)
    expected = load_scorer("subject_consistency", weights)(frames)
    assert load_scorer("subject_consistency", None)(frames) == expected


def test_networks_with_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    config = ViTConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=1)
    model = ViTModel(config, add_pooling_layer=False)
    state = {k: v for k, v in model.state_dict().items() if "layernorm_after" not in k}
    model.save_pretrained(tmp_path / "dino-vitb16", state_dict=state)
    with pytest.raises(ValueError, match=r"lacks 4 weights of ViTModel: .*layernorm_after"):
        load_scorer("subject_consistency", tmp_path)


# ---------------------------------------------------------------------------------------- package

STAND_IN = '''
"""The interface and result format of vbench 0.1.5; scores are made from the videos' sizes."""
import json, os
from pathlib import Path
{at_import}
class VBench:
    def __init__(self, device, full_info_dir, output_path):
        assert os.path.basename(full_info_dir) == "VBench_full_info.json"
        assert str(device) in ("cpu", "cuda")
        self.output_path = output_path
        os.makedirs(output_path, exist_ok=True)
    def evaluate(self, videos_path, name, prompt_list=[], dimension_list=None, local=False,
                 read_frame=False, mode="vbench_standard", **kwargs):
        assert mode == "custom_input" and not local and not read_frame
        print("working on", dimension_list)
        {at_evaluate}
        names = sorted(os.listdir(videos_path))
        if len(prompt_list) > 0:
            assert set(prompt_list) >= set(names), (prompt_list, names)
        results = {{}}
        for dimension in dimension_list:
            rows = []
            for file in names:
                path = os.path.join(videos_path, file)
                score = os.path.getsize(path) / 1e6 + 0.001 * len(dimension)
                if dimension == "overall_consistency":
                    score = len(prompt_list[file]) / 100
                if dimension == "imaging_quality":
                    score *= 100
                rows.append({{"video_path": path, "video_results": score}})
            results[dimension] = [0.5, rows]
        {at_end}
        with open(os.path.join(self.output_path, name + "_eval_results.json"), "w") as file:
            json.dump(results, file)
'''
STAND_IN_TORCH = "class cuda:\n    is_available = staticmethod(lambda: False)\ndevice = str\n"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own with a stand-in torch; returns its folder of packages."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next(folder.glob("lib*/python*/site-packages"))
    (packages / "torch.py").write_text(STAND_IN_TORCH)
    return packages


@pytest.fixture
def package(environment: Path) -> Callable[..., Path]:
    """Puts a stand-in `vbench` there, with code of the test's own; returns the interpreter."""

    def make(at_import: str = "", at_evaluate: str = "", at_end: str = "") -> Path:
        folder = environment / "vbench"
        folder.mkdir(exist_ok=True)
        text = STAND_IN.format(at_import=at_import, at_evaluate=at_evaluate, at_end=at_end)
        # Another name each time, since a compiled file of the same second would be taken for new.
        source = folder / f"stand_in_{abs(hash(text))}.py"
        source.write_text(text)
        (folder / "__init__.py").write_text(f"exec(open({str(source)!r}).read())\n")
        return environment.parents[2] / "bin" / "python"

    return make


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two methods, three videos and one file that is none."""
    folder = tmp_path / "results"
    for method, name, seed in (
        ("ours", "bear-orbit-left", 1),
        ("ours", "bear-dolly-in", 2),
        ("theirs", "bear-orbit-left", 3),
    ):
        (folder / method).mkdir(parents=True, exist_ok=True)
        Video(some_frames(5, 48, 64, seed), 10).write(folder / method / f"{name}.mp4")
    (folder / "theirs" / "bear-dolly-in.mp4").write_bytes(b"no video")
    return folder


def test_the_package_is_found_with_its_version(package: Callable[..., Path]) -> None:
    assert vbench_version(package("print('loading')")) == "of unknown version"


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_package_scores_every_dimension(
    dimension: str, package: Callable[..., Path], results: Path, tmp_path: Path
) -> None:
    videos = sorted((results / "ours").glob("*.mp4"))
    prompts = {v.name: "word " * (i + 1) for i, v in enumerate(videos)}
    scores = external_scores(package(), dimension, videos, tmp_path / "out", prompts)
    if dimension == "overall_consistency":
        expected = {v.name: len(prompts[v.name]) / 100 for v in videos}
    else:  # imaging quality comes per hundred and leaves as the others do
        expected = {v.name: v.stat().st_size / 1e6 + 0.001 * len(dimension) for v in videos}
    assert scores == pytest.approx(expected)


def test_a_finished_run_is_not_repeated(
    package: Callable[..., Path], results: Path, tmp_path: Path
) -> None:
    videos = sorted((results / "ours").glob("*.mp4"))
    first = external_scores(package(), "motion_smoothness", videos, tmp_path / "out")
    broken = package(at_evaluate="raise SystemError('ran again')")
    assert external_scores(broken, "motion_smoothness", videos, tmp_path / "out") == first
    Video(some_frames(6), 10).write(videos[0], overwrite=True)
    with pytest.raises(ValueError, match="ran again"):
        external_scores(broken, "motion_smoothness", videos, tmp_path / "out")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            {"at_import": "raise ImportError('no torchvision')"},
            "cannot import vbench.*\n.*no torch",
        ),
        ({"at_evaluate": "raise OSError('no disk')"}, "failed at imaging_quality .*exit code 1"),
        ({"at_evaluate": "raise OSError('no disk')"}, "OSError: no disk"),
        ({"at_end": "results = {'color': 1}"}, "lacks imaging_quality: got .'color'."),
        ({"at_end": "return"}, "lacks imaging_quality: got no file"),
        ({"at_end": "rows.pop()"}, "no score for bear-orbit-left.mp4"),
        ({"at_end": "rows[0]['video_results'] = float('nan')"}, "no score for bear-dolly-in.mp4"),
    ],
)
def test_what_the_package_does_wrong_is_told(
    code: dict[str, str],
    message: str,
    package: Callable[..., Path],
    results: Path,
    tmp_path: Path,
) -> None:
    python = package(**code)
    videos = sorted((results / "ours").glob("*.mp4"))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        if "at_import" in code:
            vbench_version(python)
        external_scores(python, "imaging_quality", videos, tmp_path / "out")


def test_no_interpreter_and_no_package(tmp_path: Path, environment: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Expected a Python interpreter at"):
        vbench_version(tmp_path / "python")
    with pytest.raises(
        ValueError, match=r"(?s)cannot import vbench; docs/reference/vbench.md .*No module"
    ):
        vbench_version(Path(sys.executable))


def test_a_result_of_the_true_format_is_read(tmp_path: Path) -> None:
    # As vbench 0.1.5 wrote it for one clip, with the extra keys of background consistency.
    row = {
        "video_path": "videos/a b.mp4",
        "video_results": 0.9952321393817078,
        "video_sim": 31.8,
        "cnt_per_video": 32,
    }
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"background_consistency": [0.99, [row]]}))
    scores = read_scores(path, "background_consistency", ["a b.mp4"])
    assert scores == {"a b.mp4": 0.9952321393817078}


# ------------------------------------------------------------------------------------- evaluation


def test_without_anything_there_is_flickering_and_a_note(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    evaluation = evaluate_vbench(results, tmp_path / "out")
    assert [c.name for c in evaluation.columns] == ["temporal_flickering"]
    assert set(evaluation.about["left_out"]) == set(DIMENSIONS) - {"temporal_flickering"}
    assert "Nothing but flickering" in evaluation.about["note"]
    assert "camera" in evaluation.about["bias"]
    video = results / "ours" / "bear-dolly-in.mp4"
    entry = next(e for e in evaluation.entries if e.group == {"trajectory": "dolly-in"})
    assert entry.values == {"temporal_flickering": temporal_flickering(read_as_vbench(video))}


def test_a_bad_video_does_not_cost_the_others(
    results: Path, tmp_path: Path, package: Callable[..., Path]
) -> None:
    evaluation = evaluate_vbench(
        results,
        tmp_path / "out",
        dimensions=["temporal_flickering", "motion_smoothness"],
        python=package(),
    )
    bad = [entry for entry in evaluation.entries if entry.error is not None]
    assert [(e.row, e.clip, e.group) for e in bad] == [
        ("theirs", "bear", {"trajectory": "dolly-in"})
    ]
    assert "expected a video of 3 frames, got 0" in str(bad[0].error)
    assert bad[0].values == {}
    good = [entry for entry in evaluation.entries if entry.error is None]
    assert len(good) == 3
    assert all(set(e.values) == {"temporal_flickering", "motion_smoothness"} for e in good)


def test_all_seven_together(
    results: Path, tmp_path: Path, weights: Path, package: Callable[..., Path]
) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"bear": "a bear", "bear-dolly-in.mp4": "a bear, nearer"}))
    evaluation = evaluate_vbench(
        results,
        tmp_path / "out",
        weights=weights,
        python=package(),
        prompts=prompts,
        device="cpu",
    )
    assert tuple(c.name for c in evaluation.columns) == DIMENSIONS
    assert {c.better for c in evaluation.columns} == {"higher"}
    assert evaluation.about["left_out"] == {}
    by = evaluation.about["computed_by"]
    assert by["subject_consistency"].startswith("here, facebook/dino-vitb16")
    assert by["imaging_quality"].startswith("vbench of unknown version in")
    first, second = (e for e in evaluation.entries if e.row == "ours")
    assert (first.values["overall_consistency"], second.values["overall_consistency"]) == (
        0.14,
        0.06,
    )
    assert set(first.values) == set(DIMENSIONS)
    pooled = {(m.row, m.column): m.clips for m in summarize(evaluation, by=())}
    assert pooled["ours", "imaging_quality"] == 1  # two trajectories of one clip


def test_a_stopped_run_goes_on(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[float] = []

    def counted(frames: Tensor) -> float:
        scored.append(temporal_flickering(frames))
        return scored[-1]

    monkeypatch.setattr(vbench, "temporal_flickering", counted)
    only = ["temporal_flickering"]
    first = evaluate_vbench(results, tmp_path / "out", dimensions=only)
    assert len(scored) == 3
    again = evaluate_vbench(results, tmp_path / "out", dimensions=only)
    assert (len(scored), again.entries) == (3, first.entries)
    # A video made anew is scored anew, one that was repaired for the first time.
    for video in (results / "ours" / "bear-dolly-in.mp4", results / "theirs" / "bear-dolly-in.mp4"):
        video.unlink()
        Video(some_frames(7, seed=9), 10).write(video)
    changed = evaluate_vbench(results, tmp_path / "out", dimensions=only)
    assert len(scored) == 5
    assert len(changed.entries) == 4
    assert all(entry.error is None for entry in changed.entries)
    assert changed.entries[0].values == {"temporal_flickering": scored[-2]}


def test_missing_prompts_leave_out_overall_consistency(
    results: Path, tmp_path: Path, package: Callable[..., Path]
) -> None:
    evaluation = evaluate_vbench(
        results,
        tmp_path / "out",
        dimensions=["temporal_flickering", "overall_consistency"],
        python=package(),
    )
    assert "no --prompts were given" in evaluation.about["left_out"]["overall_consistency"]
    assert evaluation.about["note"].startswith("Nothing but flickering")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dimensions": ["color"]}, ValueError, "Expected dimensions of subject_consistency"),
        ({"dimensions": []}, ValueError, "Expected dimensions of"),
        (
            {"dimensions": ["motion_smoothness"]},
            ValueError,
            "None of the dimensions .*motion_smoothness: its network is in the vbench package only",
        ),
        ({"weights": Path("nowhere")}, FileNotFoundError, "folder with networks at nowhere"),
        ({"python": Path("nowhere")}, FileNotFoundError, "Python interpreter at nowhere"),
        ({"prompts": Path("nowhere.json")}, FileNotFoundError, "nowhere.json"),
    ],
)
def test_mistakes_are_told_before_the_work(
    options: dict[str, Any], error: type[Exception], message: str, results: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        evaluate_vbench(results, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "entries.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [('["a"]', "expected JSON like"), ('{"cat": "a cat"}', "no prompt for .*4 in all")],
)
def test_prompts_that_do_not_fit(text: str, message: str, results: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        evaluate_vbench(results, tmp_path / "out", prompts=tmp_path / "prompts.json")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="<method>/"):
        evaluate_vbench(tmp_path, tmp_path / "out")


def test_the_papers_row_is_quoted() -> None:
    paper = QUOTED[0]
    assert paper.row == "TrajectoryCrafter"
    assert tuple(paper.values) == DIMENSIONS
    expected = (0.9236, 0.9512, 0.9437, 0.9815, 0.2847, 0.5920, 0.6479)
    assert tuple(paper.values.values()) == expected
    assert "Table 2" in paper.quoted_from


# ------------------------------------------------------------------------------------------- jobs


def test_jobs_are_a_manifest_of_six_a_clip(tmp_path: Path) -> None:
    clips = [tmp_path / "bear.mp4", tmp_path / "swan.mov"]
    for path in clips:
        path.touch()
    rows = vbench_jobs(clips, {"bear": "a bear"})
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    jobs = read_manifest(manifest)
    assert len(jobs) == 2 * len(VBENCH_TRAJECTORIES) == 12
    assert [job.prompt for job in jobs] == ["a bear"] * 6 + [None] * 6
    assert (jobs[0].name, jobs[0].preset, jobs[0].amount) == ("bear-orbit-left", "orbit-left", 20)
    for job in jobs:
        assert vbench.clip_and_group(Path(f"{job.name}.mp4")) == (
            job.clip.stem,
            {"trajectory": job.preset},
        )


def test_clips_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="twice: bear"):
        vbench_jobs([Path("a/bear.mp4"), Path("b/bear.mp4")])
