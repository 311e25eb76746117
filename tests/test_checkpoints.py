"""Loading strictly, refusing what is wrong, and writing whole folders or none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_model import config, inputs, pipeline, seeded, tensors, transformer
from safetensors.torch import load_file, save_file

from trajectorycrafter.model.checkpoints import load_pipeline, load_transformer, save
from trajectorycrafter.model.transformer import DualStreamTransformer
from trajectorycrafter.runtime import weights as released

WEIGHTS = "diffusion_pytorch_model.safetensors"


def released_folder(folder: Path, shards: int = 3) -> Path:
    """The golden transformer as the hub holds it: class name, shards and their index."""
    folder.mkdir(parents=True)
    settings = {
        "_class_name": "CrossTransformer3DModel",
        "_diffusers_version": "0.30.1",
        "training_note": "an unknown key",
        **config("transformer/transformer_rotary"),
    }
    (folder / "config.json").write_text(json.dumps(settings))
    weights = tensors("transformer/transformer_rotary.weights")
    names, total = sorted(weights), f"{shards:05d}"
    place = {n: WEIGHTS.replace(".s", f"-{i % shards + 1:05d}-of-{total}.s")
             for i, n in enumerate(names)}  # fmt: skip
    for file in set(place.values()):
        save_file({n: weights[n] for n in names if place[n] == file}, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": place}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    return folder


def single_file(folder: Path, change: dict[str, torch.Tensor | None]) -> Path:
    """The same in one file, with tensors changed or, where None, left out."""
    released_folder(folder, shards=1)
    weights = {**tensors("transformer/transformer_rotary.weights"), **change}
    for path in folder.glob("diffusion*"):
        path.unlink()
    save_file({n: w for n, w in weights.items() if w is not None}, folder / WEIGHTS)
    return folder


@torch.no_grad()
def golden_error(model: DualStreamTransformer) -> float:
    io = tensors("transformer/transformer_rotary_a.io")
    out = model(
        io["hidden_states"],
        io["encoder_hidden_states"],
        io["timestep"],
        io["inpaint_latents"],
        reference_latents=io["cross_latents"],
    ).sample
    return (out - io["output"]).abs().max().item()


def test_sharded_released_folder_loads_and_gives_the_golden_output(tmp_path: Path) -> None:
    folder = released_folder(tmp_path / "TrajectoryCrafter")
    for model in (load_transformer(folder), DualStreamTransformer.from_pretrained(folder)):
        assert golden_error(model) < 2e-5
        assert not model.training
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert load_transformer(folder, dtype=torch.float16).dtype == torch.float16


def test_settings_can_be_overruled(tmp_path: Path) -> None:
    folder = released_folder(tmp_path / "model")
    assert load_transformer(folder, rotary="legacy").config["rotary"] == "legacy"
    with pytest.raises(ValueError, match=r"14 unexpected: perceiver_cross_attention\.0\.norm1"):
        load_transformer(folder, reference="concatenate")


def test_every_wrong_tensor_is_named(tmp_path: Path) -> None:
    folder = single_file(
        tmp_path / "model",
        {
            "proj_out.bias": None,
            "transformer_blocks.1.attn1.to_q.weight": None,
            "stranger.weight": torch.zeros(2),
            "norm_final.weight": torch.zeros(3),
        },
    )
    with pytest.raises(ValueError, match=r"do not fit the configuration") as caught:
        load_transformer(folder)
    message = str(caught.value)
    assert "2 missing: proj_out.bias, transformer_blocks.1.attn1.to_q.weight" in message
    assert "1 unexpected: stranger.weight" in message
    assert "1 of another shape: norm_final.weight (expected [64], got [3])" in message


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.pt", "a.ckpt"])
def test_pickles_are_refused(name: str, tmp_path: Path) -> None:
    folder = released_folder(tmp_path / "model", shards=1)
    for path in folder.glob("diffusion*"):
        path.unlink()
    torch.save({}, folder / name)
    for place in (folder, folder / name):
        with pytest.raises(ValueError, match=r"the pickle .*Convert it.*save_file"):
            load_transformer(place)


def test_missing_weights_and_shards_are_named(tmp_path: Path) -> None:
    folder = released_folder(tmp_path / "model")
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=rf"missing: {shard.name}.*Repeat the download"):
        load_transformer(folder)
    for path in folder.glob("diffusion*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"or its index.*found neither"):
        load_transformer(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        load_transformer(folder)


def test_saving_and_loading_a_transformer(tmp_path: Path) -> None:
    folder = save(transformer(rotary="legacy"), tmp_path / "new" / "model", max_shard_size="200KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    again = load_transformer(folder)
    assert again.config["rotary"] == "legacy"
    kept = transformer().state_dict()
    assert all(torch.equal(kept[name], w) for name, w in again.state_dict().items())


def test_nothing_is_overwritten_or_left_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(transformer(), tmp_path / "model")
    before = load_file(folder / WEIGHTS)
    with pytest.raises(FileExistsError, match=r"allow overwriting"):
        save(transformer(), folder)

    def fail(_self: object, place: Path, **_options: object) -> None:
        Path(place).mkdir()
        (Path(place) / "half").write_text("")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(DualStreamTransformer, "save_pretrained", fail)
        for place in (folder, tmp_path / "other"):
            with pytest.raises(OSError, match=r"No space left"):
                save(transformer(), place, overwrite=True)
    assert os.listdir(tmp_path) == ["model"]
    assert load_file(folder / WEIGHTS).keys() == before.keys()
    save(transformer(rotary="legacy"), folder, overwrite=True)
    assert load_transformer(folder).config["rotary"] == "legacy"
    assert os.listdir(tmp_path) == ["model"]


def test_a_failed_rename_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(transformer(), tmp_path / "model")
    rename = os.replace

    def fail_on_new(source: Path, target: Path) -> None:
        if Path(source).name.startswith(".partial."):
            raise OSError("busy")
        rename(source, target)

    monkeypatch.setattr("os.replace", fail_on_new)
    with pytest.raises(OSError, match=r"busy"):
        save(transformer(rotary="legacy"), folder, overwrite=True)
    assert load_transformer(folder).config["rotary"] == "current"
    assert os.listdir(tmp_path) == ["model"]


def test_a_saved_pipeline_loads_from_its_own_folder(tmp_path: Path) -> None:
    call: dict[str, Any] = {**inputs(), "num_inference_steps": 2, "output_type": "latent"}
    made = pipeline("DPM++")
    plain = made(**call, generator=seeded(1)).frames
    folder = save(made, tmp_path / "pipeline")
    for again in (load_pipeline(folder), type(made).from_pretrained(folder)):
        again.set_progress_bar_config(disable=True)
        assert again.vae.num_sample_frames_batch_size == 4
        assert torch.equal(again(**call, generator=seeded(1)).frames, plain)
    other = load_pipeline(folder, sampler="Euler", rotary="legacy")
    assert type(other.scheduler).__name__ == "EulerDiscreteScheduler"
    assert other.transformer.config.rotary == "legacy"


def test_missing_released_weights_say_where_and_how(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_pipeline("5b", weights_dir=tmp_path)
    message = str(caught.value)
    assert f"{tmp_path}/TrajectoryCrafter/config.json" in message
    assert f"{tmp_path}/TrajectoryCrafter/TrajectoryCrafter/config.json" in message
    assert "hf download TrajectoryCrafter/TrajectoryCrafter" in message
    assert "12.2 GB" in message
    assert "academic" in message


def test_the_licence_is_stated_before_a_download(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[tuple[str, bool, bool]] = []

    def offline(repo_id: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        asked.append((repo_id, local_files_only, bool(caplog.records)))
        assert not any(pattern.endswith((".bin", "/*")) for pattern in allow_patterns)
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(FileNotFoundError, match=r"hf download tencent/DepthCrafter"):
        released.fetch("DepthCrafter")
    # Asked of the cache first, without a word; of the hub only after the terms were stated.
    assert asked == [("tencent/DepthCrafter", True, False), ("tencent/DepthCrafter", False, True)]
    assert "3.1 GB" in caplog.text
    assert "academic, research and education use only" in caplog.text


def test_released_folders_are_found_by_either_name(tmp_path: Path) -> None:
    assert released.locate("DepthCrafter") == "tencent/DepthCrafter"
    nested = tmp_path / "tencent" / "DepthCrafter"
    nested.mkdir(parents=True)
    assert released.find("DepthCrafter", tmp_path) is None
    (nested / "config.json").write_text("{}")
    assert released.locate("tencent/DepthCrafter", tmp_path) == nested
    assert released.find("DepthCrafter", tmp_path) == nested
    flat = tmp_path / "DepthCrafter"
    flat.mkdir()
    (flat / "config.json").write_text("{}")
    assert released.locate("DepthCrafter", tmp_path) == flat
    with pytest.raises(ValueError, match=r"Expected one of.*got 'Sora'"):
        released.locate("Sora")
