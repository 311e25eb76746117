"""The tab of keys: capture the view, list, edit by numbers, move in time, reorder, delete."""

import viser

from . import drawings
from .desk import Desk

SLIDERS = {
    "azimuth_deg": ("Azimuth °", -180.0, 180.0, 1.0),
    "elevation_deg": ("Elevation °", -90.0, 90.0, 1.0),
    "roll_deg": ("Roll °", -180.0, 180.0, 1.0),
    "dolly": ("Forward", -2.0, 2.0, 0.01),
    "right": ("Right", -2.0, 2.0, 0.01),
    "up": ("Up", -2.0, 2.0, 0.01),
    "zoom": ("Zoom", 0.2, 4.0, 0.01),
}
"""Fields of a key: label, smallest and largest value, step."""
WAYS = {"smooth (spline)": "spline", "straight (linear)": "linear"}
NONE = "-"
NO_KEYS: tuple[str, ...] = (NONE,)


class KeysPanel:
    """The keys of the path."""

    def __init__(self, desk: Desk):
        self._desk = desk
        gui = desk.client.gui
        self._capture = gui.add_button("Capture the view here", icon=viser.Icon.CAMERA_PLUS)
        self._table = gui.add_html("")
        self._choice = gui.add_dropdown("Selected", NO_KEYS)
        self._selected = gui.add_folder("Selected key", visible=False)
        with self._selected:
            self._sliders = {
                name: gui.add_slider(label, min=low, max=high, step=step, initial_value=max(low, 0))
                for name, (label, low, high, step) in SLIDERS.items()
            }
            self._frame = gui.add_slider("At frame", min=0, max=1, step=1, initial_value=0)
            self._moment = gui.add_slider("Source frame", min=0, max=1, step=1, initial_value=0)
            self._order = gui.add_button_group("Camera", ("Earlier", "Later"))
            self._look = gui.add_button("Look through it", icon=viser.Icon.FOCUS_2, color="gray")
            self._again = gui.add_button(
                "Put it where I look from", icon=viser.Icon.CAMERA, color="gray"
            )
            self._delete = gui.add_button("Delete this key", icon=viser.Icon.TRASH, color="red")
        with gui.add_folder("Between keys", expand_by_default=False):
            self._way = gui.add_dropdown("Motion", tuple(WAYS))
            self._count = gui.add_slider("Keys", min=2, max=12, step=1, initial_value=4)
            self._make = gui.add_button("Make keys of this path", icon=viser.Icon.KEY, color="gray")
        desk.when(self._capture, lambda _: self._captured(desk.frame))
        desk.when(self._choice, lambda word: desk.select(None if word == NONE else int(word)))
        for name, slider in self._sliders.items():
            desk.when(slider, lambda value, name=name: self._slid(name, value))
        desk.when(self._frame, self._moved)
        desk.when(self._moment, self._timed)
        desk.when(self._order, lambda word: self._reordered(-1 if word == "Earlier" else 1))
        desk.when(self._look, lambda _: desk.scene.look_through(desk.session.cameras, self._key))
        desk.when(self._again, lambda _: self._captured(self._key))
        desk.when(self._delete, lambda _: desk.editor.change(lambda d: d.without_key(self._key)))
        desk.when(self._way, lambda word: desk.editor.edit(interpolation=WAYS[word]))
        desk.when(self._make, lambda _: desk.editor.make_keys(self._count.value))

    @property
    def _key(self) -> int:
        """Output frame of the selected key."""
        if self._desk.selected is None:
            raise ValueError("Select a key first.")
        return self._desk.selected

    def _captured(self, frame: int) -> None:
        pose, fov_deg = self._desk.scene.viewport()
        self._desk.editor.capture(frame, pose, fov_deg)
        self._desk.select(frame)
        self._desk.scene.clear_the_view()

    def _slid(self, name: str, value: float) -> None:
        key, gesture = self._key, self._desk.gesture(name)
        self._desk.editor.change(lambda d: d.with_key_changed(key, **{name: value}), gesture)

    def _moved(self, to: int) -> None:
        key, gesture = self._key, self._desk.gesture("key frame")
        self._desk.editor.change(lambda d: d.with_key_moved(key, to), gesture)
        self._desk.select(to)

    def _timed(self, moment: int) -> None:
        self._desk.editor.set_key_moment(self._key, moment, self._desk.gesture("key moment"))

    def _reordered(self, steps: int) -> None:
        key, frames = self._key, [key.frame for key in self._desk.editor.design.keys]
        self._desk.editor.change(lambda d: d.with_key_reordered(key, steps))
        place = max(0, min(frames.index(key) + steps, len(frames) - 1))
        self._desk.select(frames[place])

    def show_frame(self) -> None:
        self._capture.label = f"Capture the view at frame {self._desk.frame}"

    def refresh(self) -> None:
        session, selected = self._desk.session, self._desk.selected
        design = session.design
        self._table.content = drawings.key_table(design, selected)
        keys = design.keys if design.kind == "keys" else ()
        self._choice.options = (NONE, *(str(key.frame) for key in keys))
        self._choice.value = NONE if selected is None else str(selected)
        self._way.value = next(word for word, way in WAYS.items() if way == design.interpolation)
        key = None if selected is None else design.key_at(selected)
        self._selected.visible = key is not None and bool(keys)
        if key is None:
            return
        for name, slider in self._sliders.items():
            value = float(getattr(key, name))
            # A pose may lie outside of a slider's usual range.
            slider.min, slider.max = min(slider.min, value), max(slider.max, value)
            slider.value = value
        self._frame.max, self._moment.max = design.frames - 1, max(len(session.clip) - 1, 1)
        self._frame.value = key.frame or 0
        self._moment.value = int(session.path.source_frame[key.frame or 0])
