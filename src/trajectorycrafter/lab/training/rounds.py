"""Distillation from many steps to few: one run after another, each the next one's teacher.

Only the first round's teacher is guided: every later one is a student that has taken the guidance
in, and guiding it again would count it twice.
"""

from dataclasses import replace
from pathlib import Path

from ...config.training import DistillSettings, TrainSettings
from .distill import distilled
from .run_folder import MODEL
from .trainer import train


def distill(
    base: TrainSettings,
    teacher: str,
    out: str | Path,
    *,
    steps: tuple[int, ...] = (32, 16, 8, 4),
    guidance: float = 6.0,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Train a student of the last of `steps`; returns the folder of its weights.

    Args:
        base: A preset of the same model, for data, network and optimizer steps of each round.
        teacher: Folder or hub id of the many-step transformer.
        out: Folder of the rounds, `steps-16`, `steps-8`, ...
        steps: Of the first teacher, then of each round's student; each divides the one before.
        guidance: Of the first teacher.

    Raises:
        ValueError: If steps do not divide, or a round is there and neither `resume` nor
            `overwrite` is given.
    """
    if len(steps) < 2:
        raise ValueError(f"Expected the teacher's steps and at least one student's, got {steps}.")
    rounds = [DistillSettings(teacher, a, b) for a, b in zip(steps, steps[1:])]
    rounds = [replace(r, guidance=guidance if i == 0 else 1.0) for i, r in enumerate(rounds)]
    for chosen in rounds:
        distilled(base, chosen)  # Refuses steps that do not divide before the first round begins.
    for chosen in rounds:
        settings = distilled(base, replace(chosen, teacher=teacher))
        folder = Path(out) / f"steps-{chosen.student_steps}"
        if not (resume and (folder / MODEL).exists()):
            train(settings, folder, resume=resume, overwrite=overwrite)
        teacher = str(folder / MODEL)
    return Path(teacher)
