"""Manifests: what a line may say, and that all that is wrong is told at once."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectorycrafter.config.redirect import CameraSettings, GeneratorSettings, RedirectSettings
from trajectorycrafter.job.manifest import COLUMNS, Job, read_manifest, write_manifest
from trajectorycrafter.video.reading import DEMO_CLIP

CURVES = "0 0 0\n0 10 20\n0 0 0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files to name; a manifest opens none but the trajectory."""
    for name in ("a.mp4", "b.mp4", "truth.mp4", "made.mp4", "depth.npz"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "path.txt").write_text(CURVES)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.mp4").write_bytes(b"x")
    return tmp_path


def read(folder: Path, text: str, name: str = "m.csv") -> list[Job]:
    (folder / name).write_text(text)
    return read_manifest(folder / name)


def problems(folder: Path, text: str, name: str = "m.csv") -> str:
    with pytest.raises(ValueError) as error:
        read(folder, text, name)
    return str(error.value)


def test_a_line_of_every_kind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # paths count from the manifest
    jobs = read(
        folder,
        "clip,trajectory,prompt,name,target,depth,result,row\n"
        "a.mp4,orbit-right,,,,,,\n"
        'a.mp4,orbit-right:20,"a cat, running",cat,truth.mp4,file:depth.npz,,ours\n'
        "\n"
        "b.mp4,0 -30 0.3 0 0,,,,,,\n"
        "b.mp4,path.txt,,,,,,\n"
        "demo,,,,,,made.mp4,GCD\n",
    )
    assert [job.line for job in jobs] == [2, 3, 5, 6, 7]
    plain, full, numbers, file, result = jobs
    assert (plain.clip, plain.preset, plain.amount) == (folder / "a.mp4", "orbit-right", None)
    assert (full.amount, full.prompt, full.name) == (20.0, "a cat, running", "cat")
    assert (full.target, full.depth, full.row) == (
        folder / "truth.mp4",
        f"file:{folder / 'depth.npz'}",
        "ours",
    )
    assert numbers.numbers == (0, -30, 0.3, 0, 0)
    assert file.trajectory == folder / "path.txt"
    assert (result.clip, result.result, result.path_text) == (DEMO_CLIP, folder / "made.mp4", "")


def test_jsonl_says_the_same(folder: Path) -> None:
    lines = [
        {"clip": "a.mp4", "trajectory": [0, -30, 0.3, 0, 0]},
        {"clip": "a.mp4", "trajectory": "dolly-in:0.5", "prompt": None, "name": 7},
    ]
    jobs = read(folder, "\n".join(map(json.dumps, lines)) + "\n\n", "m.jsonl")
    assert jobs[0].numbers == (0, -30, 0.3, 0, 0)
    assert (jobs[1].amount, jobs[1].prompt, jobs[1].name) == (0.5, None, "7")


def test_names_are_made_unique_and_given_ones_are_kept(folder: Path) -> None:
    jobs = read(
        folder,
        "clip,trajectory,name\na.mp4,orbit-right,\nsub/a.mp4,orbit-right,\n"
        "a.mp4,orbit-right,a-orbit-right\nb.mp4,0 1 -0.5 0 0,\nb.mp4,path.txt,\nb.mp4,spiral:4,\n",
    )
    assert [job.name for job in jobs] == [
        "a-orbit-right-2",
        "a-orbit-right-3",
        "a-orbit-right",
        "b-0_1_-0.5_0_0",
        "b-path",
        "b-spiral-4",
    ]


