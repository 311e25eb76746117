"""The comparison and the gallery: what they show, what they never show, and both in a browser."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from conftest import Clip

from trajectorycrafter.config.redirect import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    RedirectSettings,
)
from trajectorycrafter.job.reshoot import OUTPUTS, redirect
from trajectorycrafter.studio.answers import GALLERY, gallery_page
from trajectorycrafter.studio.compare import add_comparison, write_page
from trajectorycrafter.studio.job_records import JobSpec, StudioJob, write_job
from trajectorycrafter.studio.jobs import Queue
from trajectorycrafter.studio.library import Library
from trajectorycrafter.studio.progress import JobProgress
from trajectorycrafter.studio.server import Studio, serve
from trajectorycrafter.video.clip import Video

NASTY = "</script><img src=x onerror=alert(1)> & 'more' \""


@pytest.fixture(scope="module")
def settings(clip: Clip) -> RedirectSettings:
    return RedirectSettings(
        clip=ClipSettings(size=(64, 96)),
        camera=CameraSettings(camera="bullet", moment=4),
        depth=DepthSettings(f"file:{clip.depth_path}"),
    )


@pytest.fixture(scope="module")
def run(clip: Clip, settings: RedirectSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its comparison."""
    out = tmp_path_factory.mktemp("run") / "out"
    redirect(clip.path, out, settings, say=lambda line: None)
    add_comparison(out, clip.path, settings, NASTY)
    return out


@pytest.fixture
def done(run: Path, settings: RedirectSettings, clip: Clip, tmp_path: Path) -> StudioJob:
    """The run as a job that the queue has finished."""
    library = Library(tmp_path / "studio")
    user = library.user(None)
    folder = user.folder / "jobs" / ("a" * 32)
    shutil.copytree(run, folder / "out")
    spec = JobSpec(clip.path, folder / "trajectory.json", settings, user.id, NASTY)
    job = StudioJob(folder.name, spec, folder, "done", 1e9)
    write_job(job)
    return job


@pytest.fixture
def studio(done: StudioJob) -> Iterator[Studio]:
    library = Library(done.folder.parents[3])
    running = serve(library, Queue(library), port=0)
    yield running
    running.stop()


def page_data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def test_the_source_shows_the_moments_of_the_result(run: Path, clip: Clip) -> None:
    shown = Video.read(run / "source.mp4")
    assert len(shown) == len(Video.read(run / "video.mp4"))
    moment = clip.video.frames[4].expand_as(shown.frames)
    assert float((shown.frames - moment).abs().mean()) < 0.02


def test_the_page_names_its_neighbours_and_nothing_else(run: Path) -> None:
    page = (run / "compare.html").read_text()
    data = page_data(page)
    assert [view["label"] for view in data["views"]] == ["Source", "Render", "Result"]
    named = [entry["file"] for entry in data["views"] + data["files"]]
    assert all((run / name).is_file() for name in named)
    assert [entry["file"] for entry in data["files"]] == list(OUTPUTS)
    assert data["frames"] == len(data["holes"]) == 9 and data["fps"] == 8.0
    assert str(run) not in page and not re.search(r"https?://", page)


def test_names_are_text_and_never_markup(run: Path, done: StudioJob) -> None:
    for page in ((run / "compare.html").read_text(), gallery_page([done])):
        assert "<img src=x" not in page and "&lt;img src=x" in page


def test_a_model_cannot_end_the_script_that_names_it(run: Path, tmp_path: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    record["settings"]["generator"]["model"] = NASTY
    (tmp_path / "run.json").write_text(json.dumps(record))
    page = write_page(tmp_path, "a").read_text()
    assert "<img src=x" not in page and page_data(page)["facts"][1] == f"model {NASTY}"


def test_a_render_alone_is_compared_too(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(run, out)
    (out / "video.mp4").unlink()
    data = page_data(write_page(out, "no video").read_text())
    assert [view["label"] for view in data["views"]] == ["Source", "Render"]
    assert "video.mp4" not in [entry["file"] for entry in data["files"]]


def test_the_gallery_tells_how_jobs_stand(done: StudioJob) -> None:
    running = replace(done, state="running", progress=JobProgress("depth", 0.256, 75.0))
    failed = replace(done, state="failed", message="no <room>")
    waiting = replace(done, state="queued")
    page = gallery_page([waiting, running, failed, done])
    assert "depth, 26 %, about 75 s left" in page and "no &lt;room&gt;" in page
    assert page.count("<video") == 1 and 'http-equiv="refresh"' in page
    assert f'href="/results/{done.id}/video.mp4?download=1"' in page
    finished = gallery_page([done])
    assert 'http-equiv="refresh"' not in finished
    assert "Nothing yet" in gallery_page([])


def test_gallery_and_comparison_in_a_browser(
    studio: Studio, done: StudioJob, tmp_path: Path
) -> None:
    base = studio.url.rstrip("/")
    with chromium(viewport={"width": 1200, "height": 800}) as page:
        page.goto(f"{base}/?user={done.spec.user}")
        page.goto(base + GALLERY)
        page.wait_for_function("() => document.querySelector('video').readyState >= 2")
        page.screenshot(path=tmp_path / "gallery.png")
        page.click("a.first")
        page.wait_for_function(
            "() => [...document.querySelectorAll('video')].length === 3 &&"
            "[...document.querySelectorAll('video')].every((video) => video.readyState >= 2)"
        )
        assert page.title() == NASTY

        page.locator("body").press("ArrowRight")
        page.locator("body").press("ArrowRight")
        page.wait_for_function(_all_at("2.5 / 8"))
        assert page.locator("#told").inner_text() == "frame 3 / 9"
        page.fill("#scrub", "7")
        page.wait_for_function(_all_at("7.5 / 8"))
        page.click("#play")
        page.wait_for_function("() => document.body.dataset.frame !== '7'")
        page.click("#play")
        page.wait_for_function(_all_at("(Number(document.body.dataset.frame) + 0.5) / 8"))

        page.click("#mode-wipe")
        shown = "[...document.querySelectorAll('#wipe video')].map((v) => v.src.split('/').pop())"
        assert page.evaluate(shown) == ["source.mp4", "video.mp4"]
        box = page.locator("#wipe").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50)
        page.mouse.up()
        cut = page.evaluate("document.querySelector('#wipe').style.getPropertyValue('--cut')")
        assert float(cut.removesuffix("%")) == pytest.approx(25, abs=0.5)
        page.select_option("#left", label="Render")
        assert page.evaluate(shown) == ["render.mp4", "video.mp4"]
        page.screenshot(path=tmp_path / "wipe.png")

        with page.expect_download() as download:
            page.click(".files a:has-text('new video')")
        assert download.value.suggested_filename == "video.mp4"
        saved = Path(download.value.path()).read_bytes()
        assert saved == done.files()["video.mp4"].read_bytes()


def _all_at(seconds: str) -> str:
    """All three players stand at that moment."""
    return (
        "() => [...document.querySelectorAll('video')].every((video) => "
        f"video.paused && !video.seeking && Math.abs(video.currentTime - {seconds}) < 0.02)"
    )
