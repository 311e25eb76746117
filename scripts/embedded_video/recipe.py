"""Write a training preset's settings with other numbers of steps or another autoencoder.

`python recipe.py embedded-stage1 stage1.json --steps 400 --autoencoder FOLDER`; rates fall over the
last two fifths of the steps.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from trajectorycrafter.config.training import changed
from trajectorycrafter.config.training_presets import preset
from trajectorycrafter.runtime.files import to_json, write_json


@dataclass
class Settings:
    """Which preset, and what is changed of it."""

    preset: tyro.conf.Positional[str]
    out: tyro.conf.Positional[Path]
    steps: int
    autoencoder: str = "embedded"
    ablation: str = "none"
    batch: int = 16
    seed: int = 0


def main(settings: Settings) -> None:
    made = preset(settings.preset, settings.ablation)
    made = changed(made, "model", autoencoder=settings.autoencoder)
    made = changed(made, "data", batch=settings.batch)
    cooldown = round(settings.steps * 0.4)
    made = changed(made, "optimizer", steps=settings.steps, cooldown=cooldown)
    made = changed(made, "log", checkpoint_every=50, sample_every=settings.steps)
    write_json(to_json(made) | {"seed": settings.seed}, settings.out)


if __name__ == "__main__":
    main(tyro.cli(Settings))
