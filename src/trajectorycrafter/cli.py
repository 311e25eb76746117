"""The command line: typed functions that call the library.

This file imports nothing heavy; each command imports what it needs, so that `--help` is instant.

Exit codes: 0 done, 2 wrong input, 1 anything else.
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from .config.curation import Curation, CurationRun
from .config.evaluation import IPhone, Real4D, Scores, Synthetic4D, VBench
from .config.redirect import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    GeneratorSettings,
    MachineSettings,
    RedirectSettings,
)
from .config.runs import BatchSettings, OutFolder
from .config.studio import Limits, StudioServer
from .config.training import TrainOptions
from .job.manifest import SUFFIXES

if TYPE_CHECKING:
    from .lab.evaluation.records import Evaluation

Flat = tyro.conf.OmitArgPrefixes
Clip = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CLIP")]


def redirect(
    clip: Clip,
    out: Path,
    frames: Flat[ClipSettings] = ClipSettings(),
    camera: Flat[CameraSettings] = CameraSettings(),
    depth: Flat[DepthSettings] = DepthSettings(),
    generator: Flat[GeneratorSettings] = GeneratorSettings(),
    machine: Flat[MachineSettings] = MachineSettings(),
    batch: Flat[BatchSettings] = BatchSettings(),
    parity: bool = False,
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Re-shoot a clip along a new camera path.

    Args:
        clip: A video, a folder of images, an image, the word demo for the clip in the package, or a
            manifest of clips (.csv, .jsonl).
        out: Folder for the new video and everything that led to it.
        parity: Reproduce the released system: 576x1024 stretched, its camera, splatting, cleaning.
        overwrite: Replace the files of an earlier run in the folder once this run is whole.
        resume: Go on with a run that was stopped.
    """
    settings = RedirectSettings(frames, camera, depth, generator, machine, parity)
    _reshoot(clip, out, settings, batch, overwrite=overwrite, resume=resume)


