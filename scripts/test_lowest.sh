#!/bin/sh
# A fast part of the tests with the lowest versions that pyproject.toml allows, in .venv-lowest.
#
#   TORCH         torch's pin; the default is that of constraints.txt, as a range would resolve to one
#                 older than the tests' other packages know
#   UV_FIND_LINKS a folder of wheels, for a torch that no index has
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=.venv-lowest
TORCH=${TORCH:-$(grep '^torch==' constraints.txt)}

"$PYTHON" -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet uv
export VIRTUAL_ENV="$PWD/$VENV"
# The tools of the tests are pinned: what is looked for is what a user's environment may hold.
grep -E '^(beartype|hypothesis|pytest|pytest-xdist|scikit-image)==' constraints.txt > "$VENV/tools.in"
echo "$TORCH" >> "$VENV/tools.in"
# Only wheels: where the lowest version has none for this Python, the lowest that has one is taken.
"$VENV/bin/uv" pip compile --quiet --resolution lowest-direct --only-binary :all: \
  --python "$VENV/bin/python" --extra studio --extra train --extra eval \
  pyproject.toml "$VENV/tools.in" --output-file "$VENV/lowest.txt"
"$VENV/bin/uv" pip install --quiet --requirement "$VENV/lowest.txt"
"$VENV/bin/uv" pip install --quiet --no-deps --editable .

"$VENV/bin/python" - <<'PYTHON'
import importlib
import pkgutil

import trajectorycrafter

OPTIONAL = {"moderngl", "trimesh"}
for module in pkgutil.walk_packages(trajectorycrafter.__path__, "trajectorycrafter."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
PYTHON
for name in cameras transforms trajectories trajectory_files pivot video render splatting point_cloud \
  completion transformer sampling released_layout codec embedded_video depth_embedded \
  depth_huggingface depthcrafter captioning reshoot manifest plan; do
  set -- "$@" "tests/test_$name.py"
done
CI=true "$VENV/bin/python" -m pytest "$@"
