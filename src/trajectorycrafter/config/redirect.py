"""Settings of one re-shot video, and the named models beside them.

The one thing a reader would get wrong: this file imports neither torch nor anything of ours, so
that `trajectorycrafter --help` is instant. The docstring under a field is its help text.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Mode = Literal["gradual", "direct", "bullet", "zoom"]
Sampler = Literal["DDIM_Origin", "DDIM_Cog", "Euler", "Euler A", "DPM++", "PNDM", "CogDPM"]

MODELS = {
    "fill": "classical completion from the other frames of the clip; no weights, any machine",
    "embedded": "the small model inside this package",
    "5b": "the released TrajectoryCrafter weights (academic use only; wants a GPU)",
}
NEGATIVE_PROMPT = (
    "The video is not of a high quality, it has a low resolution. Watermark present in each frame. "
    "The background is solid. Strange body and strange trajectory. Distortion."
)
"""The released negative prompt."""
PROMPT_SUFFIX = (
    ". The video is of high quality, and the view is very clear. High quality, masterpiece, "
    "best quality, highres, ultra-detailed, fantastic."
)
"""Joined to every caption by the released system."""


@dataclass(frozen=True)
class ClipSettings:
    """Which frames of the clip, and at which size."""

    start: int = 0
    """First frame of the clip."""
    stride: int = 1
    """Take every n-th frame; the frame rate follows."""
    frames: int = 49
    """At most this many frames (0: all); a shorter clip gives fewer."""
    fps: float | None = None
    """Frames per second, before the stride; default: the clip's own, made constant if it varies."""
    size: tuple[int, int] | None = None
    """Height and width of the result; default: the clip's own shape with about 384x672 pixels."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How a clip of another shape meets --size."""


@dataclass(frozen=True)
class CameraSettings:
    """Where the new camera goes: a preset, five numbers, or a file."""

    camera: str | None = None
    """A named preset: orbit-right, dolly-in, spiral, bullet, ... (`doctor` lists them)."""
    amount: float | None = None
    """How far the preset goes, in its own unit: degrees, share of the radius, or focal factor."""
    target: tuple[float, float, float, float, float] | None = None
    """The released five numbers: elevation and azimuth in degrees, dolly, right, up."""
    trajectory: Path | None = None
    """A trajectory file of any known format."""
    mode: Mode | None = None
    """When time passes: along the move, after it (direct), not at all (bullet), or with a zoom."""
    moment: int | None = None
    """The source frame that a bullet move holds; default: the last."""
    ease: bool = False
    """Start and stop softly instead of at full speed."""
    radius: float | None = None
    """Distance to the pivot, scene units; default: where the nearer things in the middle are."""
    source: str = "static"
    """Where the source camera was: static, colmap, or file:PATH."""

    @property
    def named(self) -> list[str]:
        """Which of the three fields that can name the path do; a run wants exactly one."""
        names = ("camera", "target", "trajectory")
        return [name for name in names if getattr(self, name) is not None]


@dataclass(frozen=True)
class DepthSettings:
    """How far things are."""

    depth: str = "embedded"
    """embedded, depthcrafter, huggingface:ID, file:PATH, or module:attribute."""
    fov: float | None = None
    """Horizontal field of view in degrees; default: the estimator's own, else 55."""


@dataclass(frozen=True)
class GeneratorSettings:
    """What completes the render."""

    model: str = "fill"
    """fill, embedded, 5b, or a folder or hub id."""
    prompt: str | None = None
    """What the video shows; default: the captioner's words."""
    captioner: str = "blip2"
    """What writes the prompt if none is given: blip2, or fixed:WORDS. fill needs no prompt."""
    negative_prompt: str = NEGATIVE_PROMPT
    """What the video should not look like."""
    steps: int | None = None
    """Denoising steps; default: 50, or 1 for the embedded model."""
    blend: Literal["auto", "on", "off"] = "auto"
    """Keep true pixels where the render has them, with soft borders and matched colours; off gives
    the bare network's frames. auto: on for the embedded model, off for all others."""
    guidance: float = 6.0
    """Weight of the text; 1 or less switches the second pass off."""
    sampler: Sampler = "DDIM_Origin"
    """Noise schedule and solver."""
    reference: int = 10
    """Source frames that the model looks at beside the render."""
    rotary: Literal["current", "legacy"] = "current"
    """Positions as diffusers >= 0.32 makes them, or as older versions did."""
    seed: int = 43
    """Same seed, same result."""

    @property
    def family(self) -> Literal["fill", "embedded", "released"]:
        """What kind of model it is; a folder with a codec is of the embedded kind."""
        if self.model == "fill":
            return "fill"
        small = self.model == "embedded" or (Path(self.model) / "codec").is_dir()
        return "embedded" if small else "released"

    @property
    def denoising_steps(self) -> int:
        """The steps asked for, or the model's own."""
        return self.steps or (1 if self.family == "embedded" else 50)

    @property
    def blends(self) -> bool:
        """Whether true pixels are kept."""
        return self.blend == "on" or (self.blend == "auto" and self.family == "embedded")


@dataclass(frozen=True)
class MachineSettings:
    """Where it runs."""

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """auto takes the first of cuda, mps and cpu that this machine has."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 on CUDA, float32 elsewhere."""
    weights: Path | None = None
    """A folder with downloaded weights; default: the Hugging Face cache."""
    offload: Literal["model", "group", "none"] = "model"
    """With a GPU, what waits in main memory: all parts but one, all layers but a few, nothing."""
    tiling: bool = False
    """Encode and decode video in tiles: less memory, a little slower."""


@dataclass(frozen=True)
class Way:
    """Where our way of making a frame and the released system's part: one value for all of them."""

    read_size: tuple[int, int] | None
    """Height and width that the clip is stretched to; None: the size asked for, its shape kept."""
    made_size: tuple[int, int] | None
    """Height and width at which the render is completed; None: where it was rendered."""
    depth: Literal["ours", "released"]
    """How disparity becomes depth, and the focal length of a camera that nobody knows."""
    pivot: Literal["scene", "center"]
    """What the camera turns about: the nearer things, or the middle pixel's depth, capped."""
    path: Literal["spline", "smoothing"]
    """How a file's keys become a path; `smoothing` also leaves the dolly to the zoom mode."""
    cull: bool
    """Leave out flying pixels, which hang in the air between two surfaces."""
    splat: Literal["quality", "released"]
    """How points become pixels, see `rendering/splatting.py`; `released` also widens holes."""


QUALITY = Way(None, None, "ours", "scene", "spline", True, "quality")
RELEASED = Way((576, 1024), (384, 672), "released", "center", "smoothing", False, "released")
"""Equal to the released system's results."""


@dataclass(frozen=True)
class RedirectSettings:
    """Everything that one re-shot video depends on; written to run.json."""

    clip: ClipSettings = field(default_factory=ClipSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    depth: DepthSettings = field(default_factory=DepthSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    parity: bool = False
    """Reproduce the released system: 576x1024 stretched, its camera, splatting and cleaning."""

    @property
    def way(self) -> Way:
        """What `parity` stands for."""
        return RELEASED if self.parity else QUALITY


EMBEDDED_SHORT_SIDE = 192
"""The embedded model works at this size at most and adds what it found to the full-size fill."""
PIXELS = 384 * 672
"""Pixels of a frame the released weights were trained for; the default size keeps to it."""
WINDOW = 49
"""Frames the released weights make at once; a longer clip is made in overlapping windows."""
OVERLAP = 9
"""Frames that a window takes over from the one before it."""
