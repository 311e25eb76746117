"""Few steps instead of many, and one pass instead of two: a student of the guided teacher.

One step of the student must land where several steps of the teacher land. The first round's teacher
is guided by text, and its student is not, so the guidance is folded in; the next round's teacher is
this student, with half the steps or fewer for its own student.

Sources: progressive distillation, Salimans & Ho 2022 (arXiv:2202.00512, Algorithm 2); of guided
models, Meng et al. 2023 (arXiv:2210.03142), with one fixed guidance weight. The error is measured
in the network's own output, which for v is the paper's "SNR + 1" weighting.

The one thing a reader would get wrong: a student knows only the timesteps of its own few steps;
run it with exactly that many (trailing) and guidance 1.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...config.training import DistillSettings, ModelSettings, ObjectiveSettings, TrainSettings
from .denoising import END, Clean, ddim_step, trailing_timesteps
from .objective import LAST, Batch, alpha_sigma, predict, shift_and_scale, squared_error


def distilled(base: TrainSettings, distill: DistillSettings) -> TrainSettings:
    """Settings of a distillation round: the student starts as the teacher, and nothing is dropped.

    Raises:
        ValueError: If the steps do not divide.
    """
    check_steps(distill)
    objective = replace(base.objective, timesteps="uniform", drop_text=0.0, drop_reference=0.0)
    return replace(
        base,
        model=teacher_settings(base, distill),
        objective=replace(objective, drop_condition=0.0),
        distill=distill,
        reference=True,
        lora=None,
    )


def check_steps(distill: DistillSettings) -> None:
    """Raises ValueError unless the teacher's steps are a multiple of the student's."""
    if distill.student_steps < 1 or distill.teacher_steps % distill.student_steps:
        raise ValueError(
            "Expected the teacher's steps to be a multiple of the student's, got "
            f"{distill.teacher_steps} and {distill.student_steps}."
        )


def teacher_settings(settings: TrainSettings, distill: DistillSettings) -> ModelSettings:
    """What loads the teacher: the student's network with the teacher's weights."""
    return replace(settings.model, start=distill.teacher, subfolder=None)


def guided(
    teacher: Any,
    batch: Batch,
    negative: Float[Tensor, "L e"],
    guidance: float,
    schedule: Any,
    prediction: str,
) -> Clean:
    """The clean latents that a teacher sees, guided away from the negative text."""
    other = replace(batch, text=negative.to(batch.text).expand_as(batch.text))

    def clean(noisy: Tensor, timesteps: Tensor) -> Tensor:
        output = predict(teacher, batch, noisy, timesteps)
        if guidance > 1:
            without = predict(teacher, other, noisy, timesteps)
            output = without + guidance * (output - without)
        shift, scale = shift_and_scale(noisy, timesteps, batch.base, schedule, prediction)
        return shift + scale * output

    return clean


def student_turn(timesteps: Int[Tensor, " B"], steps: int) -> Int[Tensor, " B"]:
    """Which of the student's steps stands for a timestep: uniform over steps as these are."""
    return (LAST - timesteps) * steps // (LAST + 1)


def landing(
    clean: Clean,
    noisy: Float[Tensor, "B f c h w"],
    turn: Int[Tensor, " B"],
    distill: DistillSettings,
    schedule: Any,
) -> Float[Tensor, "B f c h w"]:
    """The clean latents by which one step of the student lands where the teacher's steps do."""
    grid = torch.tensor([*trailing_timesteps(distill.teacher_steps), END], device=noisy.device)
    each = distill.teacher_steps // distill.student_steps
    start, latents = turn * each, noisy
    for i in range(each):
        now, then = grid[start + i], grid[start + i + 1]
        latents = ddim_step(clean(latents, now), latents, now, then, schedule)
    alpha, sigma = alpha_sigma(schedule, grid[start], noisy)
    alpha_then, sigma_then = alpha_sigma(schedule, grid[start + each], noisy)
    shrunk = sigma_then / sigma
    return (latents - shrunk * noisy) / (alpha_then - shrunk * alpha)


def distillation_loss(
    student: Any,
    teacher: Any,
    batch: Batch,
    negative: Float[Tensor, "L e"],
    distill: DistillSettings,
    schedule: Any,
    objective: ObjectiveSettings,
) -> Float[Tensor, ""]:
    """Squared error, float32, between the student's output and the teacher's landing place."""
    turn = student_turn(batch.timesteps, distill.student_steps)
    starts = trailing_timesteps(distill.student_steps)
    timesteps = torch.tensor(starts, device=batch.clean.device)[turn]
    noisy = schedule.add_noise(batch.clean, batch.noise, timesteps)
    kind = objective.prediction
    with torch.no_grad():
        seen = guided(teacher, batch, negative, distill.guidance, schedule, kind)
        clean = landing(seen, noisy, turn, distill, schedule)
        shift, scale = shift_and_scale(noisy, timesteps, batch.base, schedule, kind)
        target = (clean - shift) / scale
    output = predict(student, batch, noisy, timesteps)
    return squared_error(output, target, batch.known, objective.hole_weight)
