"""Imports go down only: read from the source text, so that lazy imports count too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "trajectorycrafter"
LAYER = {
    "geometry": 0, "config": 0, "runtime": 0, "video": 0,
    "rendering": 1,
    "depth": 2, "source_cameras": 2, "model": 2,
    "job": 3,
    "comfyui": 4, "studio": 4, "lab": 4,
    "cli": 5,
}  # fmt: skip
# The two rooms of a layer that stand on their neighbors; nothing else imports sideways.
SIDEWAYS = {"video": {"geometry", "runtime"}, "config": {"runtime"}}
# The jobs build on each other in this order.
JOBS = [
    "manifest",
    "generation",
    "plan",
    "pipeline",
    "reshoot",
    "batch",
    "doctor",
]
# Which folders of the lab each may use, and the highest layer outside the lab.
LAB = {
    "samples": (set(), 1),
    "synthetic": (set(), 1),
    "curation": ({"samples", "synthetic"}, 3),
    "training": ({"samples", "synthetic"}, 3),
    "evaluation": ({"samples", "synthetic"}, 3),
}
# Imports against these rules, (file, module) each with its reason.
EXCEPTIONS: set[tuple[str, str]] = set()
ALLOWED = {
    "diffusers": {"depth", "model", "lab/training"},
    "accelerate": {"lab/training", "model"},
    "webdataset": set(),
    "pyarrow": {"lab/samples"},
    "transformers": {"depth", "model", "lab/evaluation", "lab/training"},
    "cattrs": {"runtime/files"},
    "tyro": {"cli"},
    "torchvision": set(),
    "decord": set(),
    "viser": {"studio"},
    "websockets": {"studio"},
    "ray": {"runtime/engine"},
    "pycolmap": {"source_cameras"},
    "jinja2": {"runtime/pages"},
    "av": {"video"},
    "numba": {"rendering", "lab/synthetic"},
    "moderngl": {"lab/synthetic"},
    "trimesh": {"lab/synthetic"},
    "matplotlib": {"video/pictures"},
}


def place(path: Path) -> tuple[str, ...]:
    """The names that lead to the file inside the package: room, module or folder, ..."""
    return path.relative_to(PACKAGE).with_suffix("").parts


def imports(path: Path) -> set[str]:
    """Every module that a file names, ours as absolute dotted names."""
    found = set()
    package = ("trajectorycrafter", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def allowed(me: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the file at `me` may import what lies at `other`."""
    if other[0] not in LAYER:
        return True
    if me[0] != other[0]:
        roof = LAB[me[1]][1] + 1 if me[0] == "lab" and me[1] in LAB else LAYER[me[0]]
        return LAYER[other[0]] < roof or other[0] in SIDEWAYS.get(me[0], ())
    if len(me) < 2 or len(other) < 2 or me[1] == other[1]:
        return True
    if me[0] == "job" and other[1] in JOBS:
        return JOBS.index(other[1]) < JOBS.index(me[1])
    if me[0] == "lab" and other[1] in LAB:
        return other[1] in LAB[me[1]][0]
    return True


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts != ("__init__.py",))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    file = path.relative_to(PACKAGE).as_posix()
    for name in imports(path):
        if name.startswith("trajectorycrafter.") and (file, name) not in EXCEPTIONS:
            assert allowed(place(path), tuple(name.split(".")[1:])), f"{file} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_stay_behind_their_file(path: Path) -> None:
    here = "/".join(place(path))
    for name in imports(path):
        owners = ALLOWED.get(name.split(".")[0])
        at_home = owners is None or any(f"{here}/".startswith(f"{owner}/") for owner in owners)
        assert at_home, f"{path.relative_to(PACKAGE)} imports {name}"


def test_every_file_has_a_layer() -> None:
    places = {place(path) for path in FILES}
    assert {names[0] for names in places} <= set(LAYER)
    assert {names[1] for names in places if names[0] == "job"} <= {"__init__", *JOBS}
    assert {names[1] for names in places if names[0] == "lab"} <= {"__init__", *LAB}


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, trajectorycrafter, trajectorycrafter.cli\n"
        "import trajectorycrafter.config.redirect, trajectorycrafter.config.curation\n"
        "import trajectorycrafter.config.training, trajectorycrafter.config.training_presets\n"
        "bad = {'torch', 'diffusers', 'transformers', 'numba', 'cv2', 'av'} & set(sys.modules)\n"
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
