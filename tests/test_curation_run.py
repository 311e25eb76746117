"""Whole runs: every source to shards and card, killed and resumed, by several workers."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from curation_trees import (
    write_dl3dv,
    write_folder,
    write_openvid,
    write_posed,
    write_realestate10k,
)

from trajectorycrafter.config.curation import (
    Curation,
    HoleSettings,
    SceneSettings,
    Source,
    TripletSettings,
    WindowSettings,
)
from trajectorycrafter.lab.curation.run import check_settings, curate
from trajectorycrafter.lab.samples import SampleDataset, read_index, read_sample
from trajectorycrafter.runtime.engine import Engine
from trajectorycrafter.runtime.run_folder import WORK
from trajectorycrafter.video.clip import Video

QUICK = Curation(
    "folder",
    window=WindowSettings(frames=5, size=(32, 48)),
    hole=HoleSettings((0.02, 0.85), tries=8),
    memory=2,
    reference=3,
    per_shard=4,
    device="cpu",
)
SCENES = replace(QUICK, source="synthetic", scene=SceneSettings(scenes=9, rays=1), seed=2)


def quiet(line: str) -> None:
    """Where `say` goes."""


def clips(source: Source, data: Path, **changes: Any) -> Curation:
    made = replace(QUICK, source=source, data=data, depth="curation_trees:flat_depth")
    return replace(made, **changes)


def posed(source: Source, data: Path, **changes: Any) -> Curation:
    triplet = TripletSettings(overlap=(0.4, 1.0), sequence=3.6)
    window = WindowSettings(frames=5, size=(72, 96))
    made = clips(source, data, depth="curation_trees:room_depth", triplet=triplet, window=window)
    return replace(made, **changes)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over scenes that nothing disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    done = curate(SCENES, folder, say=quiet)
    assert not done.failed
    return folder


def assert_same(a: Path, b: Path) -> None:
    """The same samples, each once, bit for bit, in whatever shards."""
    rows = [read_index(folder).to_pylist() for folder in (a, b)]
    place = ("shard", "offset", "bytes")
    plain = [[{k: v for k, v in row.items() if k not in place} for row in r] for r in rows]
    assert plain[0] == plain[1]
    for one, other in zip(*rows):
        first, second = read_sample(a, one), read_sample(b, other)
        assert first.info == second.info
        assert torch.equal(first.target.frames, second.target.frames)
        assert torch.equal(first.render.frames, second.render.frames)
        assert torch.equal(first.render.visible, second.render.visible)
    metadata = [read_index(folder).schema.metadata[b"rejected"] for folder in (a, b)]
    assert metadata[0] == metadata[1]


def test_scenes(unbroken: Path) -> None:
    table = read_index(unbroken)
    rows = table.to_pylist()
    rejected = json.loads(table.schema.metadata[b"rejected"])
    assert len(rows) + sum(rejected.values()) == 9
    assert {row["kind"] for row in rows} == {"dynamic", "static"}
    assert {row["licence"] for row in rows} == {"Apache-2.0"}
    assert all(0.02 <= row["hole_share"] <= 0.85 for row in rows)
    sample = next(iter(SampleDataset(unbroken)))
    assert sample.target.frames.shape == (5, 3, 32, 48)
    assert len(sample.reference) == 3
    assert sample.memory is not None


def test_the_card_shows_the_distribution_and_the_samples(unbroken: Path, tmp_path: Path) -> None:
    page = (unbroken / "card.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 8
    assert "share of pixels that are hole" in page
    assert "http" not in page.replace("http-equiv", "")  # needs no network
    assert page.count("<rect") >= 4
    wanted = replace(
        SCENES,
        hole=HoleSettings((0.1, 0.5), (1, 2, 1), tries=10),
        scene=replace(SCENES.scene, scenes=2),
        captioner="fixed:<b>bold & “quoted”</b>",
    )
    curate(wanted, tmp_path, say=quiet)
    page = (tmp_path / "card.html").read_text()
    assert '<polyline class="wanted"' in page and "broken line: wanted" in page
    assert "&lt;b&gt;bold &amp; “quoted”" in page and "<b>bold" not in page


def test_a_folder(tmp_path: Path) -> None:
    settings = clips("folder", write_folder(tmp_path / "x"))
    done = curate(settings, tmp_path / "out", say=quiet)
    rows = {row["clip"]: row for row in read_index(tmp_path / "out").to_pylist()}
    assert set(rows) == {"film.mp4", "stills/", "sub/loop.gif", "sub/loop.webp"}
    assert rows["film.mp4"]["caption"] == "a drifting pattern"
    assert rows["film.mp4"]["motion"] > 0.5
    expected = {"blank": 2, "cut": 1, "short": 1, "still": 2, "unreadable": 1}  # windows
    assert done.rejected == expected
    page = (tmp_path / "out" / "card.html").read_text()
    assert all(f"<td>{reason}</td>" in page for reason in expected)


def test_references_from_around_the_window(tmp_path: Path) -> None:
    """They show nothing that is in the target."""
    settings = clips("folder", write_folder(tmp_path / "x"), reference_from="around", reference=5)
    curate(settings, tmp_path / "out", say=quiet)
    rows = read_index(tmp_path / "out").to_pylist()
    assert {row["clip"] for row in rows} == {"film.mp4", "stills/", "sub/loop.gif", "sub/loop.webp"}
    for row in rows:
        sample = read_sample(tmp_path / "out", row)
        assert len(sample.reference) == 5
        apart = torch.cdist(sample.reference.frames.flatten(1), sample.target.frames.flatten(1))
        assert float(apart.min()) > 0.5
    plain = clips("folder", tmp_path / "x")
    curate(plain, tmp_path / "plain", say=quiet)
    sample = read_sample(tmp_path / "plain", read_index(tmp_path / "plain").to_pylist()[0])
    assert torch.equal(sample.reference.frames, sample.target.frames[:3])


def test_openvid(tmp_path: Path) -> None:
    settings = clips("openvid", write_openvid(tmp_path / "x"), least_scores={"aesthetic": 5.0})
    done = curate(settings, tmp_path / "out", say=quiet)
    rows = read_index(tmp_path / "out").to_pylist()
    assert len(rows) == 3 and done.rejected == {"missing": 1, "score": 1}
    assert json.loads(rows[0]["scores"])["aesthetic"] == 5.5
    assert rows[0]["provenance"].startswith("OpenVid-1M, flatVid-x_2")


@pytest.mark.parametrize(
    ("source", "write", "count"),
    [
        ("realestate10k", write_realestate10k, 2),
        ("dl3dv", write_dl3dv, 2),
        ("posed", write_posed, 1),
    ],
)
def test_posed_sources(
    tmp_path: Path, source: Source, write: Callable[[Path], Path], count: int
) -> None:
    settings = posed(source, write(tmp_path / "x"))
    done = curate(settings, tmp_path / "out", say=quiet)
    rows = read_index(tmp_path / "out").to_pylist()
    assert len(rows) == count, done
    for row in rows:
        sample = read_sample(tmp_path / "out", row)
        assert (row["kind"], row["recipe"]) == ("static", "segments")
        error = (sample.render.frames - sample.target.frames).abs().mean(dim=1, keepdim=True)
        assert float(error[sample.render.visible].mean()) < 0.09
        assert 0.4 <= sample.info["overlap"] <= 1


def test_triplets_of_a_folder_by_a_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    from curation_trees import room

    room().video.write(tmp_path / "x" / "hall.mp4", crf=4)
    settings = posed("folder", tmp_path / "x", kind="static")
    triplet = replace(settings.triplet, geometry="curation_trees:room_geometry")
    settings = replace(settings, triplet=triplet)
    done = curate(settings, tmp_path / "out", say=quiet)
    assert done.samples == 1, done
    assert read_index(tmp_path / "out").to_pylist()[0]["kind"] == "static"


# ------------------------------------------------------------------------------- stops and goes


def run_until(folder: Path, lines: int, workers: int) -> None:
    """A run in a process of its own, killed when so many clips are done."""
    script = folder.parent / "main.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        from test_curation_run import SCENES
        from trajectorycrafter.lab.curation.run import curate
        if __name__ == "__main__":
            curate(SCENES, {str(folder)!r}, workers={workers})
        """)
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, script], env=environment)
    log = folder / WORK / "clips.jsonl"
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_bytes().count(b"\n") < lines:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()