def render(
    clip: Clip,
    out: Path,
    frames: Flat[ClipSettings] = ClipSettings(),
    camera: Flat[CameraSettings] = CameraSettings(),
    depth: Flat[DepthSettings] = DepthSettings(),
    machine: Flat[MachineSettings] = MachineSettings(),
    batch: Flat[BatchSettings] = BatchSettings(),
    parity: bool = False,
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Show what the new camera sees of the point cloud, and stop there. Needs no video model.

    Args:
        clip: A video, a folder of images, an image, the word demo for the clip in the package, or a
            manifest of clips (.csv, .jsonl).
        out: Folder for the render, its mask, the depth and the path.
        parity: Reproduce the released system: 576x1024 stretched, its camera, splatting, cleaning.
        overwrite: Replace the files of an earlier run in the folder once this run is whole.
        resume: Go on with a run that was stopped.
    """
    settings = RedirectSettings(frames, camera, depth, GeneratorSettings(), machine, parity)
    _reshoot(clip, out, settings, batch, overwrite=overwrite, resume=resume, render_only=True)


def _reshoot(
    clip: str, out: Path, settings: RedirectSettings, batch: BatchSettings, **how: Any
) -> None:
    """One clip, or all of a manifest; a batch in which a clip failed ends with code 1."""
    if Path(clip).suffix.lower() in SUFFIXES:
        from .job.batch import redirect_all

        done = redirect_all(clip, out, settings, **asdict(batch), **how)
        if done.failed:
            raise SystemExit(1)
        return
    if batch != BatchSettings():
        raise ValueError(f"--engine and --workers are for manifests (.csv, .jsonl); got {clip}.")
    from .job.reshoot import redirect as run

    run(clip, out, settings, **how)


def doctor(weights: Path | None = None) -> None:
    """Report what this machine can run, and which weights and optional packages are installed.

    Args:
        weights: A folder with downloaded weights; default: the Hugging Face cache.
    """
    from .job.doctor import examine

    print(examine(weights))


def studio(
    clip: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[CLIP]")] = None,
    server: Flat[StudioServer] = StudioServer(),
    limits: Flat[Limits] = Limits(),
    frames: Flat[ClipSettings] = ClipSettings(),
    depth: Flat[DepthSettings] = DepthSettings(),
    generator: Flat[GeneratorSettings] = GeneratorSettings(),
    machine: Flat[MachineSettings] = MachineSettings(),
    source: str = "static",
) -> None:
    """Design a camera path by hand in the browser, see it at once, generate, compare.

    Args:
        clip: Shown first: a video, a folder of images, an image, or the word demo.
        source: Where the source camera was: static, colmap, or file:PATH.
    """
    try:
        from .studio.app import run as serve
    except ImportError as error:
        raise ValueError(
            f"The studio needs the extra studio: pip install '.[studio]' ({error})."
        ) from error
    serve(
        clip,
        RedirectSettings(frames, CameraSettings(source=source), depth, generator, machine),
        server,
        limits,
    )


def curate(
    folder: Flat[OutFolder],
    settings: Flat[Curation] = Curation(),
    run: Flat[CurationRun] = CurationRun(),
) -> None:
    """Make training samples of clips, posed sequences or synthetic scenes."""
    from .lab.curation.run import curate as make

    how: dict[str, Any] = {"resume": folder.resume, "overwrite": folder.overwrite}
    done = make(settings, folder.out, engine=run.engine, workers=run.workers, **how)
    print(f"card: {folder.out / 'card.html'}")
    if done.failed:
        raise SystemExit(1)


def train(folder: Flat[OutFolder], options: Flat[TrainOptions]) -> None:
    """Train one stage of the model; under `accelerate launch`, on many processors."""
    from .config.training_presets import chosen
    from .lab.training.trainer import train as run

    print(run(chosen(options), folder.out, resume=folder.resume, overwrite=folder.overwrite))


def encode(
    out: Path, options: Flat[TrainOptions], dtype: Literal["float16", "float32"] = "float16"
) -> None:
    """Encode samples once into cached latents that train --latents reads; goes on after a stop.

    Args:
        out: The caches are made in here, named as the folders of samples.
        dtype: Number format of the stored latents.
    """
    from .config.training_presets import chosen
    from .lab.training.encoding import encode as run

    print(*run(chosen(options), out, dtype=dtype), sep="\n")


def distill(
    teacher: str,
    folder: Flat[OutFolder],
    options: Flat[TrainOptions],
    rounds: tuple[int, ...] = (32, 16, 8, 4),
    guidance: float = 6.0,
) -> None:
    """Train a student that needs few steps, one pass each, from a guided model that needs many.

    Args:
        teacher: Folder or hub id of the many-step transformer.
        rounds: Denoising steps of the teacher, then of each round's student.
        guidance: Weight of the text in the first teacher.
    """
    from .config.training_presets import chosen
    from .lab.training.rounds import distill as run

    how = {"resume": folder.resume, "overwrite": folder.overwrite}
    print(run(chosen(options), teacher, folder.out, steps=rounds, guidance=guidance, **how))


def synthetic_4d(folder: Flat[OutFolder], settings: Flat[Synthetic4D] = Synthetic4D()) -> None:
    """Score methods on synthetic dynamic scenes with true second views."""
    _benchmark(settings, folder)


def real_4d(folder: Flat[OutFolder], settings: Flat[Real4D] = Real4D()) -> None:
    """Score methods on a real person filmed by four calibrated cameras at once."""
    _benchmark(settings, folder)


def iphone(folder: Flat[OutFolder], settings: Flat[IPhone]) -> None:
    """Score videos of any method on the iPhone benchmark (Tables 1 and 3)."""
    _benchmark(settings, folder)


def vbench(folder: Flat[OutFolder], settings: Flat[VBench]) -> None:
    """Score videos of any method in VBench's seven dimensions (Table 2)."""
    _benchmark(settings, folder)


def _benchmark(settings: Synthetic4D | Real4D | IPhone | VBench, folder: OutFolder) -> None:
    """Run it and print its tables; an evaluation in which a clip failed ends with code 1."""
    from .lab.evaluation.report import markdown
    from .lab.evaluation.run import evaluate as run

    found = run(settings, folder.out, overwrite=folder.overwrite, resume=folder.resume)
    print(markdown(found))
    _finish(found, folder)


def _finish(found: "Evaluation", folder: OutFolder) -> None:
    print(f"report: {folder.out / 'report.html'}")
    if any(entry.error for entry in found.entries):
        raise SystemExit(1)


def manifest(
    clips: Clip,
    folder: Flat[OutFolder],
    scores: Flat[Scores] = Scores(),
    frames: Flat[ClipSettings] = ClipSettings(),
    camera: Flat[CameraSettings] = CameraSettings(),
    depth: Flat[DepthSettings] = DepthSettings(),
    generator: Flat[GeneratorSettings] = GeneratorSettings(),
    machine: Flat[MachineSettings] = MachineSettings(),
    batch: Flat[BatchSettings] = BatchSettings(),
) -> None:
    """Re-shoot and score the clips of a manifest, or score its finished videos.

    Args:
        clips: The manifest (.csv, .jsonl); see docs/use/batches.md.
    """
    from .lab.evaluation.batches import evaluate_manifest

    found = evaluate_manifest(
        clips,
        folder.out,
        RedirectSettings(frames, camera, depth, generator, machine),
        **asdict(scores),
        **asdict(batch),
        overwrite=folder.overwrite,
        resume=folder.resume,
    )
    _finish(found, folder)


def compare(
    a: Annotated[Path, tyro.conf.Positional],
    b: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
) -> None:
    """Show what changed between two evaluations of the same clips; also written --compare A B.

    Args:
        a: A report.json.
        b: The report.json to compare it with.
        out: Folder for the comparison as a page.
    """
    from .lab.evaluation.comparison import compare as run
    from .lab.evaluation.comparison import comparison_markdown, write_comparison
    from .lab.evaluation.records import read_evaluation

    pair, names = (read_evaluation(a), read_evaluation(b)), (str(a), str(b))
    found = run(*pair, names) if out is None else write_comparison(*pair, out, names)
    print(comparison_markdown(found))


def evaluate() -> None:
    """Score methods: synthetic-4d, real-4d, iphone, vbench, manifest, or --compare A B."""


def _named(*commands: Callable[..., None]) -> dict[str, Callable[..., None]]:
    return {command.__name__.replace("_", "-"): command for command in commands}


COMMANDS = _named(redirect, render, studio, evaluate, curate, encode, train, distill, doctor)
EVALUATIONS = _named(synthetic_4d, real_4d, iphone, vbench, manifest, compare)
"""The commands of `evaluate`."""


def main(args: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """One command; returns the exit code."""
    args = list(sys.argv[1:] if args is None else args)
    commands, program = COMMANDS, "trajectorycrafter"
    about = "A video and a new camera path in, the video as that camera saw it out."
    if args[:1] == ["evaluate"]:
        commands, program, about = EVALUATIONS, f"{program} evaluate", evaluate.__doc__
        args = ["compare" if word == "--compare" else word for word in args[1:]]
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog=program,
            description=about,
            args=args,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except SystemExit as stop:  # tyro has printed what is wrong with the command line
        return int(stop.code or 0)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on from here", file=sys.stderr)
        return 1
    except Exception as error:
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            raise
        print(f"failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0
