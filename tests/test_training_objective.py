"""The loss against formulas written out by hand, and the draws of a step."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from golden_model import config, pipeline
from torch import Tensor
from training_material import sample

from trajectorycrafter.config.training import ModelSettings, ObjectiveSettings
from trajectorycrafter.config.training_presets import PRESETS
from trajectorycrafter.lab.training.denoising import ddim_step, denoise, trailing_timesteps
from trajectorycrafter.lab.training.examples import Encoder, Example, Posterior, View, masked_video
from trajectorycrafter.lab.training.objective import (
    Batch,
    diffusion_loss,
    draw_batch,
    noise_schedule,
    shift_and_scale,
    squared_error,
)
from trajectorycrafter.lab.training.parts import load_autoencoder
from trajectorycrafter.lab.training.seeds import seeded
from trajectorycrafter.lab.training.stages import build_model
from trajectorycrafter.model.codec import Pictures, SpaceToDepthCodec
from trajectorycrafter.model.conditions import Conditions, render_latents
from trajectorycrafter.model.embedded import EmbeddedModel

PLAIN = ObjectiveSettings(drop_text=0.0)
MODE = replace(PLAIN, posterior="mode")
EMPTY = torch.zeros(4, 16)


def alpha_bars() -> np.ndarray:
    """The released schedule by its formulas, in float64 (Lin et al. 2023, Algorithm 1)."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    root = np.sqrt(np.cumprod(1 - betas))
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return root**2


def example(seed: int = 0, seen: bool = True, memory: bool = False) -> Example:
    """An example of random latents."""
    g = torch.Generator().manual_seed(seed)

    def posterior() -> Posterior:
        mean = torch.randn(3, 4, 4, 6, generator=g)
        return Posterior(mean, 0.1 * torch.rand(3, 4, 4, 6, generator=g))

    def view() -> View:
        return View(posterior(), torch.rand(3, 1, 4, 6, generator=g) * seen, seen)

    text = torch.ones(4, 16)
    return Example(
        "e", "static", posterior(), view(), posterior(), view() if memory else None, text
    )


def diffusers_schedule() -> Any:
    """Untyped, since diffusers wants timesteps as `IntTensor`, which no tensor of integers is."""
    return noise_schedule()


def batch(count: int = 2, settings: ObjectiveSettings = PLAIN, **how: Any) -> Batch:
    examples = [example(i, **how) for i in range(count)]
    return draw_batch(examples, EMPTY, settings, 0.7, seeded("test"))


def network(prediction: str = "v"):
    """The tiny transformer, its last layer filled so that it says something."""
    return build_model(PRESETS["tiny-joint"].model, seed=5)


def test_schedule_is_the_released_one() -> None:
    ours = noise_schedule().alphas_cumprod.double().numpy()
    np.testing.assert_allclose(ours, alpha_bars(), atol=2e-6)
    assert ours[-1] == 0  # the last timestep is noise alone
    golden = pipeline().scheduler
    assert torch.equal(golden.alphas_cumprod, noise_schedule().alphas_cumprod)
    released = config("pipeline/pipeline")["scheduler"]
    assert {k: v for k, v in noise_schedule().config.items() if k in released}.items() >= {
        k: released[k] for k in ("beta_start", "beta_end", "prediction_type", "timestep_spacing")
    }.items()


