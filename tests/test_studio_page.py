"""The studio's page in a real browser: load, drag, capture, generate, compare, download.

Screenshots of every step are kept in build/studio.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import chromium
from conftest import Clip

from trajectorycrafter.config.redirect import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    RedirectSettings,
)
from trajectorycrafter.config.studio import Limits, StudioServer
from trajectorycrafter.job.reshoot import make_trajectory
from trajectorycrafter.studio.app import Running, launch
from trajectorycrafter.video.clip import Video

ARTEFACTS = Path(__file__).parents[1] / "build" / "studio"
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def studio(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = RedirectSettings(
        clip=ClipSettings(size=(64, 96)), depth=DepthSettings(depth=f"file:{clip.depth_path}")
    )
    server = StudioServer(port=0, folder=tmp_path_factory.mktemp("studio"))
    running = launch(None, settings, server, Limits(upload_mb=1.0))
    yield running
    running.stop()


class Window:
    """A visitor and his hands."""

    def __init__(self, page: Any, name: str):
        self.page, self._name, self._shots = page, name, 0

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def button(self, name: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=name).first.click()

    def choose(self, label: str, option: str) -> None:
        self.row(label).locator("input").first.click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def row(self, label: str) -> Any:
        """The widget beside a label."""
        return self.page.locator(
            f"xpath=//label[normalize-space()='{label}']/ancestor::div[2]"
            f"[.//input or .//*[@role='slider']]"
        ).first

    def drag_slider(self, label: str, share: float) -> None:
        """Pull a slider's thumb to a share of its track, slowly enough to be seen."""
        row = self.row(label)
        track = row.locator(".mantine-Slider-track").bounding_box()
        thumb = row.get_by_role("slider").first.bounding_box()
        assert track is not None and thumb is not None
        y = thumb["y"] + thumb["height"] / 2
        self.page.mouse.move(thumb["x"] + thumb["width"] / 2, y)
        self.page.mouse.down()
        self.page.mouse.move(track["x"] + share * track["width"], y, steps=8)
        self.page.mouse.up()

    def turn_view(self, right: int, down: int) -> None:
        """Orbit the viewport by dragging in the middle of the window."""
        size = self.page.viewport_size
        assert size is not None
        x, y = size["width"] // 2, size["height"] * 2 // 3
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + right, y + down, steps=6)
        self.page.mouse.up()

    def picture(self) -> str:
        """Address of the preview's picture; another picture has another one."""
        return self.page.locator("img").first.get_attribute("src") or ""

    def waits_for_picture_other_than(self, before: str) -> None:
        deadline = time.monotonic() + 20
        while self.picture() == before:
            assert time.monotonic() < deadline, "the preview did not change"
            time.sleep(0.05)

    def shot(self, what: str) -> None:
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self._shots += 1
        self.page.screenshot(path=ARTEFACTS / f"{self._name}_{self._shots:02d}_{what}.png")


@pytest.fixture
def window(studio: Running, request: pytest.FixtureRequest) -> Iterator[Window]:
    with chromium(viewport={"width": 1280, "height": 800}, accept_downloads=True) as page:
        page.set_default_timeout(PATIENCE_MS)
        page.goto(studio.url)
        page.get_by_role("button", name="Play").wait_for()
        window = Window(page, request.node.name)
        yield window
        window.shot("end")


def load(window: Window, clip: Clip) -> None:
    with window.page.expect_file_chooser() as chooser:
        window.button("Upload a clip")
    chooser.value.set_files(clip.path)
    window.page.get_by_text("9 frames of 96x64").wait_for()
    window.page.get_by_text("seen").first.wait_for()


