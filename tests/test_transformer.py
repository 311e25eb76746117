"""The dual-stream transformer against the released one, and what diffusers offers on top.

Tolerance of the golden comparisons: 2e-5 on outputs of standard deviation about 1. Fused attention
sums in another order than the released score matrix, which moves the last bits of float32.
"""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FirstBlockCacheConfig, PyramidAttentionBroadcastConfig
from golden_model import GOLDEN, seeded, tensors, transformer
from reference.materialised_attention import materialised
from torch import Tensor

from trajectorycrafter.model.blocks import ReferenceAttention, rotary_table
from trajectorycrafter.model.transformer import DualStreamTransformer

TOLERANCE = 2e-5
SMALL: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 9,
    "out_channels": 4,
    "time_embed_dim": 24,
    "text_embed_dim": 20,
    "num_layers": 4,
    "max_text_seq_length": 5,
    "cross_attn_in_channels": 4,
    "cross_attn_dim_head": 8,
    "cross_attn_num_heads": 3,
    "use_rotary_positional_embeddings": True,
}


def small(seed: int = 0, **changes: Any) -> DualStreamTransformer:
    model = DualStreamTransformer(**{**SMALL, **changes}).eval()
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def small_inputs(
    frames: int = 3, height: int = 4, width: int = 6, batch: int = 2
) -> dict[str, Any]:
    generator = seeded(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "hidden_states": draw(batch, frames, 4, height, width),
        "encoder_hidden_states": draw(batch, 5, 20),
        "timestep": torch.full((batch,), 499),
        "condition_latents": draw(batch, frames, 5, height, width),
    }


def small_reference(frames: int = 2) -> Tensor:
    return torch.randn(1, frames, 4, 4, 8, generator=seeded(2))


@torch.no_grad()
def run(model: DualStreamTransformer, reference: Tensor | None = None, **changes: Any) -> Tensor:
    given = {**small_inputs(), **changes}
    return model(**given, reference_latents=reference).sample


def golden_call(model: DualStreamTransformer, io: dict[str, Tensor], batch: int = 1) -> Tensor:
    with torch.no_grad():
        return model(
            io["hidden_states"],
            io["encoder_hidden_states"],
            io["timestep"],
            io["inpaint_latents"],
            reference_latents=io.get("cross_latents"),
        ).sample


