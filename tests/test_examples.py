"""Every example and the README's snippet run; the examples stay short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60
    done = subprocess.run(
        [sys.executable, str(path), str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir())


def test_readme_snippet_runs(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    snippet = re.search(r"```python\n(.*?)```", readme, re.S)
    assert snippet is not None
    code = snippet[1].replace("clip.mp4", str(demo_short(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reshot.mp4").exists()


def demo_short(folder: Path) -> Path:
    """Three small frames of the shipped clip, as a file."""
    from trajectorycrafter.video.clip import Video
    from trajectorycrafter.video.reading import FrameChoice, demo_clip

    choice = FrameChoice(count=3, stride=4, size=(96, 160))
    return Video.read(demo_clip(), choice).write(folder / "clip.mp4")