def test_a_killed_run_resumes_without_loss_or_duplicates(tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / "out"
    run_until(folder, 3, workers=1)
    before = len((folder / WORK / "clips.jsonl").read_text().splitlines())
    assert 3 <= before < 9
    assert [path.name for path in folder.iterdir()] == [WORK]
    done = curate(SCENES, folder, resume=True, say=quiet)
    assert 0 < done.made <= 9 - before + 1
    assert_same(folder, unbroken)
    lines = [json.loads(line) for line in (folder / "clips.jsonl").read_text().splitlines()]
    assert len(lines) == 9 == len({line["clip"] for line in lines})


def test_lost_lines_and_torn_shards_are_made_good(tmp_path: Path, unbroken: Path) -> None:
    """Whatever of the log or of the open shard a power cut takes."""
    shutil.copytree(unbroken, tmp_path, dirs_exist_ok=True)
    log = tmp_path / "clips.jsonl"
    log.write_bytes(log.read_bytes()[:-130])  # the last lines, one of them torn
    last = sorted(tmp_path.glob("shard-*.tar"))[-1]
    data = last.read_bytes()
    last.with_name(f".partial.{last.name}").write_bytes(data[: len(data) // 3])
    last.unlink()
    (tmp_path / "index.parquet").unlink()
    curate(SCENES, tmp_path, resume=True, say=quiet)
    assert_same(tmp_path, unbroken)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_workers_do_not_change_the_samples(
    tmp_path: Path, unbroken: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    # Ray's actors are slow to start, and one of them says as much as two.
    workers = 2 if engine == "local" else 1
    curate(SCENES, tmp_path, engine=engine, workers=workers, say=quiet)
    assert_same(tmp_path, unbroken)


def test_a_failure_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = clips("folder", write_folder(tmp_path / "x"), depth="test_curation_run:broken_depth")
    said = []
    done = curate(settings, tmp_path / "out", say=said.append)
    assert set(done.failed) == {"film.mp4", "stills/", "sub/loop.gif", "sub/loop.webp"}
    assert "4 failed, the first being film.mp4: OSError: out of order" in said[0]
    monkeypatch.setattr(sys.modules[__name__], "BROKEN", False)
    done = curate(settings, tmp_path / "out", resume=True, say=quiet)
    assert (done.samples, done.made, done.failed) == (4, 4, {})


BROKEN = True


def broken_depth(video: Video):
    """Fails until it is repaired."""
    from curation_trees import flat_depth

    if BROKEN:
        raise OSError("out of order")
    return flat_depth(video)


def test_folders_of_others_are_left_alone(tmp_path: Path, unbroken: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        curate(SCENES, tmp_path)
    with pytest.raises(ValueError, match="nothing to resume"):
        curate(SCENES, tmp_path / "none", resume=True)
    with pytest.raises(ValueError, match="with other settings: seed"):
        curate(replace(SCENES, seed=1), unbroken, resume=True)
    few = replace(SCENES, scene=replace(SCENES.scene, scenes=1))
    curate(few, tmp_path, overwrite=True, say=quiet)
    assert (tmp_path / "thesis.tex").exists()
    assert len(read_index(tmp_path)) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(SCENES, kind="static"), "give both kinds"),
        (Curation("folder", kind="static"), "have no cameras"),
        (Curation("dl3dv", kind="dynamic"), "gives triplets"),
        (Curation("folder", memory=-1), "memory is at least 0"),
        (Curation("folder", window=WindowSettings(frames=1)), "frames is at least 2"),
        (Curation("folder", least_scores={"aesthetic": 1.0}), "source openvid"),
        (Curation("folder", hole=HoleSettings((0.5, 0.1))), "two shares"),
        (replace(SCENES, scene=SceneSettings(recipes=(0.0, 0.0, 0.0))), "recipes are frequencies"),
    ],
)
def test_settings_that_cannot_be_are_told_at_once(settings: Curation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_settings(settings)
