"""Cached latents give what samples give."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_material import sample, settings, write_samples

from trajectorycrafter.config.training import TrainSettings, changed
from trajectorycrafter.lab.samples import SampleDataset, ShardWriter
from trajectorycrafter.lab.training.encoding import encode, make_encoder
from trajectorycrafter.lab.training.examples import tensors
from trajectorycrafter.lab.training.latents import LatentDataset
from trajectorycrafter.lab.training.run_folder import read_curve
from trajectorycrafter.lab.training.stages import model_config
from trajectorycrafter.lab.training.trainer import train


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("data") / "samples")


@pytest.fixture(scope="module")
def cache(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants of each, float32, in files of four."""
    chosen = changed(settings("tiny-joint", samples), "data", variants=2)
    folder = tmp_path_factory.mktemp("cache")
    (made,) = encode(chosen, folder, dtype="float32", per_file=4)
    assert made == folder / "samples"
    return made


def cached(base: TrainSettings, cache: Path) -> TrainSettings:
    return changed(base, "data", samples=(), latents=(cache,))


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_curve(out)]


def test_training_from_the_cache_is_training_from_samples(
    samples: Path, cache: Path, tmp_path: Path
) -> None:
    live = changed(settings("tiny-joint", samples, steps=3), "data", variants=2, batch=2)
    train(live, tmp_path / "live")
    train(cached(live, cache), tmp_path / "cached")
    assert losses(tmp_path / "live") == losses(tmp_path / "cached")


def test_half_precision_changes_little(samples: Path, tmp_path: Path) -> None:
    live = changed(settings("tiny-stage1", samples), "data", variants=1)
    (half,) = encode(live, tmp_path / "half")
    train(live, tmp_path / "live")
    train(cached(live, half), tmp_path / "cached")
    # Float16 keeps 11 bits; the loss averages over thousands of values.
    assert losses(tmp_path / "cached") == pytest.approx(losses(tmp_path / "live"), rel=1e-3)


def test_the_stream_is_that_of_samples(samples: Path, cache: Path) -> None:
    how: dict[str, Any] = {"kinds": {"dynamic": 1.0, "static": 3.0}, "seed": 5, "epochs": 2}
    pictures = [s.info["id"] for s in SampleDataset(samples, **how)]
    assert [item[0].id for item in LatentDataset(cache, **how)] == pictures
    ranks = [LatentDataset(cache, seed=1, epochs=1, rank=r, world_size=2) for r in (0, 1)]
    split = [{item[0].id for item in rank} for rank in ranks]
    assert not split[0] & split[1] and len(split[0] | split[1]) == 6


def test_items_are_what_the_encoder_makes(samples: Path, cache: Path) -> None:
    chosen = settings("tiny-joint", samples)
    encoder = make_encoder(chosen, model_config(chosen.model), torch.device("cpu"))
    read = {s.info["id"]: s for s in SampleDataset(samples, epochs=1)}
    for item in LatentDataset(cache, epochs=1):
        assert len(item) == 2
        for variant, found in enumerate(item):
            made = encoder(read[found.id], variant)
            assert found.kind == made.kind and found.render.seen == made.render.seen
            a, b = dict(tensors(found)), dict(tensors(made))
            assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_stopped_encoding_goes_on(samples: Path, cache: Path, tmp_path: Path) -> None:
    chosen = changed(settings("tiny-joint", samples), "data", variants=2)
    (made,) = encode(chosen, tmp_path, dtype="float32", per_file=4)
    last, first = made / "latents-000001.safetensors", made / "latents-000000.safetensors"
    whole, stamp = last.read_bytes(), first.stat().st_mtime_ns
    last.unlink()
    with pytest.raises(FileNotFoundError, match="latents-000001"):
        LatentDataset(made)
    encode(chosen, tmp_path, dtype="float32", per_file=4)
    assert last.read_bytes() == whole and first.stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match="seed"):
        encode(replace(chosen, seed=9), tmp_path, dtype="float32", per_file=4)


def test_a_cache_made_otherwise_is_refused(samples: Path, cache: Path, tmp_path: Path) -> None:
    other = cached(settings("tiny-joint", samples), cache)
    with pytest.raises(ValueError, match="posterior"):
        train(changed(other, "objective", posterior="mode"), tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="encode"):
        train(cached(other, samples), tmp_path / "b")


def test_memory_and_means_are_cached_too(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "remembered") as writer:
        writer.write(sample(0, memory=sample(5).render))
        writer.write(sample(1))
    base = settings("tiny-joint", tmp_path / "remembered", steps=1)
    base = changed(base, "objective", posterior="mode")
    wider = {**base.model.transformer, "in_channels": 14}
    base = changed(base, "model", memory=True, transformer=wider)
    base = changed(base, "data", variants=1, batch=2)
    (made,) = encode(base, tmp_path / "cache", dtype="float32")
    items = {item[0].id: item[0] for item in LatentDataset(made, epochs=1)}
    assert items["s0"].memory is not None and items["s0"].memory.seen
    assert items["s1"].memory is not None and not items["s1"].memory.seen
    assert items["s0"].target.std is None
    train(base, tmp_path / "live")
    train(cached(base, made), tmp_path / "cached")
    assert losses(tmp_path / "live") == losses(tmp_path / "cached")


def test_odd_folders_are_refused(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="folders of samples"):
        encode(changed(settings("tiny-joint", samples), "data", samples=()), tmp_path)
    with pytest.raises(ValueError, match="float16"):
        encode(settings("tiny-joint", samples), tmp_path, dtype="bfloat16")
