"""Whole runs: what moves, what is kept, what a killed one goes on with, and two processes."""

import json
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from training_material import settings, write_samples

from trajectorycrafter.config.training import LoraSettings, TrainSettings, changed
from trajectorycrafter.config.training_presets import REFERENCE
from trajectorycrafter.lab.training.run_folder import read_curve
from trajectorycrafter.lab.training.stages import build_model
from trajectorycrafter.lab.training.trainer import train
from trajectorycrafter.model.checkpoints import load_transformer, save
from trajectorycrafter.runtime.files import to_json
from trajectorycrafter.runtime.run_folder import WORK

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("data") / "samples")


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / WEIGHTS)


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_curve(out)]


def started(base: TrainSettings, model: Path) -> TrainSettings:
    return changed(base, "model", start=str(model))


def test_two_stages_move_what_they_should_and_nothing_else(samples: Path, tmp_path: Path) -> None:
    blocks = replace(settings("tiny-stage1", samples), trains=("transformer_blocks",))
    before = build_model(blocks.model, blocks.seed).state_dict()
    one = train(blocks, tmp_path / "one")
    first = weights(one)
    assert first.keys() == before.keys()
    for name, weight in first.items():
        moved = name.startswith("transformer_blocks")
        assert torch.equal(weight, before[name]) != moved, name
    assert not any(first["perceiver_cross_attention.0.to_out.weight"].flatten())

    two = train(started(settings("tiny-stage2", samples, steps=3), one), tmp_path / "two")
    for name, weight in weights(two).items():
        assert torch.equal(weight, first[name]) != name.startswith(REFERENCE), name
    assert load_transformer(two).reference_kind == "cross_attention"


@pytest.mark.parametrize("ablation", ["no-reference", "concatenate", "no-dynamic", "no-static"])
def test_ablations_take_a_step(samples: Path, tmp_path: Path, ablation: str) -> None:
    name = "tiny-stage2" if ablation != "no-static" else "tiny-joint"
    out = tmp_path / "run"
    model = train(settings(name, samples, ablation, steps=1), out)
    kind = {"no-reference": "none", "concatenate": "concatenate"}.get(ablation, "cross_attention")
    assert load_transformer(model).reference_kind == kind
    assert np.isfinite(losses(out)).all()


def test_muon_and_small_options_learn(samples: Path, tmp_path: Path) -> None:
    chosen = settings("tiny-joint", samples, name="muon", steps=15, warmup=1, cooldown=5)
    chosen = changed(chosen, "objective", prediction="x0", hole_weight=2.0, timesteps="high")
    chosen = changed(chosen, "model", gradient_checkpointing=True)
    train(chosen, tmp_path / "learns")
    train(changed(chosen, "optimizer", lr=0.0, muon_lr=0.0), tmp_path / "rests")
    # The draws are the same, so that the curves can be compared step by step.
    learns, rests = losses(tmp_path / "learns"), losses(tmp_path / "rests")
    assert learns[0] == rests[0] and learns[-1] < 0.97 * rests[-1]
    gains = np.array(rests) - np.array(learns)
    assert gains[-5:].min() > 0 and gains[-5:].mean() > gains[1:6].mean()


