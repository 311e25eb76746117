"""The tab of whole paths: named moves, the pivot, paths from elsewhere, export."""

from typing import TYPE_CHECKING, Any

import torch
import viser

from ..geometry.presets import PRESETS
from . import drawings
from .clip_panel import NO_CLIPS
from .library import Clip
from .resolving import FORMAT_SUFFIX

if TYPE_CHECKING:
    from .page import Page

RANGES = {
    "degrees": (0.0, 90.0, 1.0),
    "radius": (0.0, 0.9, 0.01),
    "times": (1.0, 3.0, 0.05),
    "final focal factor": (0.4, 2.0, 0.05),
    "none": (0.0, 1.0, 1.0),
}
"""Least, largest and step of a preset's amount, by its unit."""
SCALES = {"scene units": "scene", "distances to the subject": "radius"}


class PathPanel:
    """The path as a whole."""

    def __init__(self, page: "Page"):
        self._page = page
        gui = page.client.gui
        self._preset = gui.add_dropdown("Move", tuple(PRESETS), initial_value="orbit-right")
        self._amount = gui.add_slider("Amount", min=0.0, max=90.0, step=1.0, initial_value=10.0)
        self._ease = gui.add_checkbox("Soft ends", True)
        self._about = gui.add_html("")
        with gui.add_folder("What it turns about"):
            self._pick = gui.add_button("Click a point", icon=viser.Icon.TARGET, color="gray")
            self._reset = gui.add_button("Middle of the scene", color="gray")
        with gui.add_folder("From elsewhere", expand_by_default=False):
            self._scale = gui.add_dropdown("Unit", tuple(SCALES))
            self._import = gui.add_upload_button(
                "Import a path", icon=viser.Icon.UPLOAD, color="gray"
            )
            self._other = gui.add_dropdown("Clip", NO_CLIPS)
            self._copy = gui.add_button("Copy its camera", icon=viser.Icon.CAMERA, color="gray")
            self._sigma = gui.add_slider(
                "Smooth over", min=1.0, max=30.0, step=1.0, initial_value=6.0
            )
            self._stabilise = gui.add_button(
                "Stabilise the source", icon=viser.Icon.WAND, color="gray"
            )
        with gui.add_folder("Save the path", expand_by_default=False):
            self._format = gui.add_dropdown("Format", tuple(FORMAT_SUFFIX))
            self._export = gui.add_button(
                "Download the path", icon=viser.Icon.DOWNLOAD, color="gray"
            )
        self.list_clips(page.clips.names)
        self._connect()

    def _connect(self) -> None:
        page, session = self._page, self._page.session
        page.when(self._preset, lambda name: self._do(session.editor.choose_preset, name))
        page.when(self._amount, self._resized)
        page.when(self._ease, lambda ease: self._do(session.editor.edit, ease=ease))
        page.when(self._pick, lambda _: self._await_click())
        page.when(self._reset, lambda _: self._do(session.editor.set_pivot, None))
        page.when(self._import, lambda file: self._imported(file.name, file.content))
        page.when(self._copy, lambda _: self._copied())
        page.when(self._stabilise, lambda _: self._do(session.editor.stabilise, self._sigma.value))
        page.when(self._export, lambda _: self._exported())

    def _do(self, work: Any, *arguments: Any, **named: Any) -> None:
        work(*arguments, **named)
        self._page.redraw()

    def list_clips(self, names: dict[str, Clip]) -> None:
        """Clips whose camera can be copied."""
        self._other.options = tuple(names)

    def refresh(self) -> None:
        """The widgets say what the design says."""
        design = self._page.session.design
        preset = PRESETS[design.preset]
        least, largest, step = RANGES[preset.unit]
        amount = design.amount
        self._amount.min, self._amount.max, self._amount.step = (
            min(least, amount),
            max(largest, amount),
            step,
        )
        self._preset.value, self._amount.value = design.preset, amount
        self._amount.label = "Amount" if preset.unit == "none" else preset.unit.capitalize()
        self._amount.disabled = preset.unit == "none"
        self._ease.value = design.ease
        turns = "" if design.pivot is None else " It turns about the clicked point."
        self._about.content = drawings.said(
            {
                "preset": f"{design.preset}: {preset.summary}.{turns}",
                "keys": f"The path goes through {len(design.keys)} keys (tab Keys). "
                f"Choosing a move leaves them.{turns}",
                "path": f"The path is {design.path_name}. Choosing a move leaves it.",
            }[design.kind]
        )

    def _resized(self, amount: float) -> None:
        session = self._page.session
        session.editor.edit(self._page.gesture("amount"), kind="preset", amount=amount)
        self._page.redraw()

    def _await_click(self) -> None:
        """The next click into the scene chooses the pivot."""
        page = self._page
        page.session.clip  # noqa: B018  # says that a clip is needed
        scene = page.client.scene
        page.tell("Click a point of the scene.", "What it turns about", "blue")

        @scene.on_click()
        def clicked(event: viser.SceneClickEvent) -> None:
            scene.remove_click_callback(clicked)
            origin, direction = torch.tensor(event.ray_origin), torch.tensor(event.ray_direction)
            moment = int(page.session.path.source_frame[page.frame])
            if page.attempt(lambda: page.session.editor.pivot_at(origin, direction, moment)):
                page.redraw()

    def _imported(self, name: str, data: bytes) -> None:
        scale = SCALES[self._scale.value]
        self._page.session.editor.import_path(name, data, scale)  # pyright: ignore[reportArgumentType]
        self._page.select(None)

    def _copied(self) -> None:
        page, clip = self._page, self._page.clips.names[self._other.value]
        with page.progress(f"Camera of {clip.name}") as tell:
            page.session.copy_camera(clip.path, clip.name, tell)
        page.redraw()

    def _exported(self) -> None:
        name, data = self._page.session.editor.export(self._format.value)
        self._page.client.send_file_download(name, data, save_immediately=True)