@pytest.mark.parametrize("prediction", ["v", "x0"])
@pytest.mark.parametrize("hole_weight", [1.0, 3.0])
def test_loss_is_the_formula(prediction: str, hole_weight: float) -> None:
    settings = replace(PLAIN, prediction=prediction, hole_weight=hole_weight)
    model, drawn = network(), batch(settings=settings)
    assert drawn.reference is not None
    errors, weights = [], []
    for i in range(2):
        a = alpha_bars()[int(drawn.timesteps[i])]
        z = a**0.5 * drawn.clean[i] + (1 - a) ** 0.5 * drawn.noise[i]
        said = model(
            z[None].float(),
            drawn.text[i][None],
            drawn.timesteps[i][None],
            drawn.condition[i][None],
            reference_latents=drawn.reference[i][None],
        ).sample[0]
        velocity = a**0.5 * drawn.noise[i] - (1 - a) ** 0.5 * drawn.clean[i]
        residual = drawn.clean[i] - drawn.condition[i][:, 1:5]
        target = velocity if prediction == "v" else residual
        weight = drawn.known[i] + hole_weight * (1 - drawn.known[i])
        errors.append((weight * (said - target) ** 2).mean())
        weights.append(weight.mean())
    expected = torch.stack(errors).mean() / torch.stack(weights).mean()
    loss = diffusion_loss(model, drawn, noise_schedule(), settings)
    assert loss.dtype == torch.float32
    # Float64 against float32 in the schedule.
    torch.testing.assert_close(loss, expected.float(), rtol=1e-4, atol=1e-5)


def test_samples_with_and_without_references_are_refused_together() -> None:
    examples = [example(0), replace(example(1), reference=None)]
    with pytest.raises(ValueError, match="one size and length in a batch"):
        draw_batch(examples, EMPTY, PLAIN, 0.7, seeded("test"))


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_what_the_loss_asks_for_means_the_clean_latents(prediction: str) -> None:
    drawn, schedule = batch(), diffusers_schedule()
    drawn = replace(drawn, timesteps=torch.tensor([999, 300]))
    noisy = schedule.add_noise(drawn.clean, drawn.noise, drawn.timesteps)
    shift, scale = shift_and_scale(noisy, drawn.timesteps, drawn.base, schedule, prediction)
    said = drawn.clean - drawn.base
    if prediction == "v":
        said = schedule.get_velocity(drawn.clean, drawn.noise, drawn.timesteps)
    torch.testing.assert_close(shift + scale * said, drawn.clean, atol=1e-5, rtol=1e-5)


def test_scaling_multiplies_everything_the_mask_included() -> None:
    settings = replace(PLAIN, posterior="mode")
    e = example(memory=True)
    assert e.reference is not None and e.memory is not None
    reference = Posterior(e.reference.mean, None)
    memory = replace(e.memory, latents=Posterior(e.memory.latents.mean, None))
    bare = replace(
        e,
        target=Posterior(e.target.mean, None),
        reference=reference,
        render=replace(e.render, latents=Posterior(e.render.latents.mean, None)),
        memory=memory,
    )
    drawn = draw_batch([bare], EMPTY, settings, 0.7, seeded("test"))
    parts = [bare.render.known, bare.render.latents.mean]
    parts += [memory.known, memory.latents.mean]
    assert drawn.reference is not None
    assert torch.equal(drawn.condition[0], torch.cat(parts, dim=1) * 0.7)
    assert torch.equal(drawn.clean[0], bare.target.mean * 0.7)
    assert torch.equal(drawn.reference[0], reference.mean * 0.7)
    assert torch.equal(drawn.known[0], bare.render.known)
    assert torch.equal(drawn.base[0], bare.render.latents.mean * 0.7)


def test_posterior_is_drawn_by_the_generator() -> None:
    e = example()
    draws = torch.stack([e.target.draw(seeded("d", i)) for i in range(200)])
    # 200 draws: the mean's error is 0.1/sqrt(200) at most, eight of them suffice for 288 places.
    assert (draws.mean(0) - e.target.mean).abs().max() < 8 * 0.1 / 200**0.5
    assert e.target.std is not None
    torch.testing.assert_close(draws.std(0).mean(), e.target.std.mean(), rtol=0.05, atol=0)
    assert torch.equal(e.target.draw(seeded("d", 3)), draws[3])


def shares(settings: ObjectiveSettings, seen: bool = True, count: int = 400) -> dict[str, float]:
    """How often each input is zeros (or the empty text)."""
    drawn = draw_batch([example(0, seen)] * count, EMPTY, settings, 0.7, seeded("drop"))

    def zeros(x: Tensor | None) -> float:
        assert x is not None
        return float((x.flatten(1) == 0).all(dim=1).float().mean())

    return {
        "text": zeros(drawn.text),
        "reference": zeros(drawn.reference),
        "condition": zeros(drawn.condition),
    }


