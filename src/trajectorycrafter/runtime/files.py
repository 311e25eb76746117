"""Small files that are whole or not there.

The one thing a reader would get wrong: a file appears under its name only when it is complete;
until then it is `.partial.<name>` in the same folder.
"""

import json
import os
from pathlib import Path
from typing import Any


def write_text(text: str, path: Path) -> None:
    """Write `text`, then give it its name; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial.{path.name}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_json(value: Any, path: Path) -> None:
    """Write `value` as indented JSON; what JSON does not know becomes its text."""
    write_text(json.dumps(value, indent=2, default=str) + "\n", path)


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
        whole = self.path.read_bytes().rpartition(b"\n")[0].decode("utf-8")
        return [json.loads(line) for line in whole.split("\n") if line.strip()]

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
