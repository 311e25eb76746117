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