def test_text_is_dropped_one_time_in_ten() -> None:
    found = shares(ObjectiveSettings())
    # Three standard deviations of 400 draws.
    assert found["text"] == pytest.approx(0.1, abs=0.045)
    assert found["reference"] == found["condition"] == 0


def test_inputs_are_dropped_independently() -> None:
    found = shares(ObjectiveSettings(drop_reference=0.5, drop_condition=0.3))
    assert found["reference"] == pytest.approx(0.5, abs=0.075)
    assert found["condition"] == pytest.approx(0.3, abs=0.07)


def test_all_hole_conditions_are_mostly_zeros() -> None:
    assert shares(ObjectiveSettings(), seen=False)["condition"] == pytest.approx(0.9, abs=0.045)


@pytest.mark.parametrize("kind", ["uniform", "high"])
def test_timesteps(kind: str) -> None:
    drawn = draw_batch(
        [example()] * 1000, EMPTY, replace(PLAIN, timesteps=kind), 0.7, seeded("t")
    ).timesteps
    if kind == "uniform":
        counts = torch.histc(drawn.float(), 5, 0, 1000)
        assert counts.min() > 150 and counts.max() < 250
        return
    assert float((drawn == 999).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert drawn.min() >= 400


def test_a_draw_depends_on_its_words_alone() -> None:
    torch.manual_seed(1)
    first = batch()
    torch.manual_seed(2)
    again = batch()
    assert torch.equal(first.noise, again.noise) and torch.equal(first.clean, again.clean)
    assert not torch.equal(first.noise[0], first.noise[1])


def test_samples_of_a_batch_are_alike() -> None:
    short = replace(example(), target=Posterior(torch.zeros(1, 4, 4, 6), None))
    with pytest.raises(ValueError, match="--accumulation"):
        draw_batch([example(), short], EMPTY, PLAIN, 0.7, seeded("x"))


def test_weighted_error_by_hand() -> None:
    known = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1)
    wrong = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1, 1)
    assert squared_error(wrong, torch.zeros_like(wrong), known, 1.0) == pytest.approx(2.5)
    assert squared_error(wrong, torch.zeros_like(wrong), known, 3.0) == pytest.approx(13 / 4)


# ---------------------------------------------------------------------------------- encoding


def encoder(**how: Any) -> Encoder:
    vae = load_autoencoder(ModelSettings(autoencoder="tiny"), torch.device("cpu"))
    how = {"noisy": False, **how}
    return Encoder(vae, lambda prompts: torch.zeros(len(prompts), 4, 16), PLAIN, **how)


def test_condition_is_that_of_inference_but_for_the_posterior() -> None:
    make, s = encoder(), sample(3)
    e = make(s)
    ours = torch.cat([e.render.known, e.render.latents.mean], dim=1) * 0.7
    theirs = render_latents(make.vae, s.render.frames, s.render.visible)
    torch.testing.assert_close(ours[None], theirs, atol=1e-6, rtol=1e-6)
    assert e.render.latents.std is not None and e.render.seen


def test_the_embedded_models_condition_is_that_of_its_inference() -> None:
    torch.manual_seed(0)
    codec = SpaceToDepthCodec(8)
    text = torch.zeros(1, 1, 16)
    how: dict[str, Any] = {"noisy": False, "memory": True, "filled": True}
    make = Encoder(codec, lambda prompts: text, MODE, **how)
    plain = sample(3, memory=sample(4).render)
    with pytest.raises(ValueError, match="curate with --filled"):
        make(plain)
    s = replace(plain, filled=sample(5).target)
    e = make(s)
    batch = draw_batch([e], text[0], MODE, codec.config["scaling_factor"], seeded("x"))
    assert s.filled is not None and s.memory is not None
    pictures = Pictures(
        s.filled.frames[None] * 2 - 1,
        s.render.frames[None] * 2 - 1,
        s.render.visible[None],
        s.memory.frames[None] * 2 - 1,
        s.memory.visible[None],
    )
    inference = EmbeddedModel(None, codec, None)
    filled = inference.encode(pictures.filled)
    torch.testing.assert_close(batch.condition, inference.condition(pictures, filled))
    torch.testing.assert_close(batch.base, filled.transpose(1, 2))


