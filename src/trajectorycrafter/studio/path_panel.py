"""The tab of whole paths: named moves, the pivot, paths from elsewhere, export."""

import torch
import viser

from ..geometry.presets import PRESETS
from ..geometry.trajectories import Scale
from . import drawings
from .clip_panel import ClipPanel
from .desk import Desk
from .resolving import FORMAT_SUFFIX

RANGES = {
    "degrees": (0.0, 90.0, 1.0),
    "radius": (0.0, 0.9, 0.01),
    "times": (1.0, 3.0, 0.05),
    "final focal factor": (0.4, 2.0, 0.05),
    "none": (0.0, 1.0, 1.0),
}
"""Smallest and largest value and step of a preset's amount, by its unit."""
SCALES: dict[str, Scale] = {"scene units": "scene", "distances to the subject": "radius"}


class PathPanel:
    """The path as a whole."""

    def __init__(self, desk: Desk, clips: ClipPanel):
        self._desk, self._clips = desk, clips
        gui = desk.client.gui
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
            self._other = clips.offer("Clip")
            self._copy = gui.add_button("Copy its camera", icon=viser.Icon.CAMERA, color="gray")
            self._sigma = gui.add_slider(
                "Smooth over", min=1.0, max=30.0, step=1.0, initial_value=6.0
            )
            self._stabilize = gui.add_button(
                "Stabilise the source", icon=viser.Icon.WAND, color="gray"
            )
        with gui.add_folder("Save the path", expand_by_default=False):
            self._format = gui.add_dropdown("Format", tuple(FORMAT_SUFFIX))
            self._export = gui.add_button(
                "Download the path", icon=viser.Icon.DOWNLOAD, color="gray"
            )
        desk.when(self._preset, lambda name: desk.editor.choose_preset(name))
        desk.when(self._amount, self._resized)
        desk.when(self._ease, lambda ease: desk.editor.edit(ease=ease))
        desk.when(self._pick, lambda _: self._await_click())
        desk.when(self._reset, lambda _: desk.editor.set_pivot(None))
        desk.when(self._import, lambda file: self._imported(file.name, file.content))
        desk.when(self._copy, lambda _: self._copied())
        desk.when(self._stabilize, lambda _: desk.editor.stabilize(self._sigma.value))
        desk.when(self._export, lambda _: self._exported())

    def refresh(self) -> None:
        design = self._desk.session.design
        preset = PRESETS[design.preset]
        least, largest, step = RANGES[preset.unit]
        slider, amount = self._amount, design.amount
        slider.min, slider.max, slider.step = min(least, amount), max(largest, amount), step
        self._preset.value, slider.value = design.preset, amount
        slider.label = "Amount" if preset.unit == "none" else preset.unit.capitalize()
        slider.disabled = preset.unit == "none"
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
        self._desk.editor.edit(self._desk.gesture("amount"), kind="preset", amount=amount)

    def _await_click(self) -> None:
        """The next click into the scene chooses the pivot."""
        desk, editor = self._desk, self._desk.editor  # raises unless a clip is open
        scene = desk.client.scene
        desk.tell("Click a point of the scene.", "What it turns about", "blue")

        @scene.on_click()
        def clicked(event: viser.SceneClickEvent) -> None:
            scene.remove_click_callback(clicked)
            origin, direction = torch.tensor(event.ray_origin), torch.tensor(event.ray_direction)
            moment = int(editor.path.source_frame[desk.frame])
            desk.do(lambda: editor.pivot_at(origin, direction, moment))

    def _imported(self, name: str, data: bytes) -> None:
        self._desk.editor.import_path(name, data, SCALES[self._scale.value])
        self._desk.select(None)

    def _copied(self) -> None:
        clip = self._clips.names[self._other.value]
        with self._clips.progress(f"Camera of {clip.name}") as tell:
            self._desk.session.copy_camera(clip.path, clip.name, tell)

    def _exported(self) -> None:
        name, data = self._desk.editor.export(self._format.value)
        self._desk.client.send_file_download(name, data, save_immediately=True)
