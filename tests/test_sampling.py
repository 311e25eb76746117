"""The pipeline against the released one, its generator, its resumption and its guards.

Tolerances: 2e-5 for the autoencoder and for the conditions (values of size 1), 1e-4 for latents
after guided steps, which magnify differences in the last bits about six times a step. Euler begins
at sigma 4096, where one float32 step is 5e-4: its last latents are held to that, the earlier ones
to 2e-3. Processors with other instructions round otherwise; both limits hold on all tried.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_model import config, inputs, pipeline, seeded, tensors, vae
from torch import Tensor

from trajectorycrafter.model.conditions import Conditions, check_clip, render_latents
from trajectorycrafter.model.sampling import (
    SAMPLERS,
    DenoisingState,
    TrajectoryCrafterPipeline,
    load_sampler,
)
from trajectorycrafter.rendering.render import Render

TOLERANCE = 1e-4
STEPS = 4


class Killed(Exception):
    """Stands for the end of a process."""


def worst(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()


def report(case: str, error: float, tolerance: float) -> None:
    print(f"parity {case}: {error:.2e} (tolerance {tolerance:.0e})")
    assert error < tolerance


def golden_conditions(case: str) -> Conditions:
    given, stored = inputs(), tensors(f"pipeline/{case}")
    return Conditions(
        torch.cat([given["negative_prompt_embeds"], given["prompt_embeds"]]),
        stored["transformer.inpaint_latents"][:1],
        stored["transformer.cross_latents"][:1],
    )


def denoised(
    pipe: TrajectoryCrafterPipeline, conditions: Conditions, generator: torch.Generator
) -> Tensor:
    """Latents after every step of the golden run."""
    kept: list[Tensor] = []
    pipe.denoise(
        conditions,
        inputs()["latents"],
        num_inference_steps=STEPS,
        generator=generator,
        on_step=lambda state: kept.append(state.latents),
    )
    return torch.stack(kept)


def small_call(**changes: Any) -> dict[str, Any]:
    """A nine-frame, 32x48 call that takes a fraction of a second."""
    generator = seeded(5)
    visible = torch.rand(9, 1, 32, 48, generator=generator) > 0.3
    return {
        "render": torch.rand(9, 3, 32, 48, generator=generator) * visible,
        "visible": visible,
        "reference": torch.rand(5, 3, 32, 48, generator=generator),
        "prompt_embeds": torch.randn(1, 12, 48, generator=generator),
        "negative_prompt_embeds": torch.randn(1, 12, 48, generator=generator),
        "num_inference_steps": 2,
        "generator": seeded(0),
        "output_type": "latent",
        **changes,
    }


# ---- parity with the released pipeline


@pytest.mark.parametrize("frames", [5, 10, 13])
def test_autoencoder_equals_the_released_one_in_batches_of_four(frames: int) -> None:
    golden = {
        name.removeprefix(f"f{frames}."): tensor
        for name, tensor in tensors("vae/vae.io").items()
        if name.startswith(f"f{frames}.")
    }
    model = vae()
    with torch.no_grad():
        (default,) = model.encode(golden["video"], return_dict=False)
        model.num_sample_frames_batch_size = 4
        (released,) = model.encode(golden["video"], return_dict=False)
        (decoded,) = model.decode(released.mode(), return_dict=False)
    report(f"vae encode {frames}", worst(released.parameters, golden["moments"]), 2e-5)
    report(f"vae decode {frames}", worst(decoded, golden["decoded_from_mode"]), 2e-5)
    assert worst(default.parameters, golden["diffusers_default_moments"]) < 2e-5
    if frames > 8:
        assert worst(default.parameters, golden["moments"]) > 0.1


def test_whole_call_equals_the_released_pipeline() -> None:
    golden, kept = tensors("pipeline/pipeline_ddim"), []
    out = pipeline()(
        **inputs(),
        num_inference_steps=STEPS,
        # The released reference posterior is drawn from the global generator, seeded like this.
        generator=seeded(123),
        on_step=lambda state: kept.append(state.latents),
    )
    report("pipeline ddim latents", worst(torch.stack(kept), golden["latents_after_step"]), 1e-4)
    report("pipeline decoded", worst(out.frames, golden["decoded"][0].transpose(0, 1)), 1e-4)
    assert out.frames.dtype == torch.float32
    assert out.frames.min() >= 0
    assert out.frames.max() <= 1


def test_conditions_equal_the_released_ones() -> None:
    given, golden = inputs(), tensors("pipeline/pipeline_ddim")
    text = torch.cat([given["negative_prompt_embeds"], given["prompt_embeds"]])
    made = pipeline().encode(
        given["render"], given["visible"], given["reference"], text, seeded(123)
    )
    condition, referred = made.condition_latents, made.reference_latents
    report("condition", worst(condition, golden["transformer.inpaint_latents"][:1]), 2e-5)
    assert referred is not None
    report("reference", worst(referred, golden["transformer.cross_latents"][:1]), 2e-5)


def test_noise_on_the_render_equals_the_released_run() -> None:
    golden = tensors("pipeline/pipeline_ddim_noise_augmented")
    clean = tensors("pipeline/pipeline_ddim")["masked_video.encoder_input"]
    noise = (golden["masked_video_noised"] - clean) / golden["noise_ratio"]
    given, pipe = inputs(), pipeline(add_noise_in_inpaint_model=True)
    with torch.no_grad():
        latents = render_latents(
            pipe.vae, given["render"], given["visible"], noise[0].transpose(0, 1)
        )
    report("noised condition", worst(latents, golden["transformer.inpaint_latents"][:1]), 2e-5)
    steps = denoised(pipe, golden_conditions("pipeline_ddim_noise_augmented"), seeded(0))
    report("noise-augmented latents", worst(steps, golden["latents_after_step"]), TOLERANCE)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_equals_the_released_run(name: str) -> None:
    golden = tensors("pipeline/pipeline_samplers")[f"{name}.latents_after_step"]
    pipe = pipeline(name)
    steps = denoised(pipe, golden_conditions("pipeline_ddim"), seeded(43))
    stored = tensors("pipeline/pipeline_samplers")[f"{name}.timesteps"]
    assert torch.equal(pipe.scheduler.timesteps.cpu(), stored)
    last, early = (5e-4, 2e-3) if name.startswith("Euler") else (TOLERANCE, TOLERANCE)
    report(f"sampler {name}, last", worst(steps[-1], golden[-1]), last)
    report(f"sampler {name}, all", worst(steps, golden), early)


@pytest.mark.parametrize(("name", "key"), [("DDIM_Origin", "ddim"), ("DDIM_Cog", "cogddim")])
def test_schedules_equal_the_released_ones(name: str, key: str) -> None:
    golden = tensors("pipeline/schedules")
    sampler = load_sampler(name, config("pipeline/pipeline")["scheduler"])
    alphas = torch.as_tensor(sampler.alphas_cumprod)
    # One of the two keeps float64; rounding of the cumulative product of float32 is 1e-7.
    assert (alphas - golden[f"{key}.alphas_cumprod"]).abs().max() < 1e-6
    for steps in (4, 25, 50):
        sampler.set_timesteps(steps)
        assert torch.equal(sampler.timesteps, golden[f"{key}.timesteps.{steps}"])


# ---- one generator, exact resumption


@pytest.mark.parametrize("name", ["DDIM_Origin", "Euler A"])
def test_one_seed_gives_one_result(name: str) -> None:
    pipe = pipeline(name, add_noise_in_inpaint_model=True)
    torch.manual_seed(0)
    first = pipe(**small_call(generator=seeded(3))).frames
    torch.manual_seed(1)
    assert torch.equal(pipe(**small_call(generator=seeded(3))).frames, first)
    assert worst(pipe(**small_call(generator=seeded(4))).frames, first) > 1e-2


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_killed_run_goes_on_exactly(name: str, tmp_path: Path) -> None:
    def call() -> dict[str, Any]:
        return small_call(num_inference_steps=5, generator=seeded(7))

    whole = pipeline(name)(**call()).frames

    def die_after_three(state: DenoisingState) -> None:
        state.save(tmp_path / "state.pt")
        if state.step == 3:
            raise Killed

    with pytest.raises(Killed):
        pipeline(name)(**call(), on_step=die_after_three)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    state = DenoisingState.load(tmp_path / "state.pt")
    calls = 0

    def count(_state: DenoisingState) -> None:
        nonlocal calls
        calls += 1

    pipe = pipeline(name)
    resumed = pipe(**call(), resume=state, on_step=count).frames
    assert torch.equal(resumed, whole)
    assert calls == len(pipe.scheduler.timesteps) - 3


def test_resuming_another_run_is_refused() -> None:
    states: list[DenoisingState] = []
    pipe = pipeline()
    pipe(**small_call(num_inference_steps=3), on_step=states.append)
    with pytest.raises(ValueError, match=r"generator of seed 0.*got seed 9"):
        pipe(**small_call(generator=seeded(9)), resume=states[0])
    with pytest.raises(ValueError, match=r"at most 2 steps, got one after step 3"):
        pipe(**small_call(num_inference_steps=2), resume=states[2])


# ---- how it is called


def test_guidance_of_one_needs_no_second_pass() -> None:
    pipe, batches = pipeline(), []
    pipe.transformer.register_forward_pre_hook(
        lambda _m, _a, kwargs: batches.append(len(kwargs["hidden_states"])), with_kwargs=True
    )
    pipe(**small_call(guidance_scale=1.0, negative_prompt_embeds=None))
    pipe(**small_call(guidance_scale=1.5))
    assert batches == [1, 1, 2, 2]


def test_reference_is_projected_once_a_clip() -> None:
    pipe, calls = pipeline(), []
    for attention in pipe.transformer.perceiver_cross_attention:
        attention.to_kv.register_forward_hook(lambda _m, args, _o: calls.append(len(args[0])))
    pipe(**small_call())
    assert calls == [1, 1]


def test_reference_may_be_left_out_or_taken_at_its_mode() -> None:
    pipe = pipeline()
    sampled = pipe(**small_call()).frames
    mode = pipe(**small_call(reference_posterior="mode", latents=sampled)).frames
    again = pipe(
        **small_call(reference_posterior="mode", latents=sampled, generator=seeded(1))
    ).frames
    assert torch.equal(mode, again)
    assert worst(pipe(**small_call(reference=None)).frames, sampled) > 1e-4
    without = pipeline(is_train_cross=False)
    assert without(**small_call()).frames.shape == sampled.shape


def test_nothing_visible_means_zero_conditions() -> None:
    call = small_call()
    with torch.no_grad():
        latents = render_latents(vae(), call["render"], torch.zeros_like(call["visible"]))
    assert torch.equal(latents, torch.zeros_like(latents))


def test_a_render_brings_its_own_visibility() -> None:
    call = small_call()
    render = Render(call["render"], torch.zeros_like(call["render"][:, :1]), call["visible"])
    apart = pipeline()(**call).frames
    call |= {"render": render, "visible": None, "generator": seeded(0)}
    together = pipeline()(**call)
    assert torch.equal(together.frames, apart)


def test_output_types_and_callback() -> None:
    pipe, seen = pipeline(), []

    def halve(_pipe: object, step: int, timestep: Tensor, given: dict[str, Any]) -> dict[str, Any]:
        seen.append((step, int(timestep), pipe.current_timestep is timestep))
        return {"latents": given["latents"] * 0.5}

    latents = pipe(**small_call()).frames
    assert latents.shape == (1, 3, 4, 4, 6)
    frames = pipe(**small_call(output_type="pt", generator=seeded(0))).frames
    array = pipe(**small_call(output_type="np", generator=seeded(0))).frames
    assert frames.shape == (9, 3, 32, 48)
    assert array.shape == (9, 32, 48, 3)
    assert (torch.from_numpy(array).permute(0, 3, 1, 2) - frames).abs().max() == 0
    assert worst(pipe.decode(latents), frames) == 0
    changed = pipe(**small_call(generator=seeded(0), callback_on_step_end=halve)).frames
    assert seen == [(0, 999, True), (1, 499, True)]
    assert worst(changed, latents) > 1e-2
    assert pipe.current_timestep is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda c: {"render": c["render"][:8]}, r"8k\+1 frames \(9, 17, .*got 8.*Use 9 or 17"),
        (lambda c: {"render": c["render"][:1]}, r"got 1: .*Use 9 or 17"),
        (lambda c: {"render": c["render"][..., :40]}, "render .*multiples of 16.*32x40.*to 32x32"),
        (lambda c: {"visible": c["visible"][:5]}, r"visible to be \[9, 1, 32, 48\]"),
        (lambda c: {"visible": None}, "visible beside render"),
        (lambda c: {"reference": c["reference"][:3]}, "1 or at least 4 reference frames, got 3"),
        (lambda c: {"reference": c["reference"][..., :40, :40]}, "reference .*multiples of 16"),
        (lambda c: {"render": c["render"] * 255}, r"render values in \[0, 1\].*divide 8-bit"),
        (lambda c: {"render": c["render"] / 0.0}, r"render values in \[0, 1\]"),
        (lambda c: {"prompt": "a dog"}, "either prompt or prompt_embeds"),
        (lambda c: {"prompt_embeds": None}, "either prompt or prompt_embeds"),
        (lambda c: {"prompt_embeds": None, "prompt": "a dog"}, "without a text encoder"),
        (lambda c: {"prompt_embeds": torch.zeros(1, 12, 7)}, "48 channels, got 7"),
        (lambda c: {"negative_prompt_embeds": torch.zeros(1, 12, 7)}, "negative.*48 channels"),
        (lambda c: {"latents": torch.zeros(1, 3, 4, 4, 4)}, r"start latents \[1, 3, 4, 4, 6\]"),
        (lambda c: {"output_type": "pil"}, "output_type to be one of pt, np, latent"),
        (lambda c: {"reference_posterior": "mean"}, "reference_posterior to be one of"),
    ],
)
def test_mistakes_are_refused_with_advice(
    changes: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    call = small_call()
    with pytest.raises(ValueError, match=message):
        pipeline()(**{**call, **changes(call)})


def test_more_frames_than_positions_are_refused_before_encoding() -> None:
    pipe = pipeline(use_rotary_positional_embeddings=False)
    frames = torch.zeros(25, 3, 32, 48)
    with pytest.raises(ValueError, match=r"at most 17 frames.*got 25"):
        pipe(**small_call(render=frames, visible=frames[:, :1] == 0))


def test_unknown_sampler_is_refused() -> None:
    with pytest.raises(ValueError, match=r"DDIM_Origin, DDIM_Cog.*got 'ddim'"):
        load_sampler("ddim", {})


def test_released_reference_of_ten_frames_is_taken() -> None:
    clip = torch.zeros(49, 3, 16, 16)
    for count in (1, 4, 5, 9, 10, 49):
        check_clip(clip, clip[:, :1] == 0, clip[:count])


# ---- what diffusers brings


def test_tiling_and_slicing_run() -> None:
    pipe = pipeline()
    plain = pipe(**small_call(output_type="pt")).frames
    pipe.vae.enable_slicing()
    assert torch.equal(pipe(**small_call(output_type="pt", generator=seeded(0))).frames, plain)
    pipe.vae.enable_tiling(tile_sample_min_height=48, tile_sample_min_width=40)
    tiled = pipe(**small_call(output_type="pt", generator=seeded(0))).frames
    assert tiled.shape == plain.shape
    # Tiles are normalised by themselves, so random weights give another picture.
    assert 1e-4 < (tiled - plain).abs().mean() < 0.2


def test_model_offload_runs_on_the_cpu_when_it_is_named() -> None:
    plain = pipeline()(**small_call()).frames
    pipe = pipeline()
    pipe.enable_model_cpu_offload(device="cpu")
    for _ in range(2):
        assert torch.equal(pipe(**small_call(generator=seeded(0))).frames, plain)


def test_group_offload_of_the_pipeline(tmp_path: Path) -> None:
    plain = pipeline()(**small_call()).frames
    pipe = pipeline()
    pipe.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_type="leaf_level",
        offload_to_disk_path=str(tmp_path),
    )
    assert torch.equal(pipe(**small_call(generator=seeded(0))).frames, plain)


def test_layerwise_casting_of_the_transformer() -> None:
    pipe = pipeline()
    plain = pipe(**small_call()).frames
    pipe.transformer.enable_layerwise_casting(
        storage_dtype=torch.float16, compute_dtype=torch.float32
    )
    cast = pipe(**small_call(generator=seeded(0))).frames
    # The weights keep 11 of 24 bits of mantissa, and guidance magnifies that sixfold.
    assert 0 < worst(cast, plain) < 0.1


def test_lora_loads_from_a_file(tmp_path: Path) -> None:
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = pipeline()
    plain = pipe(**small_call()).frames
    adapter = LoraConfig(
        r=2, lora_alpha=2, target_modules=["to_q", "to_kv"], init_lora_weights=False
    )
    pipe.transformer.add_adapter(adapter)
    adapted = pipe(**small_call(generator=seeded(0))).frames
    layers = get_peft_model_state_dict(pipe.transformer)
    TrajectoryCrafterPipeline.save_lora_weights(tmp_path, transformer_lora_layers={**layers})
    fresh = pipeline()
    fresh.load_lora_weights(
        str(tmp_path), weight_name="pytorch_lora_weights.safetensors", adapter_name="mine"
    )
    assert worst(fresh(**small_call(generator=seeded(0))).frames, adapted) < 1e-5
    assert worst(adapted, plain) > 1e-3
    fresh.set_adapters("mine", 0.0)
    assert worst(fresh(**small_call(generator=seeded(0))).frames, plain) < 1e-5
    fresh.unload_lora_weights()
    assert torch.equal(fresh(**small_call(generator=seeded(0))).frames, plain)


def test_state_is_a_copy_that_later_steps_do_not_touch() -> None:
    states: list[DenoisingState] = []
    copies: list[DenoisingState] = []

    def keep(state: DenoisingState) -> None:
        states.append(state)
        copies.append(copy.deepcopy(state))

    pipeline("DPM++")(**small_call(num_inference_steps=3), on_step=keep)
    for state, kept in zip(states, copies, strict=True):
        assert torch.equal(state.latents, kept.latents)
        for now, then in zip(
            state.scheduler["model_outputs"], kept.scheduler["model_outputs"], strict=True
        ):
            if now is None or then is None:
                assert now is then
            else:
                assert torch.equal(now, then)
