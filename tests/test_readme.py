"""Every command and snippet that the README prints works, on small data."""

import re
import shlex
from pathlib import Path

import pytest

from trajectorycrafter import Video, preset, write_trajectory
from trajectorycrafter.cli import run
from trajectorycrafter.video.reading import DEMO_CLIP, FrameChoice

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "docs/use/redirect.md"]
SMALL = ["--frames", "3", "--size", "96", "160"]


def blocks(page: Path, language: str = "") -> list[str]:
    """A page's fenced blocks of one language; without one, those of the shell."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S)
    return [text for name, text in found if name == language]


def commands(page: Path) -> list[list[str]]:
    """The lines of a page's shell blocks as words, comments left out."""
    lines = [line for block in blocks(page) for line in block.splitlines()]
    programs = ("make ", "trajectorycrafter ")
    return [shlex.split(line, comments=True) for line in lines if line.startswith(programs)]


@pytest.fixture
def material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages name: a clip of three small frames, a manifest, a path."""
    monkeypatch.chdir(tmp_path)
    choice = FrameChoice(count=3, stride=4, size=(96, 160))
    Video.read(DEMO_CLIP, choice).write(tmp_path / "clip.mp4")
    (tmp_path / "clips.csv").write_text("clip,trajectory\nclip.mp4,orbit-right\n")
    write_trajectory(preset("arc", 3), tmp_path / "path.json")
    return tmp_path


def test_printed_commands_work(material: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # What both pages print runs once; the lines follow each other in one folder, as a reader types.
    printed = dict.fromkeys(tuple(words) for page in PAGES for words in commands(page))
    ours = [words for program, *words in printed if program == "trajectorycrafter"]
    assert len(ours) >= 7
    for words in ours:
        code = run([*words, *([] if words == ["doctor"] else SMALL)])
        assert code == 0, f"{' '.join(words)}: {capsys.readouterr().err}"
        if "--out" in words:
            assert list(Path(words[words.index("--out") + 1]).rglob("*.mp4"))


def test_printed_targets_of_make_are_there() -> None:
    rules = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    printed = [words[1] for words in commands(README) if words[0] == "make"]
    assert {"demo", "test"} <= set(printed) <= set(rules)
    assert set(re.findall(r"`make ([\w-]+)`", README.read_text())) <= set(rules)


def test_the_snippet_runs(material: Path) -> None:
    (snippet,) = blocks(README, "python")
    exec(compile(snippet, "README.md", "exec"), {})
    assert (material / "reshot.mp4").exists()


def test_the_tree_has_every_room() -> None:
    package = ROOT / "src" / "trajectorycrafter"
    rooms = {p.name for p in package.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert set(re.findall(r"^[├└]── (\w+)/", README.read_text(), re.M)) == rooms