def test_noise_on_the_condition() -> None:
    frames, visible = sample(1).render.frames, sample(1).render.visible
    black = frames.clone()
    black[:, :, :4] = 0
    clean = masked_video(black, visible, 0.0, seeded("n"))
    noisy = masked_video(black, visible, 0.05, seeded("n"))
    assert (clean[~visible.expand_as(clean)] == -1).all()
    assert torch.equal(noisy == -1, clean == -1)  # holes and black stay exactly -1
    moved = (noisy - clean)[clean != -1]
    assert float(moved.std()) == pytest.approx(0.05, rel=0.05)


def test_sigma_of_the_noise_is_log_normal() -> None:
    make = encoder(noisy=True)
    sigmas = torch.tensor([make.sigma(seeded("s", i)) for i in range(500)]).log()
    assert float(sigmas.mean()) == pytest.approx(-3, abs=0.08)
    assert float(sigmas.std()) == pytest.approx(0.5, abs=0.06)
    assert encoder().sigma(seeded("s")) == 0


def test_variants_of_a_sample_differ_in_the_condition_alone() -> None:
    make = encoder(noisy=True)
    a, b, again = make(sample(1), 0), make(sample(1), 1), make(sample(1), 0)
    assert torch.equal(a.target.mean, b.target.mean)
    assert not torch.equal(a.render.latents.mean, b.render.latents.mean)
    assert torch.equal(a.render.latents.mean, again.render.latents.mean)


def test_a_missing_memory_is_a_render_of_holes() -> None:
    make = encoder(memory=True)
    without = make(sample(1)).memory
    assert without is not None and not without.seen and without.known.max() == 0
    remembered = make(sample(1, memory=sample(2).render)).memory
    assert remembered is not None and remembered.seen and remembered.known.max() == 1


def test_samples_of_a_wrong_length_are_refused() -> None:
    with pytest.raises(ValueError, match="8k"):
        encoder()(sample(1, frames=8))


# --------------------------------------------------------------------------------- denoising


@pytest.mark.parametrize("steps", [1, 4, 7, 50])
def test_trailing_timesteps_are_those_of_diffusers(steps: int) -> None:
    scheduler = pipeline().scheduler
    scheduler.set_timesteps(steps)
    assert trailing_timesteps(steps) == scheduler.timesteps.tolist()


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 1000 steps, got 0"):
        trailing_timesteps(0)


def test_denoising_is_that_of_the_pipeline() -> None:
    pipe, schedule = pipeline(), noise_schedule()
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 3, 4, 6, 10, generator=g)
    condition = torch.randn(1, 3, 5, 6, 10, generator=g)
    reference = torch.randn(1, 2, 4, 6, 10, generator=g)
    text = torch.randn(1, 12, 48, generator=g)
    theirs = pipe.denoise(
        Conditions(text, condition, reference), noise, num_inference_steps=4, guidance_scale=1.0
    )

    @torch.no_grad()
    def clean(noisy: Tensor, t: Tensor) -> Tensor:
        v = pipe.transformer(noisy, text, t, condition, reference_latents=reference).sample
        shift, scale = shift_and_scale(noisy, t, noisy, schedule, "v")
        return shift + scale * v

    torch.testing.assert_close(denoise(clean, noise, 4, schedule), theirs, atol=1e-5, rtol=1e-4)


def test_a_step_with_the_true_latents_keeps_the_noise() -> None:
    drawn, schedule = batch(), noise_schedule()
    now, then = torch.tensor([999, 500]), torch.tensor([300, -1])
    noisy = diffusers_schedule().add_noise(drawn.clean, drawn.noise, now)
    moved = ddim_step(drawn.clean, noisy, now, then, schedule)
    expected = diffusers_schedule().add_noise(drawn.clean, drawn.noise, then.clamp(min=0))
    torch.testing.assert_close(moved[0], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moved[1], drawn.clean[1], atol=1e-6, rtol=0)
