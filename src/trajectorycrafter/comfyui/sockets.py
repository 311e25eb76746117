"""How our types look to ComfyUI, both ways.

The one thing a reader would get wrong: ComfyUI's IMAGE is T H W 3, ours is T 3 H W; its MASK is
T H W of floats, and ours is 1 where something was seen, so "invert mask" gives what to fill in.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import torch

from ..geometry.trajectories import Trajectory
from ..rendering.render import Render
from ..rendering.shot import Shot
from ..video.clip import Depth, Video

DEFAULT_FPS = 24.0
"""Rate of frames that come without one; no result depends on it."""
NOTHING = "none"
"""What a list of choices shows for None."""
_LARGEST = 2**31 - 1
_OURS = {
    Depth: "TRAJECTORYCRAFTER_DEPTH",
    Trajectory: "TRAJECTORYCRAFTER_TRAJECTORY",
    Shot: "TRAJECTORYCRAFTER_SHOT",
}


@dataclass(frozen=True)
class Socket:
    """An input of a node."""

    kind: str | list[str]
    """ComfyUI's name of the type, or the choices."""
    options: dict[str, Any]
    """As JSON knows them."""
    read: Callable[[Any], Any]
    """From ComfyUI's value to ours."""
    required: bool = True
    """Whether ComfyUI always gives it a value."""
    nullable: bool = False
    """Whether None is one of our values."""


def socket(annotation: Any, default: Any, told: str) -> Socket:
    """The input for a parameter.

    Args:
        annotation: its type.
        default: its value if nothing is said.
        told: shown when the mouse is over it.

    Raises:
        TypeError: a type that has no socket; a mistake in `calls.py`.
    """
    options: dict[str, Any] = {"tooltip": told} if told else {}
    if annotation is Video:
        return Socket("IMAGE", options, video_of)
    if annotation in _OURS:
        return Socket(_OURS[annotation], options, _same)
    kind, nullable = _without_none(annotation)
    if get_origin(kind) is Literal:
        return chosen(
            Socket("", options | {"default": default}, _same, True, nullable), get_args(kind)
        )
    if kind in (int, float):
        return _number(kind, default, options, nullable)
    if kind is bool:
        return Socket("BOOLEAN", options | {"default": default}, bool)
    if kind in (str, Path):
        options["default"] = "" if default is None else str(default)
        return Socket("STRING", options, partial(_text, kind, nullable), True, nullable)
    if get_origin(kind) is tuple:
        options |= {"tooltip": f"{told} {len(get_args(kind))} numbers, or nothing.", "default": ""}
        return Socket("STRING", options, partial(_numbers, kind), True, nullable)
    raise TypeError(f"No socket for {annotation}.")


def chosen(text: Socket, choices: tuple[str, ...]) -> Socket:
    """The input as a list of choices."""
    default = text.options["default"]
    return replace(
        text,
        kind=[NOTHING, *choices] if text.nullable else list(choices),
        options=text.options | {"default": default or NOTHING},
        read=lambda choice: None if choice == NOTHING else choice,
    )


def _number(kind: type, default: Any, options: dict[str, Any], nullable: bool) -> Socket:
    name = "INT" if kind is int else "FLOAT"
    if nullable:
        # No number can mean "none": it is a socket that may stay unconnected.
        return Socket(name, options | {"forceInput": True}, kind, False, True)
    limits = {"min": 0 if kind is int else -float(_LARGEST), "max": kind(_LARGEST)}
    step = {} if kind is int else {"step": 0.01}
    return Socket(name, options | {"default": default} | limits | step, kind)


def _text(kind: type, nullable: bool, text: str) -> Any:
    return None if nullable and not text.strip() else kind(text)


def _numbers(kind: Any, text: str) -> tuple[Any, ...] | None:
    types, words = get_args(kind), text.replace(",", " ").split()
    if not words:
        return None
    try:
        return tuple(number(word) for number, word in zip(types, words, strict=True))
    except ValueError:
        raise ValueError(f"Expected {len(types)} numbers, got {text!r}.") from None


def _same(value: Any) -> Any:
    return value


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """The type without `| None`, and whether that was there."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation, False
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    if len(kinds) != 1:
        raise TypeError(f"No socket for {annotation}.")
    return kinds[0], True


# --------------------------------------------------------------------------------------- tensors


def video_of(image: torch.Tensor) -> Video:
    """Frames from ComfyUI's IMAGE.

    Raises:
        ValueError: not T H W 3 (or 4, whose last channel is left out).
    """
    if image.ndim != 4 or image.shape[3] not in (3, 4):
        raise ValueError(f"Expected images of shape T H W 3, got {tuple(image.shape)}.")
    frames = image[..., :3].permute(0, 3, 1, 2).to("cpu", torch.float32).clamp(0, 1)
    return Video(frames.contiguous(), DEFAULT_FPS)


def image_of(video: Video) -> torch.Tensor:
    """ComfyUI's IMAGE, T H W 3."""
    return video.frames.detach().cpu().clamp(0, 1).permute(0, 2, 3, 1).contiguous()


def outputs(kind: Any) -> tuple[str, ...]:
    """What a returned type is to ComfyUI; a render is two things."""
    if kind is Render:
        return "IMAGE", "MASK"
    return (({Video: "IMAGE", float: "FLOAT"} | _OURS)[kind],)


def given(value: Any) -> tuple[Any, ...]:
    """A returned value as ComfyUI takes it, in the order of `outputs`."""
    if isinstance(value, Render):
        seen = value.visible[:, 0].float().cpu().contiguous()
        return image_of(Video(value.frames, DEFAULT_FPS)), seen
    return (image_of(value) if isinstance(value, Video) else value,)


# ------------------------------------------------------------------------------------------ words


def field_words(settings: type) -> dict[str, str]:
    """The docstring under each field of a settings class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(settings))).body[0]
    assert isinstance(body, ast.ClassDef)
    words = {}
    for field, text in zip(body.body, body.body[1:]):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            words[field.target.id] = " ".join(str(text.value.value).split())
    return words
