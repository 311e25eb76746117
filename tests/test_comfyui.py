"""The nodes, called as ComfyUI calls them: described, checked, linked, run under inference mode."""

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from conftest import Clip

from trajectorycrafter import TrajectoryCrafter, preset
from trajectorycrafter.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from trajectorycrafter.comfyui.nodes import image_of, video_of
from trajectorycrafter.config.redirect import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    GeneratorSettings,
    MachineSettings,
)
from trajectorycrafter.geometry.presets import PRESETS
from trajectorycrafter.video.clip import Video
from trajectorycrafter.video.reading import DEMO_CLIP

NODES: dict[str, Any] = {**NODE_CLASS_MAPPINGS}
Workflow = dict[str, tuple[str, dict[str, Any]]]


def validate(class_type: str, inputs: dict[str, Any], workflow: Workflow) -> dict[str, Any]:
    """What ComfyUI checks of a node in a workflow before it runs; the values, converted."""
    described = NODES[class_type].INPUT_TYPES()
    known = described["required"] | described.get("optional", {})
    assert set(described["required"]) <= set(inputs), "required inputs are missing"
    converted = {}
    for name, value in inputs.items():
        kind, options = known[name]
        if isinstance(value, list):
            source, index = value
            given = NODES[workflow[source][0]].RETURN_TYPES[index]
            assert given == kind, f"{name}: {given} is linked to {kind}"
        elif isinstance(kind, list):
            assert value in kind, f"{name}: {value} is none of {kind}"
        else:
            value = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}[kind](value)
            if kind in ("INT", "FLOAT") and "min" in options:
                assert options["min"] <= value <= options["max"]
        converted[name] = value
    return converted


def execute(workflow: Workflow) -> dict[str, tuple[Any, ...]]:
    """All nodes in their order, as ComfyUI's executor does."""
    outputs: dict[str, tuple[Any, ...]] = {}
    for id, (class_type, inputs) in workflow.items():
        values = validate(class_type, inputs, workflow)
        linked = {
            name: outputs[value[0]][value[1]] if isinstance(value, list) else value
            for name, value in values.items()
        }
        made = NODES[class_type]()
        with torch.inference_mode():
            outputs[id] = getattr(made, made.FUNCTION)(**linked)
        assert isinstance(outputs[id], tuple)
        assert len(outputs[id]) == len(made.RETURN_TYPES)
    return outputs


def widgets(class_type: str) -> dict[str, Any]:
    """A fresh node's values: ComfyUI fills in what has a default."""
    required = NODES[class_type].INPUT_TYPES()["required"]
    return {
        name: options["default"] for name, (_, options) in required.items() if "default" in options
    }


def workflow(clip: Clip, **path: Any) -> Workflow:
    name = "TrajectoryCrafter"
    return {
        "1": (f"{name}Load", widgets(f"{name}Load") | {"clip": str(clip.path), "size": "64 96"}),
        "2": (
            f"{name}Depth",
            widgets(f"{name}Depth") | {"frames": ["1", 0], "depth": f"file:{clip.depth_path}"},
        ),
        "3": (f"{name}Trajectory", widgets(f"{name}Trajectory") | {"frames": ["1", 0]} | path),
        "4": (
            f"{name}Render",
            widgets(f"{name}Render")
            | {"frames": ["1", 0], "depth": ["2", 0], "trajectory": ["3", 0]},
        ),
        "5": (f"{name}Generate", widgets(f"{name}Generate") | {"shot": ["4", 2]}),
    }


def test_a_workflow_makes_what_the_library_makes(clip: Clip) -> None:
    made = execute(workflow(clip))
    frames, fps = made["1"]
    assert frames.shape == (9, 64, 96, 3) and fps == clip.video.fps
    picture = made["2"][1]
    view, visible, _ = made["4"]
    assert picture.shape == view.shape == frames.shape
    assert visible.shape == (9, 64, 96) and set(visible.unique().tolist()) <= {0.0, 1.0}
    (result,) = made["5"]
    assert result.shape == frames.shape and result.dtype == torch.float32
    assert float(result.min()) >= 0 and float(result.max()) <= 1

    video = Video.read(clip.path)
    crafter = TrajectoryCrafter(depth=f"file:{clip.depth_path}")
    expected = crafter(video, preset("orbit-right", 9))
    torch.testing.assert_close(result, expected.video.frames.permute(0, 2, 3, 1))
    torch.testing.assert_close(view, expected.shot.view.frames.permute(0, 2, 3, 1))
    assert torch.equal(visible.bool(), expected.shot.view.visible[:, 0])