def test_every_bad_line_is_told_with_its_number(folder: Path) -> None:
    said = problems(
        folder,
        "clip,trajectory,depth,name\n"
        "a.mp4,orbit-rigth,,\n"
        "gone.mp4,gone.txt,,\n"
        ",spiral,,\n"
        "a.mp4,1 2 3,embeded,\n"
        "a.mp4,orbit-left:far,,same\n"
        "a.mp4,zoom-in:-1,,SAME\n"
        "a.mp4,0 nan 0 0 0,file:none.npz,../up\n"
        "a.mp4,spiral,,,more,fields\n"
        "a.mp4,spiral,,fine\n",
    )
    for line, words in {
        2: "orbit-right",
        3: "gone.mp4",
        4: "no clip",
        5: "five finite numbers",
        6: "got 'far'",
        7: "also that of line 6",
        8: "none.npz",
        9: "6 fields under 4 columns",
    }.items():
        assert any(f"line {line}: " in told and words in told for told in said.splitlines()), said
    assert "line 3: trajectory" in said
    assert "Did you mean embedded?" in said
    assert "'../up'" in said
    assert "line 10" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clip,trajectroy\na.mp4,spiral\n", "did you mean 'trajectory'"),
        ("file,trajectory\na.mp4,spiral\n", "no column 'clip'"),
        ("clip;trajectory\na.mp4;spiral\n", "separated by commas"),
        ("clip,clip\na.mp4,a.mp4\n", "twice"),
        ("clip,trajectory\n", "no lines"),
        ("", "is empty"),
        ('clip\n"a.mp4\n', "line 2: not csv"),
        ("clip,name\na.mp4,batch.json\n", "record"),
    ],
)
def test_a_csv_that_is_none(folder: Path, text: str, words: str) -> None:
    assert words in problems(folder, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clip: a.mp4\n", "line 1: not JSON"),
        ('["a.mp4"]\n', "expected an object"),
        ('{"clip": "a.mp4"}\n{"clip": ["a.mp4"]}\n', "line 2: clip: expected text"),
        ('{"clip": "a.mp4", "camera": "spiral"}\n', "unknown column 'camera'"),
        ('{"clip": "a.mp4", "trajectory": true}\n', "line 1: trajectory"),
    ],
)
def test_a_jsonl_that_is_none(folder: Path, text: str, words: str) -> None:
    assert words in problems(folder, text, "m.jsonl")


def test_the_manifest_itself(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no manifest"):
        read_manifest(folder / "none.csv")
    with pytest.raises(ValueError, match="ends with .csv or .jsonl"):
        read_manifest(folder / "path.txt")
    (folder / "latin.csv").write_bytes("clip\ncaf\xe9.mp4\n".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8"):
        read_manifest(folder / "latin.csv")
    (folder / "bom.csv").write_text("clip,trajectory\r\na.mp4,spiral\r\n", encoding="utf-8-sig")
    assert read_manifest(folder / "bom.csv")[0].preset == "spiral"


def test_a_damaged_trajectory_file_is_told_before_work(folder: Path) -> None:
    (folder / "path.txt").write_text("0 one\n")
    assert "path.txt" in problems(folder, "clip,trajectory\na.mp4,path.txt\n")


def test_a_line_takes_the_place_of_the_common_settings() -> None:
    common = RedirectSettings(
        camera=CameraSettings(camera="spiral", amount=3, ease=True),
        generator=GeneratorSettings(prompt="all", steps=7),
    )
    job = Job(Path("a.mp4"), "a", numbers=(0, 1, 0, 0, 0), prompt="mine", depth="depthcrafter")
    own = job.settings(common)
    assert own.camera == CameraSettings(target=(0, 1, 0, 0, 0), ease=True)
    assert (own.generator.prompt, own.generator.steps) == ("mine", 7)
    assert own.depth.depth == "depthcrafter"
    assert Job(Path("a.mp4"), "a").settings(common) == common


words = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20)
texts = words.map(str.strip).filter(bool)
finite = st.floats(-1e6, 1e6)
paths = st.one_of(
    st.fixed_dictionaries({"preset": st.just("orbit-left"), "amount": st.none() | finite}),
    st.fixed_dictionaries({"numbers": st.tuples(*[finite] * 5)}),
    st.just({}),
)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@settings(max_examples=40, deadline=None)
@given(lines=st.lists(st.tuples(paths, st.none() | texts, st.none() | texts), min_size=1))
def test_what_is_written_reads_back(
    lines: list[tuple[dict[str, Any], str | None, str | None]],
    suffix: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "round"
    folder.mkdir(exist_ok=True)
    (folder / "a.mp4").write_bytes(b"x")
    jobs = [
        Job(folder / "a.mp4", f"n{i}", **path, prompt=prompt, row=row, depth=f"file:{folder}")
        for i, (path, prompt, row) in enumerate(lines)
    ]
    assert read_manifest(write_manifest(jobs, folder / f"m{suffix}")) == jobs


def test_a_written_manifest_moves_with_its_folder(folder: Path) -> None:
    jobs = read(folder, "clip,trajectory,target\na.mp4,path.txt,truth.mp4\ndemo,spiral,\n")
    text = write_manifest(jobs, folder / "again.csv").read_text()
    assert str(folder) not in text
    assert "demo" in text
    with pytest.raises(ValueError, match="No jobs"):
        write_manifest([], folder / "again.csv")
    with pytest.raises(ValueError, match="ends with"):
        write_manifest(jobs, folder / "again.txt")


def test_columns_are_what_a_job_knows() -> None:
    known = {field.name for field in dataclasses.fields(Job)}
    assert set(COLUMNS) - known == set()
