"""The command line: typed functions that call the library.

The one thing a reader would get wrong: this file imports nothing heavy; each command imports what
it needs, so that `--help` is instant.

Exit codes: 0 done, 2 wrong input, 1 anything else.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from .config import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    GeneratorSettings,
    MachineSettings,
    RedirectSettings,
)

Flat = tyro.conf.OmitArgPrefixes
Clip = Annotated[str, tyro.conf.Positional]


def redirect(
    clip: Clip,
    out: Path,
    frames: Flat[ClipSettings] = ClipSettings(),
    camera: Flat[CameraSettings] = CameraSettings(),
    depth: Flat[DepthSettings] = DepthSettings(),
    generator: Flat[GeneratorSettings] = GeneratorSettings(),
    machine: Flat[MachineSettings] = MachineSettings(),
    parity: bool = False,
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Re-shoot a clip along a new camera path.

    Args:
        clip: A video, a folder of images, an image, or the word demo for the clip in the package.
        out: Folder for the new video and all that led to it.
        parity: Do as the released system does: 576x1024 stretched, its camera, splatting, cleaning.
        overwrite: Replace an earlier run's files in the folder.
        resume: Go on with a run that was stopped.
    """
    from .reshoot import redirect as run

    settings = RedirectSettings(frames, camera, depth, generator, machine, parity)
    run(clip, out, settings, overwrite=overwrite, resume=resume)


def render(
    clip: Clip,
    out: Path,
    frames: Flat[ClipSettings] = ClipSettings(),
    camera: Flat[CameraSettings] = CameraSettings(),
    depth: Flat[DepthSettings] = DepthSettings(),
    machine: Flat[MachineSettings] = MachineSettings(),
    parity: bool = False,
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Show what the new camera sees of the point cloud, and stop there. Needs no video model.

    Args:
        clip: A video, a folder of images, an image, or the word demo for the clip in the package.
        out: Folder for the render, its mask, the depth and the path.
        parity: Do as the released system does: 576x1024 stretched, its camera, splatting, cleaning.
        overwrite: Replace an earlier run's files in the folder.
        resume: Go on with a run that was stopped.
    """
    from .reshoot import redirect as run

    settings = RedirectSettings(frames, camera, depth, GeneratorSettings(), machine, parity)
    run(clip, out, settings, overwrite=overwrite, resume=resume, render_only=True)


def doctor(weights: Path | None = None) -> None:
    """Say what this machine can run, and which weights and optional packages are found.

    Args:
        weights: A folder with downloaded weights; default: the Hugging Face cache.
    """
    from .doctor import examine

    print(examine(weights))


COMMANDS: dict[str, Callable[..., None]] = {
    "redirect": redirect,
    "render": render,
    "doctor": doctor,
}


def main(args: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """One command; returns the exit code."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="trajectorycrafter",
            description="A video and a new camera path in, the video as that camera saw it out.",
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
