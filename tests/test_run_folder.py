"""Whose a run's folder is, and that what was whole in it stays whole."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from trajectorycrafter.runtime.files import JsonLines, write_text
from trajectorycrafter.runtime.run_folder import (
    RunFolder,
    check_inputs,
    claim,
    opened,
    settle,
    unfinished,
)

OURS = ("run.json", "video.mp4", "old.txt", "media", "shard-*.tar")


def begin(out: Path, value: int = 1, **how: Any) -> RunFolder:
    return claim(out, "run.json", {"seed": value, "log": 1}, ours=OURS, held="a run", **how)


def write(folder: Path, words: str, names: tuple[str, ...]) -> None:
    for name in names:
        write_text(words, folder / name)


def contents(out: Path) -> dict[str, str]:
    paths = [path for path in out.rglob("*") if path.is_file()]
    return {str(path.relative_to(out)): path.read_text() for path in paths if path.name[0] != "."}


def earlier(out: Path) -> dict[str, str]:
    """A whole result of another run, and a stranger's file."""
    folder = begin(out)
    write(folder.work, "old", ("video.mp4", "old.txt", "media/a", "shard-1.tar"))
    folder.finish()
    write_text("mine", out / "mine.txt")
    return contents(out)


def test_results_take_their_place_together(tmp_path: Path) -> None:
    before = earlier(tmp_path)
    folder = begin(tmp_path, 2, overwrite=True)
    write(folder.work, "new", ("video.mp4", "media/b", "shard-1.tar"))
    write_text("a stage", folder.stages / "depth")
    now = contents(tmp_path)
    assert {name: now[name] for name in before} == before
    folder.finish()
    assert {n: w for n, w in contents(tmp_path).items() if n != "run.json"} == {
        "video.mp4": "new",
        "media/b": "new",
        "shard-1.tar": "new",
        "mine.txt": "mine",
    }
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("calls", range(12))
def test_a_swap_that_is_killed_anywhere_is_completed(
    tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, left, real = earlier(tmp_path), [calls], os.replace
    folder = begin(tmp_path, 2, overwrite=True)
    write(folder.work, "new", ("video.mp4", "media/b", "shard-1.tar"))

    def dying(source: Path, target: Path) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", dying)
        with suppress(KeyboardInterrupt):
            folder.finish()
    decided = not (tmp_path / ".partial").exists()
    settle(tmp_path)
    now = contents(tmp_path)
    if decided:
        assert sorted(now) == ["media/b", "mine.txt", "run.json", "shard-1.tar", "video.mp4"]
        assert now["video.mp4"] == now["media/b"] == now["shard-1.tar"] == "new"
    else:
        assert {name: now[name] for name in before} == before


def test_a_failed_run_leaves_what_was_there(tmp_path: Path) -> None:
    before = earlier(tmp_path / "taken")
    begin(tmp_path / "taken", 2, overwrite=True).discard()
    assert contents(tmp_path / "taken") == before
    begin(tmp_path / "new").discard()
    assert not (tmp_path / "new").exists()


def test_who_may_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to resume"):
        begin(tmp_path / "a", resume=True)
    begin(tmp_path / "a")
    assert unfinished(tmp_path / "a", "run.json") == {"seed": 1, "log": 1}
    with pytest.raises(ValueError, match="was stopped. Use --resume"):
        begin(tmp_path / "a")
    with pytest.raises(ValueError, match="other settings: seed was 1 and is 2"):
        begin(tmp_path / "a", 2, resume=True)
    assert begin(tmp_path / "a", resume=True).work == opened(tmp_path / "a")
    begin(tmp_path / "a", resume=True).finish()
    assert begin(tmp_path / "a", resume=True).work == tmp_path / "a"
    with pytest.raises(ValueError, match="is not empty"):
        begin(tmp_path / "a")
    (tmp_path / "a" / "run.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        begin(tmp_path / "a", resume=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file"):
        begin(tmp_path / "file", overwrite=True)


def test_inputs_are_not_outputs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("video.mp4", "media/0.mp4", "shard-000001.tar", ".partial/x"):
        with pytest.raises(ValueError, match="would replace"):
            check_inputs([tmp_path / "other", out], OURS, [out / name])
    with pytest.raises(ValueError, match="would replace"):
        check_inputs([out], OURS, [out])
    check_inputs([out], OURS, [tmp_path, out / "mine.mp4", tmp_path / "video.mp4"])


def test_a_log_survives_a_kill(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    assert log.read() == []
    log.add({"step": 1})
    log.add({"step": 2, "word": "Größe"})
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"step": 3, "wo')
    assert log.read() == [{"step": 1}, {"step": 2, "word": "Größe"}]
    log.add({"step": 3})
    assert [line["step"] for line in log.read()] == [1, 2, 3]
    assert log.path.read_bytes().startswith(whole)