def worst(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()


# ---- parity with the released model


def test_names_and_shapes_are_those_of_the_released_checkpoint() -> None:
    golden = json.loads((GOLDEN / "checkpoint_keys_5b.json").read_text())
    with torch.device("meta"):
        model = DualStreamTransformer.from_config(golden["config"])
    assert isinstance(model, DualStreamTransformer)
    ours = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert ours == {name: list(shape) for name, shape in golden["shapes"].items()}
    assert sum(p.numel() for p in model.parameters()) == 6_099_432_000


@pytest.mark.parametrize("case", ["rotary_a", "rotary_odd", "sincos_a", "nocross"])
def test_output_equals_the_released_model(case: str) -> None:
    io = tensors(f"transformer/transformer_{case}.io")
    error = worst(golden_call(transformer(case.split("_")[0]), io), io["output"])
    print(f"parity transformer {case}: {error:.2e} (tolerance {TOLERANCE:.0e})")
    assert error < TOLERANCE


def test_every_stage_equals_the_released_trace() -> None:
    model, io = transformer(), tensors("transformer/transformer_rotary_a.io")
    seen: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module: object, _inputs: object, output: Any) -> None:
            if isinstance(output, Tensor):
                seen[name] = output
            elif name.startswith("block"):
                seen[f"{name}.view"], seen[f"{name}.text"] = output

        return hook

    for name in ("time_embedding", "patch_embed", "ref_patch_embed", "norm_final", "norm_out"):
        getattr(model, name).register_forward_hook(keep(name))
    model.proj_out.register_forward_hook(keep("proj_out"))
    for i, block in enumerate(model.transformer_blocks):
        block.register_forward_hook(keep(f"block.{i}"))
    for j, attention in enumerate(model.perceiver_cross_attention):
        attention.register_forward_hook(keep(f"perceiver.{j}"))
    golden_call(model, io)
    for j in range(2):
        # Ours returns block and attention together; the trace holds the block alone.
        seen[f"block.{2 * j}.view"] = seen[f"block.{2 * j}.view"] - seen[f"perceiver.{j}"]
    stages = {k.removeprefix("trace."): v for k, v in io.items() if k.startswith("trace.")}
    assert stages.keys() == seen.keys()
    errors = {name: worst(seen[name], value) for name, value in stages.items()}
    print(f"parity trace: {max(errors.values()):.2e} at {max(errors, key=errors.__getitem__)}")
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("version", ["current", "legacy"])
def test_rotary_tables_equal_both_versions(version: str) -> None:
    table = tensors("transformer/rotary_tables")
    prefix = "" if version == "current" else "legacy_"
    sizes = sorted({name.split(".")[0] for name in table})
    assert len(sizes) == 5
    for size in sizes:
        height, width, frames = map(int, size.split("x"))
        ours = rotary_table(64, (frames, height // 16, width // 16), (30, 45), version)
        for part, name in zip(ours, ("cos", "sin"), strict=True):
            assert len(part) == table[f"{size}.n"].item()
            # The same float32 operations in the same order, so nothing is left to tolerate.
            assert torch.equal(part[table[f"{size}.rows"]], table[f"{size}.{prefix}{name}"])


def test_sincos_table_equals_the_released_buffer() -> None:
    golden = tensors("transformer/transformer_sincos.pos_embedding")["pos_embedding"]
    model = transformer("sincos")
    assert torch.equal(model.position_table(golden.shape[1], (4, 6)), golden)
    assert not [name for name in model.state_dict() if "position" in name]


def test_fused_attention_equals_the_score_matrix_and_its_gradients() -> None:
    generator = seeded(0)
    attention = ReferenceAttention(24, heads=3, dim_head=8).double()
    view = torch.randn(2, 30, 24, generator=generator).double().requires_grad_()
    reference = torch.randn(2, 11, 24, generator=generator).double().requires_grad_()
    results = []
    for out in (
        attention(view, attention(reference)),
        materialised(attention, view, reference),
    ):
        gradients = torch.autograd.grad(out.square().sum(), [view, reference])
        results.append((out, *gradients))
    for ours, plain in zip(*results, strict=True):
        # The twin takes its softmax in float32 as released: 1e-5 of gradients of size about 10.
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-5)


# ---- the reference, made once


def test_one_projected_reference_serves_every_guidance_branch() -> None:
    model, reference = small(), small_reference()
    once = model.project_reference(reference)
    assert once is not None
    assert [k.shape for k, _ in once] == [(1, 3, 16, 8)] * 2
    with torch.no_grad():
        shared = model(**small_inputs(), reference=once).sample
    doubled = run(model, reference.repeat(2, 1, 1, 1, 1))
    assert worst(shared, doubled) < 1e-5


def test_reference_has_no_position() -> None:
    reference = small_reference(frames=3)
    turned = reference[:, [2, 0, 1]].flip(-1)
    # Flipping pixels inside a patch would be seen; flipping whole patches is not.
    turned = torch.cat([turned[..., i ^ 1 : (i ^ 1) + 1] for i in range(8)], dim=-1)
    for kind in ("cross_attention", "concatenate"):
        model = small(reference=kind)
        assert worst(run(model, reference), run(model, turned)) < 1e-5
        assert worst(run(model, reference), run(model, reference * 2)) > 1e-3


@pytest.mark.parametrize("kind", ["cross_attention", "concatenate"])
@pytest.mark.parametrize("rotary", [True, False])
def test_reference_changes_the_result_and_may_be_left_out(kind: str, rotary: bool) -> None:
    model = small(reference=kind, use_rotary_positional_embeddings=rotary)
    assert worst(run(model, small_reference()), run(model)) > 1e-3


def test_without_reference_branch_there_are_no_reference_weights() -> None:
    for model in (small(reference="none"), small(is_train_cross=False)):
        assert not [n for n in model.state_dict() if "ref_" in n or "perceiver" in n]
        assert model.project_reference(small_reference()) is None
    names = small(reference="concatenate").state_dict()
    assert "ref_patch_embed.proj.weight" in names
    assert not [name for name in names if "perceiver" in name]


@pytest.mark.parametrize(("layers", "interval", "attentions"), [(5, 2, 3), (4, 3, 2), (3, 1, 3)])
def test_odd_ratios_of_layers_to_interval_work(layers: int, interval: int, attentions: int) -> None:
    model = small(num_layers=layers, cross_attn_interval=interval)
    assert len(model.perceiver_cross_attention) == attentions
    assert worst(run(model, small_reference()), run(model)) > 1e-3


def test_zero_init_makes_the_reference_add_nothing() -> None:
    model = small()
    model.zero_init_reference()
    assert torch.equal(run(model, small_reference()), run(model))


# ---- mistakes of the caller


def test_wrong_names_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reference to be one of.*got 'both'"):
        small(reference="both")
    with pytest.raises(ValueError, match=r"rotary to be 'current' or 'legacy'"):
        small(rotary="new")
    with pytest.raises(ValueError, match=r"multiples of 2, got 5x6; use pixels.*multiples of 16"):
        run(small(), **small_inputs(height=5))
    with pytest.raises(ValueError, match=r"reference latents.*multiples of 2"):
        small().project_reference(torch.zeros(1, 2, 4, 3, 4))
    sincos = small(use_rotary_positional_embeddings=False, sample_frames=9)
    with pytest.raises(ValueError, match=r"at most 3 latent frames.*got 5; use at most 9 video"):
        run(sincos, **small_inputs(frames=5))


def test_unknown_settings_are_ignored_with_a_warning() -> None:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("diffusers").addHandler(handler)
    settings = {**SMALL, "_class_name": "CrossTransformer3DModel", "brand_new": 3}
    model = DualStreamTransformer.from_config(settings)
    logging.getLogger("diffusers").removeHandler(handler)
    assert isinstance(model, DualStreamTransformer) and model.config["num_layers"] == 4
    assert any("brand_new" in message and "ignored" in message for message in messages)


def test_sincos_fits_other_sizes_and_fewer_frames() -> None:
    model = small(
        use_rotary_positional_embeddings=False, sample_width=6, sample_height=4, sample_frames=9
    )
    assert run(model, **small_inputs(frames=2, height=8, width=4)).shape == (2, 2, 4, 8, 4)
    # Fewer frames see the first frames of the table, whatever the size.
    table = model.position_table(5 + 3 * 8, (4, 2))
    assert torch.equal(model.position_table(5 + 2 * 8, (4, 2)), table[:, : 5 + 2 * 8])
    assert torch.equal(table[:, :5], torch.zeros(1, 5, 32))


# ---- what diffusers brings


def test_gradient_checkpointing_changes_nothing() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = small().train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        out = model(**small_inputs(), reference_latents=small_reference()).sample
        out.square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    plain, checkpointed = gradients
    assert all(gradient is not None for gradient in plain.values())
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, msg=name)


