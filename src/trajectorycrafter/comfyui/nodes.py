"""The five nodes, and how our data looks to ComfyUI.

ComfyUI's IMAGE is T H W 3, ours is T 3 H W; its MASK is T H W of floats, and ours is 1 where
something was seen, so "invert mask" gives what to fill in. Frames pass between nodes without their
rate, so the first node returns it beside them.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ..config import redirect as config
from ..depth.estimator import check_depth
from ..geometry.presets import PRESETS
from ..geometry.trajectories import Trajectory
from ..job.generation import check_model
from ..job.pipeline import TrajectoryCrafter
from ..job.reshoot import frame_choice, make_trajectory
from ..rendering.shot import Shot
from ..video.clip import Depth, Video
from ..video.pictures import colorize_depth
from ..video.reading import clip_path, probe

Input = tuple[str | list[str], dict[str, Any]]
"""ComfyUI's name of the type, or the choices; and options."""
Inputs = dict[str, Input]

DEFAULT_FPS = 24.0
"""Rate of frames that come without one; no result depends on it."""
_LARGEST = 2**31 - 1
_WIDGETS: dict[type, tuple[str, dict[str, Any]]] = {
    bool: ("BOOLEAN", {}),
    int: ("INT", {"min": 0, "max": _LARGEST}),
    float: ("FLOAT", {"min": -float(_LARGEST), "max": float(_LARGEST), "step": 0.01}),
    str: ("STRING", {}),
}
"""ComfyUI's name of a type, and its limits."""


def _widget(default: Any, tooltip: str, *choices: str) -> Input:
    kind, limits = _WIDGETS[type(default)]
    return list(choices) or kind, {"default": default, "tooltip": tooltip, **limits}


def _socket(kind: str, tooltip: str) -> Input:
    """A number that may be left out: a widget cannot show that, an unconnected socket can."""
    return kind, {"forceInput": True, "tooltip": tooltip}


_DTYPES = ("auto", "float32", "bfloat16", "float16")
_OFFLOAD = "What waits in main memory on a GPU: all parts but one, all layers but a few, nothing."
_MACHINE = {
    "device": _widget("auto", "auto: the first that is there.", "auto", "cuda", "mps", "cpu"),
    "dtype": _widget("auto", "auto: bfloat16 on CUDA, float32 elsewhere.", *_DTYPES),
    "weights": _widget("", "A folder with downloaded weights; default: the Hugging Face cache."),
    "offload": _widget("model", _OFFLOAD, "model", "group", "none"),
    "tiling": _widget(False, "Encode and decode video in tiles: less memory, a little slower."),
}


