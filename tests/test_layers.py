"""Imports go down only: read from the source text, so that lazy imports count too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "trajectorycrafter"
LAYER = {
    "geometry": 0, "video": 0, "video_files": 0, "video_writing": 0,
    "files": 0, "run_folder": 0, "engine": 0, "config": 0, "machine": 0, "plugins": 0,
    "released": 0,
    "rendering": 1, "synthetic": 1, "pictures": 1, "samples": 1,
    "depth": 2, "source_cameras": 2, "captioning": 2, "model": 2,
    "stages": 3, "shot": 3, "pipeline": 3, "generation": 3, "reshoot": 3, "plan": 3, "doctor": 3,
    "manifest": 3, "batch": 3,
    "evaluation": 4, "curation": 4, "training": 4,
    "studio": 5, "comfyui": 5,
    "cli": 6,
}  # fmt: skip
# The jobs of layer 3 build on each other in this order; nothing else imports sideways.
JOBS = [
    "stages",
    "plan",
    "manifest",
    "shot",
    "generation",
    "pipeline",
    "reshoot",
    "batch",
    "doctor",
]
ALLOWED = {
    "diffusers": {"depth", "model", "training"},
    "accelerate": {"training", "model"},
    "webdataset": set(),
    "pyarrow": {"samples"},
    "transformers": {"depth", "model", "captioning", "evaluation", "training"},
    "tyro": {"cli"},
    "torchvision": set(),
    "decord": set(),
    "viser": {"studio"},
    "websockets": {"studio"},
    "ray": {"engine"},
    "pycolmap": {"source_cameras"},
    "av": {"video_files", "video_writing"},
    "numba": {"rendering", "synthetic"},
    "moderngl": {"synthetic"},
    "trimesh": {"synthetic"},
    "torchmetrics": set(),
    "matplotlib": {"pictures"},
}


def part(path: Path) -> str:
    """The top-level name of the file inside the package."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


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


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts != ("__init__.py",))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    me = part(path)
    for name in imports(path):
        if not name.startswith("trajectorycrafter."):
            continue
        other = name.split(".")[1]
        if other == me or other not in LAYER:
            continue
        if me in JOBS and other in JOBS:
            assert JOBS.index(other) < JOBS.index(me), f"{path.name} imports {name}"
        elif LAYER[me] in (0, 1) and LAYER[other] == LAYER[me]:
            continue
        else:
            assert LAYER[other] < LAYER[me], f"{path.name} (layer {LAYER[me]}) imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_stay_behind_their_file(path: Path) -> None:
    for name in imports(path):
        owners = ALLOWED.get(name.split(".")[0])
        assert owners is None or part(path) in owners, f"{path} imports {name}"


def test_every_file_has_a_layer() -> None:
    assert {part(path) for path in FILES} <= set(LAYER)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, trajectorycrafter, trajectorycrafter.config, trajectorycrafter.cli\n"
        "bad = {'torch', 'diffusers', 'transformers', 'numba', 'cv2', 'av'} & set(sys.modules)\n"
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
