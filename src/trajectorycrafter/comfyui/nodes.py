"""Makes a ComfyUI node of a typed function.

The one thing a reader would get wrong: a parameter that is a settings dataclass becomes one widget
for each of its fields, with the field's docstring as its tooltip.
"""

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

from ..video.reading import clip_path
from .sockets import Socket, chosen, field_words, given, outputs, socket

CATEGORY = "TrajectoryCrafter"
_DATA = ("Video", "Depth", "Trajectory", "Shot")
"""Dataclasses that pass between nodes; every other one is settings."""


def node(
    function: Callable[..., tuple[Any, ...]],
    returns: tuple[str, ...],
    *,
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    without: tuple[str, ...] = (),
) -> type:
    """The node class of a function.

    Args:
        function: its parameters have types and, if they are not data, defaults; it returns a tuple.
        returns: names of the outputs.
        choices: all values of a text, by its name.
        without: settings that keep their defaults.
    """
    parts = {
        name: {
            key: chosen(value, choices[key]) if key in choices else value
            for key, value in _sockets(function, name).items()
            if key not in without
        }
        for name in inspect.signature(function).parameters
    }
    sockets = {key: value for part in parts.values() for key, value in part.items()}
    assert len(sockets) == sum(map(len, parts.values())), "two fields of one name"
    hints = get_type_hints(function)
    kinds = tuple(kind for value in get_args(hints["return"]) for kind in outputs(value))
    assert len(kinds) == len(returns), (kinds, returns)
    settings = {name: kind for name, kind in hints.items() if _is_settings(kind)}

    def input_types(cls: type) -> dict[str, dict[str, tuple[Any, dict[str, Any]]]]:
        """ComfyUI's description of the inputs."""
        described: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {"required": {}}
        for name, one in sockets.items():
            group = "required" if one.required else "optional"
            described.setdefault(group, {})[name] = (one.kind, one.options)
        return described

    def run(self: Any, **values: Any) -> tuple[Any, ...]:
        read = {name: sockets[name].read(value) for name, value in values.items()}
        call = {}
        for name, part in parts.items():
            mine = {key: read[key] for key in part if key in read}
            call[name] = settings[name](**mine) if name in settings else mine.get(name, MISSING)
        call = {name: value for name, value in call.items() if value is not MISSING}
        return tuple(kind for value in function(**call) for kind in given(value))

    def is_changed(cls: type, **values: Any) -> str:
        """Files that the inputs name may have changed; the node then runs anew."""
        return _dates(values)

    summary = inspect.getdoc(function) or ""
    members = {
        "INPUT_TYPES": classmethod(input_types),
        "RETURN_TYPES": kinds,
        "RETURN_NAMES": returns,
        "FUNCTION": "run",
        "CATEGORY": CATEGORY,
        "DESCRIPTION": summary.split("\n\n")[0].replace("\n", " "),
        "IS_CHANGED": classmethod(is_changed),
        "run": run,
    }
    return type(f"TrajectoryCrafter{function.__name__.title()}", (), members)


def _sockets(function: Callable[..., Any], name: str) -> dict[str, Socket]:
    """The inputs of one parameter, by their names."""
    kind = get_type_hints(function)[name]
    default = inspect.signature(function).parameters[name].default
    if not _is_settings(kind):
        return {name: socket(kind, default, _argument_words(function).get(name, ""))}
    words, hints = field_words(kind), get_type_hints(kind)
    return {
        field.name: socket(hints[field.name], getattr(default, field.name), words[field.name])
        for field in fields(kind)
    }


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind) and kind.__name__ not in _DATA


def _argument_words(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring's section "Args" says of each parameter."""
    section = re.search(
        r"^Args:\n((?:    .*\n?|\n)*)", inspect.getdoc(function) or "", re.MULTILINE
    )
    if section is None:
        return {}
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section[1], re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _dates(values: dict[str, Any]) -> str:
    """When the files among the values were last changed."""
    paths = [clip_path(text) for text in values.values() if isinstance(text, str) and text]
    return " ".join(str(os.stat(path).st_mtime_ns) for path in paths if path.exists())
