"""Settings of curation; the docstring under a field is its help text."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Source = Literal["folder", "openvid", "realestate10k", "dl3dv", "posed", "synthetic"]

SOURCES = {
    "folder": "any folder of videos, animated images or folders of images",
    "openvid": "OpenVid-1M: its csv and zip parts, or the unzipped folder video/",
    "realestate10k": "RealEstate10K: train|test/CLIP.txt and the videos or frames",
    "dl3dv": "DL3DV-10K: BATCH/HASH/transforms.json with images_4 or so, or BATCH/HASH.zip",
    "posed": "a folder of sequences, each with pictures and a COLMAP model or transforms.json",
    "synthetic": "the training split of the package's own scenes; needs no data",
}
"""What `Curation.source` can be."""


@dataclass(frozen=True)
class WindowSettings:
    """Which windows of a clip become samples."""

    frames: int = 49
    """Frames of a sample; 4k + 1 for the released model."""
    stride: int = 1
    """Take every n-th frame of a clip."""
    size: tuple[int, int] = (384, 672)
    """Height and width; clips of another shape are cropped."""
    per_clip: int = 1
    """At most so many windows of a clip, without overlap."""
    look_at: int = 1200
    """At most so many frames of a clip are looked at."""
    least_motion: float = 0.05
    """Less is stillness: 95th percentile of the optical flow, percent of the diagonal a frame."""
    most_motion: float = 8.0
    """More is a blur, or a cut that was missed."""
    least_contrast: float = 0.03
    """Less is a blank: standard deviation of gray, of 1."""
    cut: float = 0.3
    """Neighboring frames whose color histograms differ more than this may be a cut, 0 to 1."""


@dataclass(frozen=True)
class PathSettings:
    """How far random paths go from the source camera: each end is drawn evenly from its range."""

    azimuth: tuple[float, float] = (-35.0, 35.0)
    """Degrees around the pivot, right is positive."""
    elevation: tuple[float, float] = (-12.0, 20.0)
    """Degrees around the pivot, up is positive."""
    dolly: tuple[float, float] = (-0.25, 0.4)
    """Way forward, share of the scene's radius."""
    right: tuple[float, float] = (-0.3, 0.3)
    """Shift to the right, share of the radius."""
    up: tuple[float, float] = (-0.1, 0.1)
    """Shift upwards, share of the radius."""
    zoom: tuple[float, float] = (1.0, 1.0)
    """Factor on the focal length."""
    away: float = 0.4
    """Share of paths that begin away from the source camera as well."""
    bent: float = 0.4
    """Share of paths with a turn on the way."""


@dataclass(frozen=True)
class HoleSettings:
    """How much of the picture should be missing, and how many tries that is worth."""

    holes: tuple[float, float] = (0.05, 0.6)
    """Smallest and largest share of a sample's pixels that are hole."""
    hole_histogram: tuple[float, ...] | None = None
    """Wanted frequencies in bins of equal width between the two; default: as the paths give it."""
    tries: int = 6
    """Paths or pairs of segments tried before a window is rejected."""


@dataclass(frozen=True)
class TripletSettings:
    """Two segments of one posed sequence: one is the source, the other the target."""

    geometry: str = "files"
    """files (the source's own cameras), colmap (pycolmap over the clip), or module:attribute."""
    overlap: tuple[float, float] = (0.3, 0.95)
    """Share of the target's surface that the source segment sees, measured by geometry."""
    sequence: float = 3.0
    """Length of the sequence that both are chosen from, in segments."""


@dataclass(frozen=True)
class SceneSettings:
    """What is made of synthetic scenes."""

    scenes: int = 100
    """How many; each gives one sample."""
    first_scene: int = 0
    """Seed of the first scene."""
    recipes: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Frequencies of double reprojection, of two segments of a frozen moment, and of a second
    camera that films the same moments."""
    scene_depth: str = "disturbed"
    """exact, disturbed (as estimated depth is), or an estimator aligned to the truth."""
    disturbance: float = 0.03
    """Relative error of disturbed depth."""
    rays: int = 2
    """Rays per pixel and axis."""


@dataclass(frozen=True)
class Curation:
    """Everything that a set of samples depends on; written to settings.json."""

    source: Source = "folder"
    """Where clips come from."""
    data: Path | None = None
    """The source's folder; synthetic needs none."""
    kind: Literal["dynamic", "static"] | None = None
    """Pairs by double reprojection, or triplets; default: what the source is for."""
    window: WindowSettings = field(default_factory=WindowSettings)
    path: PathSettings = field(default_factory=PathSettings)
    hole: HoleSettings = field(default_factory=HoleSettings)
    triplet: TripletSettings = field(default_factory=TripletSettings)
    scene: SceneSettings = field(default_factory=SceneSettings)
    depth: str = "embedded"
    """embedded, depthcrafter, huggingface:ID, or module:attribute."""
    fov: float | None = None
    """Horizontal field of view of clips without cameras, degrees; default: as --depth."""
    source_cameras: str = "static"
    """For clips without cameras: static (as in the paper), or colmap."""
    captioner: str = "fixed:"
    """For clips without words of their own: blip2, or fixed:WORDS."""
    weights: Path | None = None
    """A folder with downloaded weights; default: the Hugging Face cache."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where depth and captions are computed."""
    reference: int = 10
    """Reference frames of a sample, the first of its source."""
    reference_from: Literal["source", "around"] = "source"
    """For pairs, whose source is the target itself: its own frames, as in the paper, whose first
    stage looks at none; or frames before and after the window, which give nothing away."""
    memory: int = 6
    """Other moments of the source whose points make the second condition; 0 leaves it out."""
    filled: bool = False
    """Keep the render's classical completion, too, which the embedded model starts from."""
    least_scores: dict[str, float] = field(default_factory=dict)
    """Smallest scores of a clip, by OpenVid's column: aesthetic, motion, temporal_consistency."""
    licence: str = "unknown"
    """License of a folder's clips; the named data sets know theirs."""
    clips: int = 0
    """At most so many clips, drawn by the seed; 0 takes all."""
    per_shard: int = 64
    """Samples in a tar."""
    seed: int = 0
    """Same seed, same samples, whatever the number of workers."""


@dataclass(frozen=True)
class CurationRun:
    """How the work is done; no sample depends on it."""

    engine: Literal["local", "ray"] = "local"
    """Processes of this machine, or actors of a Ray cluster."""
    workers: int = 1
    """Clips at a time."""
