"""Settings and presets, what stages train, optimizers, averages and adapters."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from golden_model import inputs, pipeline, transformer
from torch import nn

from trajectorycrafter.config.training import (
    MAY_CHANGE,
    LoraSettings,
    ModelSettings,
    OptimizerSettings,
    TrainOptions,
    TrainSettings,
    changed,
)
from trajectorycrafter.config.training_presets import ABLATIONS, PRESETS, REFERENCE, chosen, preset
from trajectorycrafter.lab.training.ema import averaged, ema_tensors, load_ema, make_ema
from trajectorycrafter.lab.training.lora import add_lora, load_lora, save_lora
from trajectorycrafter.lab.training.optimizers import (
    Muon,
    make_optimizers,
    norm_limit,
    orthogonalized,
    rate,
    set_rate,
)
from trajectorycrafter.lab.training.stages import build_model, choose_trained
from trajectorycrafter.model import checkpoints
from trajectorycrafter.model.sampling import TrajectoryCrafterPipeline
from trajectorycrafter.model.transformer import DualStreamTransformer
from trajectorycrafter.runtime.files import from_json, to_json
from trajectorycrafter.runtime.run_folder import difference

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = PRESETS["tiny-joint"].model

# -------------------------------------------------------------------------- settings, presets


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_json(name: str) -> None:
    given = changed(PRESETS[name], "data", samples=(Path("a"), Path("b")))
    assert from_json(TrainSettings, json.loads(json.dumps(to_json(given)))) == given


def test_unknown_settings_are_named() -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        from_json(TrainSettings, {"optimizer": {"learning_rate": 1}})
    with pytest.raises(ValueError, match=r"expected int, got 2\.5 @ \$\.optimizer\.steps"):
        from_json(TrainSettings, {"optimizer": {"steps": 2.5}})


def test_what_a_run_may_not_change() -> None:
    old = PRESETS["tiny-stage1"]
    longer = changed(changed(old, "optimizer", steps=99), "log", keep=7)
    again = changed(longer, "data", workers=3)
    assert difference(to_json(old), to_json(again), MAY_CHANGE) is None
    other = to_json(changed(old, "optimizer", lr=1.0))
    assert difference(to_json(old), other, MAY_CHANGE) == "optimizer.lr was 0.001 and is 1.0"


def test_options_change_a_preset(tmp_path: Path) -> None:
    made = chosen(
        TrainOptions("5b-stage1", "concatenate", samples=(Path("s"),), start="x", steps=7, seed=3)
    )
    assert (made.model.start, made.model.subfolder) == ("x", None)
    assert (made.optimizer.steps, made.optimizer.lr, made.seed) == (7, 1e-5, 3)
    assert made.data.samples == (Path("s"),) and made.device == "auto"
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(to_json(made)))
    again = chosen(TrainOptions(str(path), lr=1.0))
    assert again == changed(made, "optimizer", lr=1.0)
    with pytest.raises(ValueError, match="settings.json"):
        chosen(TrainOptions(str(path), "no-static"))


def test_settings_need_no_torch() -> None:
    code = "import sys, trajectorycrafter.config.training_presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_presets_have_the_papers_numbers() -> None:
    one, two = preset("5b-stage1"), preset("5b-stage2")
    assert (one.optimizer.steps, one.optimizer.lr, one.reference) == (10_000, 1e-5, False)
    assert (two.optimizer.steps, two.optimizer.lr, two.reference) == (5_000, 2e-6, True)
    assert one.trains == ("transformer_blocks",) and two.trains == REFERENCE
    assert (two.data.dynamic, two.data.static) == (0.0, 1.0)
    optimizer = one.optimizer
    assert (optimizer.betas, optimizer.weight_decay, optimizer.eps) == ((0.9, 0.999), 3e-2, 1e-10)
    assert (optimizer.warmup, optimizer.clip, one.objective.drop_text) == (100, 0.05, 0.1)


@pytest.mark.parametrize(
    ("ablation", "kind", "shares", "trains"),
    [
        ("none", None, (0.0, 1.0), REFERENCE),
        ("no-reference", "none", (None, None), ("transformer_blocks",)),
        ("concatenate", "concatenate", (0.0, 1.0), ("transformer_blocks", "ref_patch_embed")),
        ("no-dynamic", None, (0.0, 1.0), REFERENCE),
        ("no-static", None, (1.0, 0.0), REFERENCE),
    ],
)
def test_ablations_are_values(
    ablation: str,
    kind: str | None,
    shares: tuple[float | None, float | None],
    trains: tuple[str, ...],
) -> None:
    assert ablation in ABLATIONS
    made = preset("5b-stage2", ablation)
    assert made.model.transformer.get("reference") == kind
    assert (made.data.dynamic, made.data.static) == shares
    assert made.trains == trains


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(ValueError, match="5b-stage1"):
        preset("5b")
    with pytest.raises(ValueError, match="no-static"):
        preset("5b-stage1", "no-mask")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.name)
def test_recipes_are_accelerates_and_fit_the_presets(path: Path) -> None:
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    assert config.num_processes == 8 and config.mixed_precision == "bf16"
    said = yaml.safe_load(path.read_text())
    if "fsdp_config" in said:
        wrapped = said["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"].split(",")
        assert set(wrapped) <= set(vars(DualStreamTransformer)["_no_split_modules"])
    if "deepspeed_config" in said:
        assert said["deepspeed_config"]["gradient_clipping"] == preset("5b-stage1").optimizer.clip


# ------------------------------------------------------------------------------------- stages


def test_first_stage_trains_blocks_alone() -> None:
    model = build_model(TINY)
    moving = choose_trained(model, replace(PRESETS["5b-stage1"], model=TINY))
    assert moving and all(name.startswith("transformer_blocks.") for name in moving)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == set(moving)


def test_second_stage_trains_the_reference_branch_alone() -> None:
    model = build_model(TINY)
    moving = set(choose_trained(model, PRESETS["tiny-stage2"]))
    assert moving == {n for n, _ in model.named_parameters() if n.startswith(REFERENCE)}
    assert {n.split(".")[0] for n in moving} == set(REFERENCE)


def test_without_reference_its_branch_rests_even_if_all_is_trained() -> None:
    moving = choose_trained(build_model(TINY), PRESETS["tiny-stage1"])
    assert "patch_embed.proj.weight" in moving
    assert not any(name.startswith(REFERENCE) for name in moving)


def test_nothing_to_train_is_an_error() -> None:
    model = build_model(replace(TINY, transformer={**TINY.transformer, "reference": "none"}))
    with pytest.raises(ValueError, match="stage 2"):
        choose_trained(model, PRESETS["tiny-stage2"])


def test_a_base_without_reference_gets_one_that_adds_nothing(tmp_path: Path) -> None:
    bare = build_model(replace(TINY, transformer={**TINY.transformer, "reference": "none"}), 7)
    nn.init.normal_(bare.proj_out.weight)
    folder = checkpoints.save(bare, tmp_path / "base")
    grown = build_model(
        ModelSettings(start=str(folder), transformer={"reference": "cross_attention"})
    )
    state = grown.state_dict()
    assert all(torch.equal(state[name], w) for name, w in bare.state_dict().items())
    assert any(name.startswith("perceiver_cross_attention") for name in state)
    g = torch.Generator().manual_seed(1)
    given = {
        "hidden_states": torch.randn(1, 3, 4, 4, 6, generator=g),
        "encoder_hidden_states": torch.randn(1, 4, 16, generator=g),
        "timestep": torch.tensor([500]),
        "condition_latents": torch.randn(1, 3, 5, 4, 6, generator=g),
    }
    reference = torch.randn(1, 2, 4, 4, 6, generator=g)
    with torch.no_grad():
        assert torch.equal(grown(**given, reference_latents=reference).sample, bare(**given).sample)


def test_trained_reference_is_not_reset(tmp_path: Path) -> None:
    model = build_model(TINY, 3)
    nn.init.normal_(model.get_parameter("perceiver_cross_attention.0.to_out.weight"))
    folder = checkpoints.save(model, tmp_path / "stage2")
    again = build_model(ModelSettings(start=str(folder)))
    assert all(torch.equal(w, again.state_dict()[n]) for n, w in model.state_dict().items())


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = checkpoints.save(build_model(TINY), tmp_path / "m")
    with pytest.raises(ValueError, match=r"patch_embed\.proj\.weight"):
        build_model(ModelSettings(start=str(folder), transformer={"in_channels": 14}))


def test_initial_weights_are_the_seeds_and_leave_the_global_one_alone() -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    a, b, c = build_model(TINY, 1), build_model(TINY, 1), build_model(TINY, 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(a.proj_out.weight, b.proj_out.weight)
    assert not torch.equal(a.proj_out.weight, c.proj_out.weight)


# --------------------------------------------------------------------------------- optimizers


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.25), (3, 1.0), (50, 1.0), (94, 1.0), (95, 5 / 6), (99, 1 / 6)]
)
def test_rate_rises_and_falls(step: int, expected: float) -> None:
    settings = OptimizerSettings(steps=100, warmup=4, cooldown=5)
    assert rate(step, settings) == pytest.approx(expected)


def test_rates_are_set_on_every_group() -> None:
    parameters = dict(build_model(TINY).named_parameters())
    settings = OptimizerSettings(name="muon", lr=1e-3, muon_lr=2e-2)
    muon, adam = make_optimizers(parameters, settings)
    for optimizer in (muon, adam):
        set_rate(optimizer, 0.5)
    assert muon.param_groups[0]["lr"] == 1e-2 and adam.param_groups[0]["lr"] == 5e-4
    matrices = muon.param_groups[0]["params"]
    assert all(p.ndim == 2 for p in matrices)
    assert len(matrices) + len(adam.param_groups[0]["params"]) == len(parameters)
    names = {id(p): n for n, p in parameters.items()}
    assert any("attn1.to_q" in names[id(p)] for p in matrices)
    assert not any("patch_embed" in names[id(p)] or ".norm" in names[id(p)] for p in matrices)


@pytest.mark.parametrize(
    ("norm", "step", "limit"),
    [
        (1.0, 0, 0.25),  # five times the limit at the beginning
        (1.0, 500, 0.15),
        (0.2, 2000, 0.05),  # up to five times the limit: plainly clipped
        (0.4, 2000, 0.05 / 8),  # beyond: cut further, by the excess
        (9.0, 2000, 0.05 / 10),  # but by no more than ten
    ],
)
def test_gradient_limit(norm: float, step: int, limit: float) -> None:
    assert norm_limit(norm, step, OptimizerSettings()) == pytest.approx(limit)


@pytest.mark.parametrize("shape", [(8, 8), (4, 32), (32, 4)])
def test_orthogonalized_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalized(matrix)
    assert found.dtype == torch.float32
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5 and values.max() < 1.3
    # Its singular vectors are the matrix's own: their product with it is symmetric and positive.
    product = found.T @ matrix
    torch.testing.assert_close(product, product.T, atol=1e-3, rtol=1e-3)
    assert torch.linalg.eigvalsh((product + product.T) / 2).min() > -1e-4


def test_muon_finds_a_matrix() -> None:
    g = torch.Generator().manual_seed(0)
    wanted, inputs_ = torch.randn(6, 4, generator=g), torch.randn(64, 4, generator=g)
    found = nn.Parameter(torch.zeros(6, 4))
    optimizer = Muon([found], lr=0.05)
    losses = []
    for step in range(150):
        loss = ((inputs_ @ (found - wanted).T) ** 2).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 150)
        optimizer.step()
    assert losses[-1] < 1e-2 * losses[0]


# ------------------------------------------------------------------------------------ average


def test_average_follows_by_hand_and_swaps_back() -> None:
    layer = nn.Linear(2, 2, bias=False)
    parameters = list(layer.parameters())
    ema = make_ema(parameters, 0.5)
    assert ema is not None
    values, average = [1.0, 3.0, 5.0, 2.0], None
    for i, value in enumerate(values):
        nn.init.constant_(layer.weight, value)
        ema.step(parameters)
        # diffusers' warm-up: (1 + n) / (10 + n), from the third update on.
        decay = 0.0 if i == 0 else min(0.5, (1 + i) / (10 + i))
        average = value if average is None else decay * average + (1 - decay) * value
    with averaged(ema, layer, parameters):
        assert float(layer.weight.detach()[0, 0]) == pytest.approx(average)
    assert (layer.weight == 2).all()


def test_average_survives_a_checkpoint() -> None:
    layer = nn.Linear(2, 2)
    parameters = list(layer.parameters())
    one, two = make_ema(parameters, 0.9), make_ema(parameters, 0.9)
    assert one is not None and two is not None and make_ema(parameters, None) is None
    for value in (1.0, 2.0, 4.0):
        nn.init.constant_(layer.weight, value)
        one.step(parameters)
    load_ema(two, {k: v.clone() for k, v in ema_tensors(one).items()}, 3)
    nn.init.constant_(layer.weight, 8.0)
    one.step(parameters)
    two.step(parameters)
    assert torch.equal(one.shadow_params[0], two.shadow_params[0])


# ----------------------------------------------------------------------------------- adapters


def run(pipe: TrajectoryCrafterPipeline) -> torch.Tensor:
    given = inputs()
    generator = torch.Generator().manual_seed(0)
    return pipe(**given, num_inference_steps=1, generator=generator, output_type="latent").frames


def test_adapters_go_through_a_file_into_the_pipeline(tmp_path: Path) -> None:
    plain = pipeline()
    before, names = run(plain), set(plain.transformer.state_dict())
    trained = add_lora(plain.transformer, LoraSettings(rank=4, alpha=8.0))
    assert torch.equal(run(plain), before)  # B is zero
    assert all("lora_" in name for name in trained)
    assert any("perceiver_cross_attention" in name for name in trained)
    for name, parameter in trained.items():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    after = run(plain)
    assert not torch.allclose(after, before, atol=1e-3)
    save_lora(plain.transformer, tmp_path)

    loaded = pipeline()
    loaded.load_lora_weights(str(tmp_path))
    torch.testing.assert_close(run(loaded), after)
    fused = pipeline()
    load_lora(fused.transformer, tmp_path)
    fused.transformer.fuse_lora()
    fused.transformer.unload_lora()
    assert set(fused.transformer.state_dict()) == names
    torch.testing.assert_close(run(fused), after, atol=1e-4, rtol=1e-4)


def test_adapters_of_the_view_alone() -> None:
    trained = add_lora(transformer(), LoraSettings(rank=2, reference=False))
    assert trained and not any("perceiver" in name for name in trained)


def test_missing_adapters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pytorch_lora_weights"):
        load_lora(transformer(), tmp_path)