def test_paths_are_named_in_every_way(clip: Clip, tmp_path: Path) -> None:
    file = tmp_path / "path.txt"
    file.write_text("0 0\n0 12\n0 0\n")
    for path, azimuth in (
        ({"camera": "orbit-left"}, -10.0),
        ({"camera": "orbit-left", "amount": 4}, -4.0),
        ({"camera": "none", "target": "0 7 0 0 0"}, 7.0),
        ({"camera": "none", "trajectory": str(file)}, 12.0),
    ):
        made = execute(dict(list(workflow(clip, **path).items())[:3]))
        assert float(made["3"][0].azimuth_deg[-1]) == pytest.approx(azimuth)
    for path in ({"camera": "none"}, {"target": "0 7 0 0 0"}):
        with pytest.raises(ValueError, match="Expected one of"):
            execute(dict(list(workflow(clip, **path).items())[:3]))
    with pytest.raises(ValueError, match=r"Expected 5 numbers, got '1 2'"):
        execute(dict(list(workflow(clip, camera="none", target="1 2").items())[:3]))


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_nodes_are_described_as_comfyui_reads_them(name: str) -> None:
    made = NODES[name]
    described = json.loads(json.dumps(made.INPUT_TYPES()))  # it is sent to the browser
    assert set(described) <= {"required", "optional"}
    for kind, options in (described["required"] | described.get("optional", {})).values():
        assert isinstance(kind, str | list) and isinstance(options, dict)
        if isinstance(kind, list):
            assert options["default"] in kind
        linked = kind in ("IMAGE", "MASK") or str(kind).startswith("TRAJECTORYCRAFTER")
        assert ("default" in options) is not (linked or "forceInput" in options)
    assert all(isinstance(kind, str) for kind in made.RETURN_TYPES)
    assert len(made.RETURN_TYPES) == len(made.RETURN_NAMES)
    assert callable(getattr(made(), made.FUNCTION))
    assert made.DESCRIPTION.endswith(".") and made.CATEGORY == "TrajectoryCrafter"
    assert NODE_DISPLAY_NAME_MAPPINGS[name].startswith("TrajectoryCrafter: ")


def test_settings_are_inputs_with_their_defaults_and_choices() -> None:
    kinds = (ClipSettings, DepthSettings, CameraSettings, GeneratorSettings, MachineSettings)
    settings = {f.name: (f.default, get_type_hints(k)[f.name]) for k in kinds for f in fields(k)}
    described = [made.INPUT_TYPES() for made in NODES.values()]
    inputs = [item for groups in described for group in groups.values() for item in group.items()]
    widgets = {name: (kind, options) for name, (kind, options) in inputs if options}
    assert set(widgets) == set(settings) | {"clip"}
    assert widgets["camera"][0] == ["none", *PRESETS]
    for name, (default, hint) in settings.items():
        kind, options = widgets[name]
        literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
        choices = [choice for literal in literals for choice in get_args(literal)]
        assert not choices or kind == ["none"] * (default is None) + choices
        if default is None:
            shown = {"camera": "orbit-right", "mode": "none"}.get(name, "")
            assert "forceInput" in options or options["default"] == shown
        else:
            assert options["default"] == default


def test_a_changed_file_runs_again(clip: Clip, tmp_path: Path) -> None:
    file = tmp_path / "file"
    for name, key, prefix in (
        ("Load", "clip", ""),
        ("Depth", "depth", "file:"),
        ("Trajectory", "trajectory", ""),
        ("Render", "source", "file:"),
    ):
        made = NODES[f"TrajectoryCrafter{name}"]
        fresh = widgets(f"TrajectoryCrafter{name}")
        values = fresh | {key: f"{prefix}{file}"}
        file.write_text("1")
        before = made.IS_CHANGED(**values)
        assert made.IS_CHANGED(**values) == before
        os.utime(file, (1, 1))
        assert made.IS_CHANGED(**values) == str(10**9) != before
        file.unlink()
        assert made.IS_CHANGED(**values) == ""
        del values[key]  # as if it came from another node
        assert made.IS_CHANGED(**values) == made.IS_CHANGED(**{key: None}) == ""
        demo = str(DEMO_CLIP.stat().st_mtime_ns)
        assert made.IS_CHANGED(**fresh) == (demo if name == "Load" else "")


def test_images_are_turned_and_back() -> None:
    video = Video(torch.rand(2, 3, 4, 6), 24.0)
    image = image_of(video.frames)
    assert image.shape == (2, 4, 6, 3)
    assert torch.equal(video_of(image).frames, video.frames)
    with_alpha = torch.cat([image, torch.zeros(2, 4, 6, 1)], 3)
    assert torch.equal(video_of(with_alpha).frames, video.frames)
    with pytest.raises(ValueError, match=r"shape T H W 3, got \(2, 4, 6\)"):
        video_of(image[..., 0])