class Node:
    """What the five have in common, as ComfyUI reads it."""

    CATEGORY, FUNCTION = "TrajectoryCrafter", "run"
    RETURN_TYPES: tuple[str, ...] = ()
    RETURN_NAMES: tuple[str, ...] = ()
    REQUIRED: ClassVar[Inputs] = {}
    OPTIONAL: ClassVar[Inputs] = {}
    WATCHED: tuple[str, str] = ("", "")
    """The input that may name a file, and what such a name begins with; a node runs again when that
    file has changed."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {"required": cls.REQUIRED, "optional": cls.OPTIONAL}

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> str:
        """When the watched file was last changed; ComfyUI gives no text that is linked."""
        key, prefix = cls.WATCHED
        name = inputs.get(key)
        if not name or not name.startswith(prefix):
            return ""
        path = clip_path(name.removeprefix(prefix))
        return str(path.stat().st_mtime_ns) if path.exists() else ""


class TrajectoryCrafterLoad(Node):
    """Read a clip: a video, a folder of images, an image, or the word demo."""

    RETURN_TYPES, RETURN_NAMES = ("IMAGE", "FLOAT"), ("frames", "fps")
    WATCHED, DESCRIPTION = ("clip", ""), __doc__
    REQUIRED: ClassVar[Inputs] = {
        "clip": _widget("demo", "A video, a folder of images, an image, or demo."),
        "start": _widget(0, "First frame of the clip."),
        "stride": _widget(1, "Take every n-th frame; the frame rate follows."),
        "frames": _widget(49, "At most this many (0: all); a shorter clip gives fewer."),
        "size": _widget("", "Height and width; default: the clip's shape, about 384x672."),
        "fit": _widget(
            "crop", "How a clip of another shape meets the size.", "crop", "pad", "stretch"
        ),
    }
    OPTIONAL: ClassVar[Inputs] = {
        "fps": _socket("FLOAT", "Frames per second, before the stride; default: the clip's own."),
    }

    def run(self, clip: str, size: str, **others: Any) -> tuple[Tensor, float]:
        settings = config.ClipSettings(size=_numbers(size, int, 2), **others)
        path = clip_path(clip)
        info = probe(path, settings.fps)
        choice = frame_choice(info, config.RedirectSettings(clip=settings))
        video = Video.read(path, choice, info)
        return image_of(video.frames), video.fps


class TrajectoryCrafterDepth(Node):
    """How far things are, frame by frame, and a colored picture of it."""

    RETURN_TYPES, RETURN_NAMES = ("TRAJECTORYCRAFTER_DEPTH", "IMAGE"), ("depth", "picture")
    WATCHED, DESCRIPTION = ("depth", "file:"), __doc__
    _names = "embedded, depthcrafter, huggingface:ID, file:PATH, or module:attribute."
    _fov = "Horizontal field of view in degrees; default: the estimator's own, else 55."
    REQUIRED: ClassVar[Inputs] = {
        "frames": ("IMAGE", {}),
        "depth": _widget("embedded", _names),
        **_MACHINE,
    }
    OPTIONAL: ClassVar[Inputs] = {"fov": _socket("FLOAT", _fov)}

    def run(
        self, frames: Tensor, depth: str, fov: float | None = None, **machine: Any
    ) -> tuple[Depth, Tensor]:
        video, estimator = video_of(frames), config.DepthSettings(depth, fov)
        settings = config.RedirectSettings(depth=estimator, machine=_machine(**machine))
        found = check_depth(_crafter(settings).depth_estimator(video), video)
        return found, image_of(colorize_depth(found))


class TrajectoryCrafterTrajectory(Node):
    """Where the new camera goes, for a clip of so many frames."""

    RETURN_TYPES, RETURN_NAMES = ("TRAJECTORYCRAFTER_TRAJECTORY",), ("trajectory",)
    WATCHED, DESCRIPTION = ("trajectory", ""), __doc__
    _target = "Five numbers or nothing: elevation, azimuth in degrees, dolly, right, up."
    _mode = "Time passes along the move, after it (direct), not at all (bullet), or with a zoom."
    _amount = "How far the preset goes: degrees, share of the radius, or focal factor."
    _moment = "The source frame that a bullet move holds; default: the last."
    REQUIRED: ClassVar[Inputs] = {
        "frames": ("IMAGE", {}),
        "camera": _widget("orbit-right", "A named preset.", "none", *PRESETS),
        "target": _widget("", _target),
        "trajectory": _widget("", "A trajectory file of any known format."),
        "mode": _widget("none", _mode, "none", *get_args(config.Mode)),
        "ease": _widget(False, "Start and stop softly instead of at full speed."),
    }
    OPTIONAL: ClassVar[Inputs] = {
        "amount": _socket("FLOAT", _amount),
        "moment": _socket("INT", _moment),
    }

    def run(
        self, frames: Tensor, camera: str, target: str, trajectory: str, mode: Any, **others: Any
    ) -> tuple[Trajectory]:
        settings = config.CameraSettings(
            camera=None if camera == "none" else camera,
            target=_numbers(target, float, 5),
            trajectory=_path(trajectory),
            mode=None if mode == "none" else mode,
            **others,
        )
        return (make_trajectory(settings, len(frames)),)


class TrajectoryCrafterRender(Node):
    """What the new camera sees of the points, where it sees anything, and all that led to it."""

    RETURN_TYPES = ("IMAGE", "MASK", "TRAJECTORYCRAFTER_SHOT")
    RETURN_NAMES = ("render", "visible", "shot")
    WATCHED, DESCRIPTION = ("source", "file:"), __doc__
    _radius = "Distance to the pivot, scene units; default: to the nearer things in the middle."
    REQUIRED: ClassVar[Inputs] = {
        "frames": ("IMAGE", {}),
        "depth": ("TRAJECTORYCRAFTER_DEPTH", {}),
        "trajectory": ("TRAJECTORYCRAFTER_TRAJECTORY", {}),
        "source": _widget("static", "Where the source camera was: static, colmap, file:PATH."),
    }
    OPTIONAL: ClassVar[Inputs] = {"radius": _socket("FLOAT", _radius)}

    def run(
        self, frames: Tensor, depth: Depth, trajectory: Trajectory, **camera: Any
    ) -> tuple[Tensor, Tensor, Shot]:
        settings = config.RedirectSettings(camera=config.CameraSettings(**camera))
        crafter = TrajectoryCrafter(depth=lambda video: depth, settings=settings)
        shot = crafter.shoot(video_of(frames), trajectory)
        visible = shot.view.visible[:, 0].float().cpu().contiguous()
        return image_of(shot.view.frames), visible, shot


class TrajectoryCrafterGenerate(Node):
    """Complete the render: the finished video."""

    DESCRIPTION = __doc__
    RETURN_TYPES, RETURN_NAMES = ("IMAGE",), ("frames",)
    _blend = "Keep true pixels where the render has them; auto: with the embedded model."
    _rotary = "Positions as diffusers >= 0.32 makes them, or as older versions did."
    _steps = "Denoising steps; default: 50, and 1 with the embedded model."
    REQUIRED: ClassVar[Inputs] = {
        "shot": ("TRAJECTORYCRAFTER_SHOT", {}),
        "model": _widget("fill", "fill, embedded, 5b, or a folder or hub id."),
        "prompt": _widget("", "What the video shows; default: the captioner's words."),
        "captioner": _widget("blip2", "Writes a missing prompt: blip2, fixed:WORDS; not for fill."),
        "negative_prompt": _widget(config.NEGATIVE_PROMPT, "What it must not look like."),
        "blend": _widget("auto", _blend, "auto", "on", "off"),
        "guidance": _widget(6.0, "Weight of the text; 1 or less: no second pass."),
        "sampler": _widget("DDIM_Origin", "Noise schedule, solver.", *get_args(config.Sampler)),
        "reference": _widget(10, "Source frames the model looks at beside the render."),
        "rotary": _widget("current", _rotary, "current", "legacy"),
        "seed": _widget(43, "Same seed, same result."),
        **_MACHINE,
    }
    OPTIONAL: ClassVar[Inputs] = {"steps": _socket("INT", _steps)}

    def run(self, shot: Shot, prompt: str, **others: Any) -> tuple[Tensor]:
        machine = _machine(**{name: others.pop(name) for name in _MACHINE})
        generator = config.GeneratorSettings(prompt=prompt if prompt.strip() else None, **others)
        settings = config.RedirectSettings(generator=generator, machine=machine)
        check_model(settings)
        return (image_of(_crafter(settings).complete(shot).video.frames),)


@lru_cache(maxsize=2)
def _crafter(settings: config.RedirectSettings) -> TrajectoryCrafter:
    """One for these settings, its parts kept loaded from run to run."""
    return TrajectoryCrafter(settings=settings)


def _machine(weights: str, **others: Any) -> config.MachineSettings:
    return config.MachineSettings(weights=_path(weights), **others)


def _path(text: str) -> Path | None:
    return Path(text) if text.strip() else None


def _numbers(text: str, kind: type, count: int) -> Any:
    """A tuple of numbers from words or commas between them, None without any."""
    words = text.replace(",", " ").split()
    try:
        numbers = tuple(kind(word) for word in words)
    except ValueError:
        numbers = ()
    if words and len(numbers) != count:
        raise ValueError(f"Expected {count} numbers, got {text!r}.")
    return numbers or None


def video_of(image: Tensor) -> Video:
    """Frames from ComfyUI's IMAGE.

    Raises:
        ValueError: not T H W 3 (or 4, whose last channel is left out).
    """
    if image.ndim != 4 or image.shape[3] not in (3, 4):
        raise ValueError(f"Expected images of shape T H W 3, got {tuple(image.shape)}.")
    frames = image[..., :3].permute(0, 3, 1, 2).to("cpu", torch.float32).clamp(0, 1)
    return Video(frames.contiguous(), DEFAULT_FPS)


def image_of(frames: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T H W 3"]:
    """ComfyUI's IMAGE."""
    return frames.detach().cpu().clamp(0, 1).permute(0, 2, 3, 1).contiguous()
