"""Settings to JSON and back."""

import json
from dataclasses import asdict
from functools import cache
from typing import Any, TypeVar

Settings = TypeVar("Settings")
FITS = {int: {int}, float: {int, float}, str: {str}, bool: {bool}}
"""What JSON may hold for a plain type; nothing is converted in silence, such as 2.5 steps to 2."""


def to_json(settings: Any) -> Any:
    """A dataclass as JSON holds it: paths as text, tuples as lists."""
    return json.loads(json.dumps(asdict(settings), default=str))


def from_json(kind: type[Settings], value: Any) -> Settings:
    """The dataclass of this kind that `to_json` wrote; fields that are missing have their defaults.

    Raises:
        ValueError: An unknown field, or a value of another type; the message names each.
    """
    from cattrs import transform_error

    try:
        return _converter().structure(value, kind)
    except Exception as error:
        wrong = transform_error(error, format_exception=_in_words)
        raise ValueError(f"Cannot read {kind.__name__}: {'; '.join(wrong)}.") from error


@cache
def _converter() -> Any:
    # Imported here, since most commands only write settings.
    from cattrs.preconf.json import make_converter

    converter = make_converter(forbid_extra_keys=True)
    for kind in FITS:
        converter.register_structure_hook(kind, _checked)
    return converter


def _checked(value: Any, kind: type) -> Any:
    if type(value) not in FITS[kind]:
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value


def _in_words(error: BaseException, kind: type | None) -> str:
    return "required field missing" if isinstance(error, KeyError) else str(error)
