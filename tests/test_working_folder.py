"""Nothing depends on what lies in the folder that a command, or the tests, run from."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MISLEADING = (
    *("demo", "fill", "embedded", "5b", "static", "colmap", "orbit-right", "blip2", "auto"),
    *("clip", "depth.npz", "trajectory.json", "out", "tests", "src", "trajectorycrafter", "cpu"),
    *("render, released", "exact", "psnr", "tiny-stage1", "folder", "synthetic"),
)


def test_the_tests_pass_from_a_folder_full_of_misleading_names(tmp_path: Path) -> None:
    for name in MISLEADING:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thing.txt").write_text("not what you look for")
    chosen = ("manifest", "comfyui", "plan", "trajectories", "training_stages", "evaluate_command")
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in chosen]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        + ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
