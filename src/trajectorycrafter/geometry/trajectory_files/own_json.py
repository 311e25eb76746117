"""Our own JSON: keyframes, cameras or both, with everything that a trajectory holds.

The one thing a reader would get wrong: `frames` in the file is the count its keys and anchor were
made for; read with another count, their moments scale and cameras are resampled.
"""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from ..cameras import Cameras
from ..interpolation import Interpolation, resample_cameras
from ..keyframes import Keyframe, key_times
from ..trajectories import Lens, PanUnit, RelativeTo, Scale, Trajectory
from .checks import check_keys, finite_numbers, read_json, wrong

JSON_FORMAT = "trajectorycrafter-trajectory"
JSON_VERSION = 1
_JSON_KEYS = {
    "format": str,
    "version": int,
    "frames": int,
    "interpolation": str,
    "ease": bool,
    "pan_unit": str,
    "relative_to": str,
    "anchor": int,
    "reference_frames": list,
    "keyframes": list,
    "cameras": dict,
}


def read(path: Path, frames: int | None) -> Trajectory:
    """A trajectory from our JSON; `frames` None = as many as the file says."""
    document = read_json(path)
    check_keys(document, _JSON_KEYS, f"{path}: $")
    if document.get("format") != JSON_FORMAT:
        raise wrong(f"{path}: $.format", repr(JSON_FORMAT), repr(document.get("format")))
    if document.get("version") != JSON_VERSION:
        raise wrong(
            f"{path}: $.version",
            f"{JSON_VERSION}, what this release reads",
            repr(document.get("version")),
        )
    cameras, placing = _read_cameras(document.get("cameras"), path)
    own = document.get("frames", None if cameras is None else len(cameras))
    if own is None or own < 1:
        raise wrong(f"{path}: $.frames", "the number of output frames, at least 1", repr(own))
    frames = int(own) if frames is None else frames
    keyframes = _read_keyframes(document, own, path) or [Keyframe()]
    references = document.get("reference_frames")
    if references is not None:
        references = finite_numbers(references, (-1,), f"{path}: $.reference_frames")
        references = torch.from_numpy(references.astype(np.int64))
    choices = {"interpolation": Interpolation, "pan_unit": PanUnit, "relative_to": RelativeTo}
    options = {name: document[name] for name in (*choices, "ease") if name in document}
    for name, kind in choices.items():
        _check_choice(options, name, kind, f"{path}: $")
    if cameras is not None:
        options.setdefault("relative_to", "first_frame")
    try:
        trajectory = Trajectory.from_keyframes(keyframes, frames, **options)
        anchor = document.get("anchor")
        return replace(
            trajectory,
            absolute=None if cameras is None else resample_cameras(cameras, frames),
            reference_frames=references,
            anchor=None if anchor is None else round(anchor * (frames - 1) / max(own - 1, 1)),
            **placing,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_keyframes(path: Path) -> list[Keyframe]:
    """The keyframes of our JSON as they stand in it, each with its moment as `time`."""
    document = read_json(path)
    keyframes = _read_keyframes(document, int(document.get("frames", 1)), path)
    if not keyframes:
        return []
    times = key_times(keyframes, int(document.get("frames", 1)))
    return [replace(key, time=float(time)) for key, time in zip(keyframes, times, strict=True)]


def _read_keyframes(document: dict[str, Any], own: int, path: Path) -> list[Keyframe]:
    """Keyframes with their moments as times, so that they serve any number of output frames."""
    keyframes: list[Keyframe] = []
    names = {f.name: (int if f.name.endswith("frame") else float) for f in fields(Keyframe)}
    for i, entry in enumerate(document.get("keyframes") or []):
        where = f"{path}: $.keyframes[{i}]"
        check_keys(entry, names, where)
        for name, value in entry.items():
            if value is not None:
                finite_numbers(value, (), f"{where}.{name}")
        key = Keyframe(**entry)
        if key.frame is not None and key.time is None:
            if not 0 <= key.frame < own:
                raise wrong(f"{where}.frame", f"0..{own - 1} ($.frames is {own})", str(key.frame))
            key = replace(key, frame=None, time=key.frame / max(own - 1, 1))
        keyframes.append(key)
    return keyframes


def _read_cameras(entry: Any, path: Path) -> tuple[Cameras | None, dict[str, Any]]:
    if entry is None:
        return None, {}
    where = f"{path}: $.cameras"
    needed = {"height": int, "width": int, "world_to_camera": list, "K": list}
    check_keys(entry, {**needed, "scale": str, "lens": str}, where)
    for name in needed:
        if name not in entry:
            raise wrong(f"{where}.{name}", "a value", "nothing")
    matrices = finite_numbers(entry["world_to_camera"], (-1, 4, 4), f"{where}.world_to_camera")
    K = finite_numbers(entry["K"], (len(matrices), 3, 3), f"{where}.K")
    cameras = Cameras(
        torch.from_numpy(matrices).float(),
        torch.from_numpy(K).float(),
        entry["height"],
        entry["width"],
    )
    placing = {"scale": entry.get("scale", "scene"), "lens": entry.get("lens", "absolute")}
    _check_choice(placing, "scale", Scale, where)
    _check_choice(placing, "lens", Lens, where)
    return cameras, placing


def _check_choice(entry: dict[str, Any], name: str, kind: Any, where: str) -> None:
    if name in entry and entry[name] not in get_args(kind):
        raise wrong(f"{where}.{name}", f"one of {', '.join(get_args(kind))}", repr(entry[name]))


def encode(value: Trajectory | Cameras) -> str:
    """A trajectory, or cameras in their own world, as our JSON."""
    trajectory = (
        Trajectory.from_cameras(value, relative_to="world") if isinstance(value, Cameras) else value
    )
    document: dict[str, Any] = {
        "format": JSON_FORMAT,
        "version": JSON_VERSION,
        "frames": len(trajectory),
        "interpolation": "linear",
        "pan_unit": trajectory.pan_unit,
        "relative_to": trajectory.relative_to,
    }
    if trajectory.anchor is not None:
        document["anchor"] = trajectory.anchor
    if trajectory.reference_frames is not None:
        document["reference_frames"] = trajectory.reference_frames.tolist()
    # One key per frame: linear interpolation between neighbors gives back the very numbers.
    names = ("elevation_deg", "azimuth_deg", "dolly", "zoom", "roll_deg")
    columns = {name: getattr(trajectory, name).tolist() for name in names}
    columns |= {"right": trajectory.pan[:, 0].tolist(), "up": trajectory.pan[:, 1].tolist()}
    if not torch.equal(trajectory.source_frame, torch.arange(len(trajectory))):
        columns["source_frame"] = trajectory.source_frame.tolist()
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if any(Keyframe(**row) != Keyframe() for row in rows):
        document["keyframes"] = [Keyframe(frame=frame, **row) for frame, row in enumerate(rows)]
    if trajectory.absolute is not None:
        cameras = trajectory.absolute
        document["cameras"] = {
            "height": cameras.height,
            "width": cameras.width,
            "scale": trajectory.scale,
            "lens": trajectory.lens,
            "world_to_camera": cameras.world_to_camera.tolist(),
            "K": cameras.K.tolist(),
        }
    return as_json(document)


def keyframes_as_json(
    keyframes: Sequence[Keyframe],
    frames: int,
    *,
    interpolation: Interpolation = "spline",
    pan_unit: PanUnit = "radius",
    relative_to: RelativeTo = "shown_frame",
    ease: bool = False,
) -> str:
    """Keyframes as our JSON; raises ValueError if `Trajectory.from_keyframes` refuses them."""
    options: dict[str, Any] = {
        "interpolation": interpolation,
        "pan_unit": pan_unit,
        "relative_to": relative_to,
        "ease": ease,
    }
    Trajectory.from_keyframes(keyframes, frames, **options)
    document = {"format": JSON_FORMAT, "version": JSON_VERSION, "frames": frames, **options}
    return as_json({**document, "keyframes": keyframes})


def as_json(document: dict[str, Any]) -> str:
    """JSON that people can read and edit: one line per key, keyframe or camera.

    Of a keyframe only what differs from the default is written, so that a human sees the move.
    """
    parts: list[str] = []
    default = vars(Keyframe())
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict | Keyframe):
            lines = [
                json.dumps({n: x for n, x in vars(item).items() if x != default[n]})
                if isinstance(item, Keyframe)
                else json.dumps(item)
                for item in value
            ]
            body = "[\n  " + ",\n  ".join(lines) + "\n ]"
        elif isinstance(value, dict):
            inner = (f"{json.dumps(name)}: {json.dumps(item)}" for name, item in value.items())
            body = "{\n  " + ",\n  ".join(inner) + "\n }"
        else:
            body = json.dumps(value)
        parts.append(f" {json.dumps(key)}: {body}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