def test_average_is_saved_beside_the_weights(samples: Path, tmp_path: Path) -> None:
    seen: list[Tensor] = []
    chosen = changed(settings("tiny-stage1", samples, steps=3, ema=0.5), "log", checkpoint_every=1)

    def look(step: int) -> None:
        place = tmp_path / WORK / f"checkpoints/step-{step:06d}/trained.safetensors"
        seen.append(load_file(place)["proj_out.weight"])

    train(chosen, tmp_path, on_step=look)
    average = seen[0]
    for n, value in enumerate(seen[1:], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * value
    found = weights(tmp_path / "model-ema")["proj_out.weight"]
    torch.testing.assert_close(found, average, atol=1e-7, rtol=1e-6)
    assert torch.equal(weights(tmp_path / "model")["proj_out.weight"], seen[-1])
    assert len(list((tmp_path / "checkpoints").iterdir())) == chosen.log.keep


def test_adapters_leave_the_weights_alone(samples: Path, tmp_path: Path) -> None:
    base = settings("tiny-joint", samples)
    start = save(build_model(base.model, 4), tmp_path / "released")
    chosen = replace(started(base, start), lora=LoraSettings(rank=2, alpha=2.0))
    model, again = (train(chosen, tmp_path / name) for name in ("run", "again"))
    adapters, same = (load_file(m / "pytorch_lora_weights.safetensors") for m in (model, again))
    assert all(torch.equal(w, same[name]) for name, w in adapters.items())  # one seed, one result
    assert adapters and all(name.startswith("transformer.") for name in adapters)
    assert any(w.abs().max() > 0 for name, w in adapters.items() if "lora_B" in name)
    assert not (model / WEIGHTS).exists()


def test_pictures_and_tensorboard(samples: Path, tmp_path: Path) -> None:
    chosen = settings("tiny-stage1", samples, ema=0.9)
    plain = train(chosen, tmp_path / "plain")
    log = {"sample_every": 1, "sample_count": 2, "sample_steps": 2}
    shown = train(changed(chosen, "log", **log), tmp_path / "shown")
    pictures = sorted((tmp_path / "shown/samples").iterdir())
    assert [p.name for p in pictures] == ["step-000001.png", "step-000002.png"]
    first, second = (np.asarray(Image.open(p)).astype(int) for p in pictures)
    assert first.shape == (2 * 3 * 32, 4 * 48, 3)  # target, render, result of two samples
    rows = first.reshape(2, 3, 32, -1), second.reshape(2, 3, 32, -1)
    assert (rows[0][:, :2] == rows[1][:, :2]).all() and (rows[0][:, 2] != rows[1][:, 2]).any()
    assert list((tmp_path / "shown/tensorboard").rglob("events.out.tfevents*"))
    # Looking does not disturb.
    assert losses(tmp_path / "plain") == losses(tmp_path / "shown")
    assert all(torch.equal(w, weights(shown)[n]) for n, w in weights(plain).items())


# ------------------------------------------------------------------------------------- going on


def launched(script: Path, *arguments: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """Run a script, by `accelerate launch` if there is more than one process."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
        command += ["--num_processes", str(processes), "--main_process_port", "0"]
        command += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    done = [*command, str(script), *arguments]
    return subprocess.run(done, capture_output=True, text=True, timeout=120)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from trajectorycrafter.runtime.files import from_json
from trajectorycrafter.config.training import TrainSettings
from trajectorycrafter.lab.training.trainer import train

def die(step):
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

train(from_json(TrainSettings, json.loads(Path(sys.argv[1]).read_text())), sys.argv[2], on_step=die)
"""


def test_a_killed_run_goes_on_exactly(samples: Path, tmp_path: Path) -> None:
    chosen = settings("tiny-joint", samples, steps=7, name="muon", ema=0.9)
    chosen = changed(changed(chosen, "log", checkpoint_every=2), "data", accumulation=2)
    unbroken = train(chosen, tmp_path / "unbroken")
    (tmp_path / "settings.json").write_text(json.dumps(to_json(chosen)))
    (tmp_path / "killed.py").write_text(KILLED)
    done = launched(
        tmp_path / "killed.py", str(tmp_path / "settings.json"), str(tmp_path / "killed")
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # The fifth step's line is beyond the checkpoint.
    assert len(losses(tmp_path / "killed" / WORK)) == 5
    assert not (tmp_path / "killed/model").exists()
    # A checkpoint that was being written counts for nothing.
    (tmp_path / "killed/.partial/checkpoints/.partial.step-000006").mkdir()

    with pytest.raises(ValueError, match="--resume"):
        train(chosen, tmp_path / "killed")
    with pytest.raises(ValueError, match=r"optimizer\.lr"):
        train(changed(chosen, "optimizer", lr=1.0), tmp_path / "killed", resume=True)
    steps: list[int] = []
    # Reading ahead in another process changes nothing.
    again = changed(chosen, "data", workers=1)
    resumed = train(again, tmp_path / "killed", resume=True, on_step=steps.append)
    assert steps == [5, 6, 7]
    assert losses(tmp_path / "killed") == losses(tmp_path / "unbroken")
    assert len(losses(tmp_path / "killed")) == 7
    assert all(torch.equal(w, weights(resumed)[n]) for n, w in weights(unbroken).items())
    ema = [weights(tmp_path / run / "model-ema") for run in ("unbroken", "killed")]
    assert all(torch.equal(w, ema[1][n]) for n, w in ema[0].items())


def test_a_finished_run_can_be_made_longer_or_replaced(samples: Path, tmp_path: Path) -> None:
    short = settings("tiny-stage1", samples)
    train(short, tmp_path)
    first = losses(tmp_path)
    train(changed(short, "optimizer", steps=3), tmp_path, resume=True)
    assert losses(tmp_path)[:2] == first and len(losses(tmp_path)) == 3
    train(replace(short, seed=1), tmp_path, overwrite=True)
    assert len(losses(tmp_path)) == 2 and losses(tmp_path) != first
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000002"]


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("data", {"samples": ()}, "cached latents"),
        ("data", {"batch": 0}, "at least 1"),
        ("data", {"dynamic": 0.0, "static": 0.0}, "share above 0"),
        ("model", {"autoencoder": "nowhere:made"}, "autoencoder"),
    ],
)
def test_odd_settings_are_refused(
    samples: Path, tmp_path: Path, part: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(changed(settings("tiny-stage1", samples), part, **values), tmp_path / "run")


def test_own_autoencoder_by_name(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_codec.py").write_text("from golden_model import vae as make\n")
    monkeypatch.syspath_prepend(tmp_path)
    chosen = changed(
        settings("tiny-stage1", samples, steps=1), "model", autoencoder="own_codec:make"
    )
    train(chosen, tmp_path / "run")
    assert len(losses(tmp_path / "run")) == 1
    train(changed(chosen, "model", autoencoder="tiny"), tmp_path / "tiny")
    assert losses(tmp_path / "run") != losses(tmp_path / "tiny")


def test_a_loss_that_is_not_finite_ends_the_run(samples: Path, tmp_path: Path) -> None:
    base = settings("tiny-stage1", samples)
    broken = build_model(base.model)
    torch.nn.init.constant_(broken.proj_out.weight, float("nan"))
    start = save(broken, tmp_path / "broken")
    with pytest.raises(ValueError, match="loss of step 1 is nan"):
        train(started(base, start), tmp_path / "run")


# ------------------------------------------------------------------------------- two processes

RANKS = """
import json, os, sys
from pathlib import Path
from safetensors.torch import save_file
from accelerate.state import DistributedType, PartialState
from trajectorycrafter.lab.training import trainer
from trajectorycrafter.runtime.files import from_json
from trajectorycrafter.config.training import TrainSettings

# Imports take longer than the training: each process does them once, and splits into both ways.
given, fsdp2, port = sys.argv[1:]
child = os.fork()
sharded = child == 0
out = Path(given).parent / ("fsdp2" if sharded else "ddp")
if sharded:
    os.environ |= json.loads(fsdp2) | {"MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": "False"}
state = PartialState(cpu=True)
if sharded:
    # accelerate shards on GPUs only, by name; torch shards on CPUs as well.
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU

rank, drawn = state.process_index, []
losses = trainer.Diffusion.losses
trainer.Diffusion.losses = lambda run, items, *at: (
    drawn.extend(item.info["id"] for item in items), losses(run, items, *at))[1]
writing = trainer.write_weights

def write(accelerator, model, folder, **how):
    state = accelerator.get_state_dict(model)
    if folder.name == "model" and not sharded:
        save_file({k: v.contiguous() for k, v in state.items()}, out / f"rank-{rank}.safetensors")
    writing(accelerator, model, folder, **how)

trainer.write_weights = write
settings = from_json(TrainSettings, json.loads(Path(given).read_text()))
trainer.train(settings, out)
kind = trainer.Accelerator(cpu=True).distributed_type.value
(out / f"rank-{rank}.json").write_text(json.dumps({"drawn": drawn, "kind": kind}))
# What is written is written; an orderly end takes seconds.
os._exit(0 if sharded else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "RefBlock,ReferenceAttention",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}


def test_two_processes_share_the_samples_and_the_weights(samples: Path, tmp_path: Path) -> None:
    chosen = settings("tiny-joint", samples, steps=3, ema=0.9)
    chosen = changed(chosen, "log", checkpoint_every=1, sample_every=1, sample_steps=1)
    (tmp_path / "settings.json").write_text(json.dumps(to_json(chosen)))
    (tmp_path / "ranks.py").write_text(RANKS)
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    given = (str(tmp_path / "settings.json"), json.dumps(FSDP2), port)
    done = launched(tmp_path / "ranks.py", *given, processes=2)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"ddp/rank-{r}.json").read_text()) for r in (0, 1)]
    # An epoch is six samples; three steps of two processes see each once.
    assert sorted(ranks[0]["drawn"] + ranks[1]["drawn"]) == [f"s{i}" for i in range(6)]
    both = [load_file(tmp_path / f"ddp/rank-{r}.safetensors") for r in (0, 1)]
    assert all(torch.equal(w, both[1][name]) for name, w in both[0].items())
    assert all(torch.equal(w, both[0][n]) for n, w in weights(tmp_path / "ddp/model").items())
    # Sharded weights learn the same, and looking at pictures does not disturb them.
    sharded = json.loads((tmp_path / "fsdp2/rank-0.json").read_text())
    assert (ranks[0]["kind"], sharded["kind"]) == ("MULTI_CPU", "FSDP")
    assert losses(tmp_path / "fsdp2") == pytest.approx(losses(tmp_path / "ddp"), rel=1e-5)
    for model in ("model", "model-ema"):
        whole, gathered = weights(tmp_path / "ddp" / model), weights(tmp_path / "fsdp2" / model)
        assert all(torch.allclose(w, gathered[n], atol=1e-5) for n, w in whole.items())
