"""Settings of the benchmarks; the docstring under a field is its help text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Synthetic4D:
    """Score methods on synthetic scenes with true second views."""

    scenes: int = 100
    """How many of the drawn test scenes."""
    ranges: tuple[int, ...] = (10, 20, 40, 60)
    """How far the new camera swings around what is filmed, degrees."""
    named: bool = True
    """Also the five named scenes with standing target cameras."""
    size: tuple[int, int] = (96, 160)
    """Height and width of the drawn scenes' clips."""
    frames: int = 13
    """Frames of the drawn scenes' clips."""
    methods: tuple[str, ...] = ("render, released", "render", "fill")
    """Rows, by name; a name that is none of ours is a model, as in --model."""
    parts: tuple[str, ...] = ()
    """More rows that are measured with exact depth alone: "fill without seam", ..."""
    depth: tuple[str, ...] = ("exact", "embedded")
    """exact, or an estimator as in --depth; its scale and shift are aligned to the truth."""
    meshes: Path | None = None
    """Draw the scenes from the meshes in this folder (docs/reference/synthetic_meshes.md)."""
    camera_recovery: str | None = None
    """Also the camera error, by colmap, glomap or module:attribute."""
    camera_scenes: int = 25
    """How many of the drawn scenes; the named ones have cameras that stand."""
    shown: int = 6
    """Drawn scenes whose clips are kept for the report's players."""
    engine: Literal["local", "ray"] = "local"
    """Where the scenes are worked on."""
    workers: int = 1
    """Scenes at a time."""


@dataclass(frozen=True)
class Real4D:
    """Score methods on a person filmed by four calibrated cameras at once."""

    data: Path | None = None
    """Pose2Sim's folder Demo_SinglePerson; default: that of the installed package."""
    size: tuple[int, int] = (480, 272)
    """Height and width."""
    frames: int = 25
    """Frames of each clip."""
    stride: int = 4
    """Take every n-th frame of the 60 a second."""
    methods: tuple[str, ...] = ("render, released", "render", "fill")
    """Rows, by name; a name that is none of ours is a model, as in --model."""
    depth: str = "embedded"
    """The estimator, as in --depth."""


@dataclass(frozen=True)
class IPhone:
    """Score finished videos on the iPhone benchmark (Tables 1 and 3), or make and score ours."""

    data: Path
    """The scenes, as DyCheck, Shape of Motion or CamDirector lay them out."""
    results: tuple[Path, ...] = ()
    """Folders of finished videos: METHOD/SCENE/CAMERA.mp4."""
    model: str | None = None
    """Also re-shoot the scenes with this model and score that."""
    protocol: str = "tc-paper"
    """How the numbers are made: tc-paper, som-masked, ... (docs/reference/iphone.md lists them)."""
    mask: Literal["none", "covisible"] | None = None
    """Instead of the protocol's: which pixels count."""
    resolution: Literal["1x", "half", "native", "model", "square"] | None = None
    """Instead of the protocol's: the size at which frames are compared."""
    cameras: Literal["first", "both"] | None = None
    """Instead of the protocol's: the held-out cameras."""
    depth: Literal["som", "lidar", "own"] | None = None
    """Instead of the protocol's: the source's depth for --model."""
    orientation: Literal["stretch", "rotate", "pad"] | None = None
    """Instead of the protocol's: how the upright picture lies in the made frame."""
    weights: Path | None = None
    """Folder with LPIPS' backbones; default: the torch hub cache, else a download."""


@dataclass(frozen=True)
class VBench:
    """Score finished videos in VBench's seven dimensions (Table 2)."""

    results: Path
    """Folder of finished videos: METHOD/CLIP-TRAJECTORY.mp4."""
    dimensions: tuple[str, ...] = ()
    """Default: all that can be computed here."""
    weights: Path | None = None
    """Folder with the networks (docs/reference/vbench.md); default: the Hugging Face cache."""
    vbench_python: Path | None = None
    """Interpreter of an environment with the package vbench, for what is not computed here."""
    prompts: Path | None = None
    """JSON: what each video shows, by its name; for overall_consistency."""


@dataclass(frozen=True)
class Scores:
    """What is measured of a manifest's clips."""

    metrics: tuple[str, ...] = ("psnr", "ssim", "dino", "flicker")
    """Against the lines' target videos; see docs/reference/metrics.md."""
    camera_recovery: str | None = None
    """Also the camera error: colmap, glomap or module:attribute."""