def test_from_a_clip_to_a_downloaded_video(window: Window, clip: Clip, tmp_path: Path) -> None:
    page = window.page
    load(window, clip)
    window.shot("clip")
    # Time is scrubbed, a slider dragged: the picture follows.
    before = window.picture()
    window.drag_slider("Frame", 1.0)
    window.waits_for_picture_other_than(before)
    window.tab("Path")
    before, shares = window.picture(), page.locator(".shares").inner_text()
    window.drag_slider("Degrees", 0.6)
    window.waits_for_picture_other_than(before)
    page.wait_for_function(
        "before => document.querySelector('.shares').innerText != before", arg=shares
    )
    window.shot("slider")
    # Two keys, from two places.
    window.tab("Keys")
    window.drag_slider("Frame", 0.0)
    window.button("as new camera")
    window.button(re.compile("Capture the view at frame 0"))
    page.locator("table.keys tr").nth(1).wait_for()
    before = window.picture()
    window.button("from behind")
    window.turn_view(80, -30)
    window.drag_slider("Frame", 1.0)
    window.button(re.compile("Capture the view at frame 8"))
    page.locator("table.keys tr").nth(2).wait_for()
    window.waits_for_picture_other_than(before)
    assert page.locator("table.keys tr").count() == 3
    window.shot("keys")
    # The path as a file.
    window.tab("Path")
    page.get_by_text("Save the path", exact=True).click()
    with page.expect_download() as download:
        window.button("Download the path")
    exported = tmp_path / "path.json"
    download.value.save_as(exported)
    assert len(json.loads(exported.read_text())["keyframes"]) == 2
    # The full run.
    window.tab("Run")
    window.choose("Model", "embedded")
    page.locator(".plan").get_by_text("fill").wait_for()
    window.button("Generate")
    page.locator(".job[data-state=done]").wait_for(timeout=300_000)
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    window.shot("done")
    with page.expect_download() as download:
        page.get_by_role("link", name="video.mp4").click()
    made = tmp_path / "made.mp4"
    download.value.save_as(made)
    video = Video.read(made)
    assert tuple(video.frames.shape) == (9, 3, 64, 96)
    assert float(video.frames.std()) > 0.05
    with page.expect_download() as download:
        page.get_by_role("link", name="trajectory.json").click()
    ran = tmp_path / "ran.json"
    download.value.save_as(ran)
    paths = [make_trajectory(CameraSettings(trajectory=file), 9) for file in (exported, ran)]
    np.testing.assert_array_equal(paths[0].azimuth_deg.numpy(), paths[1].azimuth_deg.numpy())
    # Design and results outlive the window.
    page.reload()
    window.tab("Keys")
    page.locator("table.keys tr").nth(2).wait_for()
    window.tab("Run")
    page.locator(".job[data-state=done]").wait_for()
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Compare").click()
    popup.value.wait_for_load_state()
    assert popup.value.locator("video").count() >= 2
    popup.value.screenshot(path=ARTEFACTS / "compare.png")


def test_what_goes_wrong_is_told(window: Window, tmp_path: Path) -> None:
    broken, large = tmp_path / "broken.mp4", tmp_path / "large.mp4"
    broken.write_bytes(b"this is no video")
    large.write_bytes(b"0" * 1_100_000)
    for file, message in (
        (broken, "broken.mp4 is not a clip that can be read"),
        (large, "at most 1 MB can be uploaded"),
    ):
        with window.page.expect_file_chooser() as chooser:
            window.button("Upload a clip")
        chooser.value.set_files(file)
        window.page.get_by_text(message).first.wait_for()
    window.tab("Keys")
    window.button(re.compile("Capture the view"))
    window.page.get_by_text("Open a clip first").first.wait_for()
    window.tab("Run")
    assert window.page.locator(".job").count() == 0
    assert window.page.get_by_text("Traceback").count() == 0
    window.shot("told")


def test_undo_time_and_pivot(window: Window, clip: Clip) -> None:
    page = window.page
    load(window, clip)
    window.tab("Path")
    window.choose("Move", "dolly-in")
    page.get_by_text("forward, towards the subject").wait_for()
    window.button("Undo")
    page.get_by_text("around the subject to the right").wait_for()
    window.button("Click a point")
    page.get_by_text("Click a point of the scene").first.wait_for()
    page.mouse.click(640, 420)
    page.get_by_text("It turns about the clicked point").wait_for()
    before = window.picture()
    window.drag_slider("Frame", 1.0)
    window.waits_for_picture_other_than(before)
    window.tab("Time")
    window.choose("Time", "frozen (bullet time)")
    page.get_by_text("Time stands still").wait_for()
    window.drag_slider("Moment", 0.5)
    page.get_by_text("Source, frame 4").wait_for()
    window.choose("Time", "by a curve")
    window.drag_slider("Shows source", 0.25)
    page.get_by_text("Source, frame 2").wait_for()
    window.shot("time")
    page.keyboard.press("Escape")
    window.button("Play")
    page.get_by_role("button", name="Pause").wait_for()
    before = window.picture()
    window.waits_for_picture_other_than(before)
    window.button("Pause")
