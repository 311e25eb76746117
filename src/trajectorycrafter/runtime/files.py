"""Files and folders that are whole or not there, logs that survive a kill, settings as JSON.

The one thing a reader would get wrong: two writers of one path at the same time share its temporary
name; whoever writes from several processes gives each its own path.
"""

import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

Settings = TypeVar("Settings")
FITS = {int: {int}, float: {int, float}, str: {str}, bool: {bool}}
"""What JSON may hold for a plain type; nothing is converted in silence, such as 2.5 steps to 2."""


@contextmanager
def whole(path: Path) -> Generator[Path, None, None]:
    """A hidden temporary path beside `path`, whose file or folder takes that name if all goes well.

    It has the same suffix. What was at `path` stays until then; the folders above it are made.

    Raises:
        OSError: it could not be written; the temporary file or folder is removed.
    """
    partial, earlier = (path.with_name(f".{x}.{path.name}") for x in ("partial", "earlier"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        if partial.is_dir() and path.is_dir():
            # A folder cannot be put over one that has files.
            _remove(earlier)
            os.replace(path, earlier)
            try:
                os.replace(partial, path)
            except BaseException:
                os.replace(earlier, path)
                raise
            _remove(earlier)
        else:
            os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            error.errno, f"Could not write {path} ({reason}); nothing was kept"
        ) from error
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write `text` as UTF-8."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(value: Any, path: Path) -> None:
    """Write `value` as indented JSON; what JSON does not know becomes its text."""
    write_text(json.dumps(value, indent=2, default=str) + "\n", path)


def to_json(settings: Any) -> Any:
    """A dataclass as JSON holds it: paths as text, tuples as lists."""
    return json.loads(json.dumps(asdict(settings), default=str))


def from_json(kind: type[Settings], value: Any) -> Settings:
    """The dataclass of this kind that `to_json` wrote; fields that are missing have their defaults.

    Raises:
        ValueError: An unknown field, or a value of another type; the message names each.
    """
    from cattrs import transform_error

    def in_words(error: BaseException, _: type | None) -> str:
        return "required field missing" if isinstance(error, KeyError) else str(error)

    try:
        return _converter().structure(value, kind)
    except Exception as error:
        wrong = transform_error(error, format_exception=in_words)
        raise ValueError(f"Cannot read {kind.__name__}: {'; '.join(wrong)}.") from error


@cache
def _converter() -> Any:
    # Imported here, since most commands only write settings.
    from cattrs.preconf.json import make_converter

    def checked(value: Any, kind: type) -> Any:
        if type(value) not in FITS[kind]:
            raise TypeError(f"expected {kind.__name__}, got {value!r}")
        return value

    converter = make_converter(forbid_extra_keys=True)
    for kind in FITS:
        converter.register_structure_hook(kind, checked)
    return converter


class JsonLines:
    """A log with one JSON object a line, each on disk as soon as it is added.

    A line that a kill cut short is not read, and removed before the next is written.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; none if there is no such file."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().rpartition(b"\n")[0].decode("utf-8").split("\n")
        return [json.loads(line) for line in lines if line.strip()]

    def keep(self, lines: list[dict[str, Any]]) -> None:
        """Replace the log by these lines."""
        write_text("".join(json.dumps(line) + "\n" for line in lines), self.path)

    def add(self, line: dict[str, Any]) -> None:
        """Write one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    self.keep(self.read())
        with self.path.open("ab") as file:
            file.write((json.dumps(line) + "\n").encode("utf-8"))
