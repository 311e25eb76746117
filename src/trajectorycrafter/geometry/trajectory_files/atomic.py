"""Writing files that appear whole or not at all.

The one thing a reader would get wrong: the temporary file lies beside the result, not in the
system's folder for such, since `os.replace` is atomic within one file system only.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


class Replacing:
    """A temporary file beside `path` that takes its place if all went well, and vanishes if not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            # mkstemp makes files private; a result gets the rights that any new file would get.
            mask = os.umask(0)
            os.umask(mask)
            self.temporary.chmod(0o666 & ~mask)
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text; returns the path."""
    with Replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, document: dict[str, Any]) -> Path:
    """One line per key, keyframe or camera, so that people can read and edit the file."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            body = "[\n  " + ",\n  ".join(json.dumps(item) for item in value) + "\n ]"
        elif isinstance(value, dict):
            inner = (f"{json.dumps(name)}: {json.dumps(item)}" for name, item in value.items())
            body = "{\n  " + ",\n  ".join(inner) + "\n }"
        else:
            body = json.dumps(value)
        parts.append(f" {json.dumps(key)}: {body}")
    return write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")