def test_a_deep_copy_calls_its_own_attentions() -> None:
    model = small()
    twin = copy.deepcopy(model)
    twin.zero_init_reference()
    assert worst(run(model, small_reference()), run(model)) > 1e-3
    assert torch.equal(run(twin, small_reference()), run(twin))


@pytest.mark.parametrize("kind", ["block_level", "leaf_level"])
def test_group_offload_to_disk_brings_every_weight_back(kind: str, tmp_path: Path) -> None:
    plain = run(small(), small_reference())
    model = small()
    # On the CPU only the disk is another place: what is not brought back in time is garbage.
    model.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_type=kind,
        num_blocks_per_group=1,
        offload_to_disk_path=str(tmp_path),
    )
    for _ in range(2):
        with torch.no_grad():
            reference = model.project_reference(small_reference())
            assert torch.equal(model(**small_inputs(), reference=reference).sample, plain)


@pytest.mark.parametrize("storage", [torch.float16, torch.float8_e4m3fn])
def test_layerwise_casting_stores_small_and_computes_in_float32(storage: torch.dtype) -> None:
    plain = run(small(), small_reference())
    model = small()
    model.enable_layerwise_casting(storage_dtype=storage, compute_dtype=torch.float32)
    assert model.get_parameter("transformer_blocks.0.attn1.to_q.weight").dtype == storage
    assert model.get_parameter("perceiver_cross_attention.0.to_kv.weight").dtype == storage
    assert model.get_parameter("perceiver_cross_attention.0.norm1.weight").dtype == torch.float32
    assert model.ref_patch_embed.proj.weight.dtype == torch.float32
    out = run(model, small_reference())
    # Rounding of the weights alone: 11 bits of mantissa against 4.
    limit = 0.01 if storage == torch.float16 else 0.3
    assert 0 < worst(out, plain) < limit * plain.abs().max()


def test_first_block_cache_skips_blocks_with_their_attentions() -> None:
    model = small()
    calls: list[int] = []
    for j, attention in enumerate(model.perceiver_cross_attention):
        attention.register_forward_hook(lambda *_, j=j: calls.append(j))
    reference = model.project_reference(small_reference())
    calls.clear()
    model.enable_cache(FirstBlockCacheConfig(threshold=0.5))
    with torch.no_grad(), model.cache_context("cond_uncond"):
        first = model(**small_inputs(), reference=reference).sample
        second = model(**small_inputs(), reference=reference).sample
    # The second call runs the first block alone, with its attention, and reuses the rest.
    assert calls == [0, 1, 0]
    assert worst(first, second) < 1e-5
    model.disable_cache()
    assert worst(run(model, small_reference()), first) < 1e-5


def test_pyramid_attention_broadcast_runs() -> None:
    model = small()
    model.enable_cache(
        PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            current_timestep_callback=lambda: 500,
        )
    )
    plain = run(small(), small_reference())
    outs = [run(model, small_reference()) for _ in range(2)]
    assert worst(outs[0], plain) < 1e-5
    assert worst(outs[1], plain) < 1e-5


def test_lora_reaches_blocks_and_reference_attentions(tmp_path: Path) -> None:
    from peft import LoraConfig

    model = small()
    plain = run(model, small_reference())
    model.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_kv"], init_lora_weights=False))
    adapted = run(model, small_reference())
    assert worst(adapted, plain) > 1e-3
    model.save_lora_adapter(tmp_path)
    fresh = small()
    file: dict[str, Any] = {"prefix": None, "weight_name": "pytorch_lora_weights.safetensors"}
    fresh.load_lora_adapter(tmp_path, use_safetensors=True, **file)
    assert worst(run(fresh, small_reference()), adapted) < 1e-5
    fresh.disable_adapters()
    assert torch.equal(run(fresh, small_reference()), plain)
