"""A student's one step against the teacher's many."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_training_objective import batch, diffusers_schedule, network
from torch import Tensor, nn
from training_material import settings, write_samples

from trajectorycrafter.config.training import (
    DistillSettings,
    ObjectiveSettings,
    TrainSettings,
)
from trajectorycrafter.lab.training.denoising import END, ddim_step, trailing_timesteps
from trajectorycrafter.lab.training.distill import (
    distillation_loss,
    distilled,
    guided,
    landing,
    student_turn,
)
from trajectorycrafter.lab.training.objective import noise_schedule
from trajectorycrafter.lab.training.rounds import distill
from trajectorycrafter.lab.training.run_folder import read_curve
from trajectorycrafter.lab.training.trainer import train
from trajectorycrafter.runtime.files import from_json

NEGATIVE = torch.zeros(4, 16)
SCHEDULE = noise_schedule()


def teacher(prediction: str = "v"):
    model = network(prediction).requires_grad_(False)
    g = torch.Generator().manual_seed(3)
    nn.init.normal_(model.proj_out.weight, std=0.2, generator=g)
    return model


def test_timesteps_choose_the_students_step_evenly() -> None:
    turns = student_turn(torch.arange(1000), 4)
    assert torch.bincount(turns).tolist() == [250] * 4
    assert turns[999] == 0 and turns[0] == 3


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_one_step_lands_where_the_teachers_four_do(prediction: str) -> None:
    settled = DistillSettings("", teacher_steps=8, student_steps=2, guidance=3.0)
    drawn, turn = batch(), torch.tensor([0, 1])
    grid = [*trailing_timesteps(8), END]
    start = torch.tensor([grid[0], grid[4]])
    noisy = diffusers_schedule().add_noise(drawn.clean, drawn.noise, start)
    clean = guided(teacher(), drawn, NEGATIVE, 3.0, SCHEDULE, prediction)
    expected = []
    for i, first in enumerate((0, 4)):  # each sample by itself, its own four steps
        one = replace(drawn, **{k: v[i : i + 1] for k, v in vars(drawn).items()})
        alone = guided(teacher(), one, NEGATIVE, 3.0, SCHEDULE, prediction)
        z = noisy[i : i + 1]
        for now, then in zip(grid[first : first + 4], grid[first + 1 : first + 5]):
            now, then = torch.tensor([now]), torch.tensor([then])
            z = ddim_step(alone(z, now), z, now, then, SCHEDULE)
        expected.append(z)
    found = landing(clean, noisy, turn, settled, SCHEDULE)
    landed = ddim_step(found, noisy, start, torch.tensor([grid[4], grid[8]]), SCHEDULE)
    torch.testing.assert_close(landed, torch.cat(expected), atol=1e-4, rtol=1e-4)


def test_a_teacher_of_as_many_steps_is_its_own_student() -> None:
    same = DistillSettings("", teacher_steps=4, student_steps=4)
    given = (batch(), NEGATIVE, same, SCHEDULE, ObjectiveSettings())
    assert distillation_loss(teacher(), teacher(), *given) < 1e-8


def test_guidance_is_what_the_student_has_to_learn() -> None:
    drawn = batch()
    noisy, t = drawn.noise, torch.tensor([999, 999])

    def at(guidance: float) -> Tensor:
        return guided(teacher(), drawn, NEGATIVE, guidance, SCHEDULE, "v")(noisy, t)

    negative = replace(drawn, text=torch.zeros_like(drawn.text))
    without = guided(teacher(), negative, NEGATIVE, 1.0, SCHEDULE, "v")(noisy, t)
    torch.testing.assert_close(at(6.0), without + 6 * (at(1.0) - without), atol=1e-4, rtol=1e-3)
    folded = DistillSettings("", teacher_steps=4, student_steps=4, guidance=6.0)
    loss = distillation_loss(
        teacher(), teacher(), drawn, NEGATIVE, folded, SCHEDULE, ObjectiveSettings()
    )
    assert loss > 1e-4


def test_a_student_learns() -> None:
    settled = DistillSettings("", teacher_steps=8, student_steps=2, guidance=4.0)
    student, drawn = teacher().requires_grad_(True), batch()
    optimizer = torch.optim.Adam(student.parameters(), 2e-3)
    losses = []
    for _ in range(25):
        loss = distillation_loss(
            student, teacher(), drawn, NEGATIVE, settled, SCHEDULE, ObjectiveSettings()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("many", "few"), [(6, 4), (4, 8), (4, 0)])
def test_steps_that_do_not_divide_are_refused(tmp_path: Path, many: int, few: int) -> None:
    base = settings("tiny-joint", tmp_path)
    with pytest.raises(ValueError, match="multiple"):
        distilled(base, DistillSettings("t", many, few))


def test_two_rounds_from_a_trained_model(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples")
    base = settings("tiny-joint", samples, steps=1)
    teacher_ = str(train(base, tmp_path / "teacher"))
    with pytest.raises(ValueError, match="multiple"):
        distill(base, teacher_, tmp_path / "out", steps=(8, 4, 3))
    assert not (tmp_path / "out").exists()
    student = distill(base, teacher_, tmp_path / "out", steps=(8, 4, 2), guidance=3.0)
    assert student == tmp_path / "out/steps-2/model"
    records = [(tmp_path / f"out/steps-{n}/settings.json").read_text() for n in (4, 2)]
    first, second = (from_json(TrainSettings, json.loads(record)) for record in records)
    assert first.distill == DistillSettings(teacher_, 8, 4, 3.0)
    middle = str(tmp_path / "out/steps-4/model")
    assert second.distill == DistillSettings(middle, 4, 2, 1.0)
    assert second.objective.drop_text == 0 and second.model.start == middle
    (line,) = read_curve(tmp_path / "out/steps-2")
    assert 0 < line["loss"] < 1
    stamp = student.stat().st_mtime_ns
    with pytest.raises(ValueError, match="--resume"):
        distill(base, teacher_, tmp_path / "out", steps=(8, 4, 2))
    assert distill(base, teacher_, tmp_path / "out", steps=(8, 4, 2), resume=True) == student
    assert student.stat().st_mtime_ns == stamp
