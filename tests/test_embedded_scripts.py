"""The embedded video model's third stage, at tiny sizes: it learns, and a stopped run goes on."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_material import sample

from trajectorycrafter.lab.samples import ShardWriter
from trajectorycrafter.lab.training.run_folder import read_curve
from trajectorycrafter.model.codec import SpaceToDepthCodec
from trajectorycrafter.model.embedded import EmbeddedModel
from trajectorycrafter.model.transformer import DualStreamTransformer

SCRIPTS = Path(__file__).parents[1] / "scripts" / "embedded_video"


@pytest.fixture(scope="module")
def finish():
    """The script as a module."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        import finish

        yield finish
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples, a codec, and a transformer of 8 latent channels that has learnt nothing."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    with ShardWriter(folder / "samples") as writer:
        for i in range(4):
            other = sample(10 + i)
            writer.write(sample(i, memory=other.render, filled=other.target))
    clips = [sample(i).target.frames * 2 - 1 for i in range(4)]
    SpaceToDepthCodec.fit(clips, 8).save_pretrained(folder / "codec")
    model = DualStreamTransformer(
        num_attention_heads=1,
        attention_head_dim=16,
        in_channels=26,
        out_channels=8,
        time_embed_dim=8,
        text_embed_dim=8,
        num_layers=1,
        max_text_seq_length=1,
        use_rotary_positional_embeddings=True,
        cross_attn_in_channels=8,
        cross_attn_dim_head=16,
        cross_attn_num_heads=1,
    )
    model.save_pretrained(folder / "transformer")
    return folder


def test_a_table_tells_the_spread_over_seeds_and_pairs_scenes() -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        from table import table
    finally:
        sys.path.remove(str(SCRIPTS))
    rows = [
        {"model": f"models/{name}-{seed}", "scene": scene, "range": 20, "psnr": value}
        for name, gain in (("none", 0.0), ("no-static", 0.5))
        for seed in (0, 1)
        for scene in (0, 1, 2)
        for value in [10.0 + 5 * scene + gain + seed]
    ]
    lines = table(rows, "none")
    assert lines[2] == "| none | 2 | 15.500 ± 0.707 |"
    assert lines[3] == "| no-static | 2 | 16.000 ± 0.707 (+0.500 ± 0.000) |"


def run(finish: Any, start: Path, out: Path, steps: int) -> None:
    settings = finish.Settings(
        out,
        samples=(start / "samples",),
        start=start / "transformer",
        codec=start / "codec",
        steps=steps,
        smooth=0.0,  # These clips are rough.
        batch=2,
        warmup=1,
        every=2,
        # Rates depend on the number of steps; without a cooldown a longer run begins alike.
        cooldown=1e-9,
    )
    finish.finish(settings)


def test_a_run_that_was_stopped_goes_on_exactly(finish: Any, start: Path, tmp_path: Path) -> None:
    run(finish, start, tmp_path / "whole", 4)
    run(finish, start, tmp_path / "halves", 2)
    run(finish, start, tmp_path / "halves", 4)
    for name in ("trained", "ema-00000"):
        whole, halves = (
            load_file(tmp_path / run / "checkpoints" / "step-000004" / f"{name}.safetensors")
            for run in ("whole", "halves")
        )
        assert whole.keys() == halves.keys()
        assert not [key for key in whole if not torch.equal(whole[key], halves[key])]
    curves = [read_curve(tmp_path / run) for run in ("whole", "halves")]
    assert [line["loss"] for line in curves[0]] == [line["loss"] for line in curves[1]]


def test_the_error_falls_and_the_model_loads(finish: Any, start: Path, tmp_path: Path) -> None:
    run(finish, start, tmp_path / "run", 30)
    curve = [line["logarithm"] for line in read_curve(tmp_path / "run")]
    assert sum(curve[-10:]) / 10 < sum(curve[:10]) / 10 - 0.1
    model = EmbeddedModel.load(tmp_path / "run" / "model")
    assert model.decoder is not None
    assert model.codec.config["latent_channels"] == 8
    told = json.loads((tmp_path / "run" / "model" / "decoder" / "config.json").read_text())
    assert str(start) not in json.dumps(told)


def test_windows_and_logarithms_are_what_they_say(finish: Any) -> None:
    frames = torch.rand(2, 3, 20, 30)
    pooled = torch.nn.functional.avg_pool2d(frames, 7, stride=1, padding=3, count_include_pad=False)
    means = finish.window_means(20, 7) @ frames @ finish.window_means(30, 7).T
    assert torch.allclose(means, pooled, atol=1e-6)
    clip = torch.rand(1, 3, 3, 20, 30) * 2 - 1
    assert float(finish.dissimilarity(clip, clip, torch.ones(1, 3, 1, 20, 30))) < 1e-6
    # One frame has an error of 0.1 in its holes, one of 0.2, and one has no holes.
    holes = torch.zeros(1, 3, 1, 20, 30)
    holes[:, :2, :, 5:9] = 1
    error = torch.full((1, 3, 3, 20, 30), 0.1)
    error[:, 1] = 0.2
    expected = torch.tensor([0.01, 0.04]).add(finish.FLOOR).log().mean()
    assert torch.allclose(finish.log_error(error, holes), expected, atol=1e-5)
