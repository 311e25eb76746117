"""JSON that people can read and edit: one line per key, keyframe or camera."""

import json
from typing import Any


def as_json(document: dict[str, Any]) -> str:
    """The document's text."""
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
    return "{\n" + ",\n".join(parts) + "\n}\n"
