"""The tab of keys: capture the view, list, edit by numbers, move in time, reorder, delete."""

from typing import TYPE_CHECKING, Any

import viser

from . import drawings

if TYPE_CHECKING:
    from .page import Page

SLIDERS = {
    "azimuth_deg": ("Azimuth °", -180.0, 180.0, 1.0),
    "elevation_deg": ("Elevation °", -90.0, 90.0, 1.0),
    "roll_deg": ("Roll °", -180.0, 180.0, 1.0),
    "dolly": ("Forward", -2.0, 2.0, 0.01),
    "right": ("Right", -2.0, 2.0, 0.01),
    "up": ("Up", -2.0, 2.0, 0.01),
    "zoom": ("Zoom", 0.2, 4.0, 0.01),
}
"""Fields of a key: label, least, largest, step."""
WAYS = {"smooth (spline)": "spline", "straight (linear)": "linear"}
NONE = "-"
NO_KEYS: tuple[str, ...] = (NONE,)


class KeysPanel:
    """The keys of the path."""

    def __init__(self, page: "Page"):
        self._page = page
        gui = page.client.gui
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
        self._connect()
        self.refresh_table()

    def _connect(self) -> None:
        page, session = self._page, self._page.session
        page.when(self._capture, lambda _: self._captured(page.frame))
        page.when(self._choice, lambda word: page.select(None if word == NONE else int(word)))
        for name, slider in self._sliders.items():
            page.when(slider, lambda value, name=name: self._slid(name, value))
        page.when(self._frame, self._moved)
        page.when(self._moment, self._timed)
        page.when(self._order, lambda word: self._reordered(-1 if word == "Earlier" else 1))
        page.when(self._look, lambda _: page.scene.look_through(session.cameras, self._key))
        page.when(self._again, lambda _: self._captured(self._key))
        page.when(self._delete, lambda _: self._do(session.editor.delete_key, self._key))
        page.when(self._way, lambda word: self._do(session.editor.edit, interpolation=WAYS[word]))
        page.when(self._make, lambda _: self._do(session.editor.make_keys, self._count.value))

    @property
    def _key(self) -> int:
        """Output frame of the selected key."""
        if self._page.selected is None:
            raise ValueError("Select a key first.")
        return self._page.selected

    def _do(self, work: Any, *arguments: Any, **named: Any) -> None:
        work(*arguments, **named)
        self._page.redraw()

    def _captured(self, frame: int) -> None:
        pose, fov_deg = self._page.scene.viewport()
        self._page.session.editor.capture(frame, pose, fov_deg)
        self._page.select(frame)
        self._page.scene.clear_the_view()

    def _slid(self, name: str, value: float) -> None:
        session, gesture = self._page.session, self._page.gesture(name)
        self._do(session.editor.edit_key, self._key, gesture, **{name: value})

    def _moved(self, to: int) -> None:
        self._page.session.editor.move_key(self._key, to, self._page.gesture("key frame"))
        self._page.select(to)

    def _timed(self, moment: int) -> None:
        gesture = self._page.gesture("key moment")
        self._do(self._page.session.editor.set_key_moment, self._key, moment, gesture)

    def _reordered(self, steps: int) -> None:
        session, frame = self._page.session, self._key
        frames = [key.frame for key in session.design.keys]
        session.editor.reorder_key(frame, steps)
        place = max(0, min(frames.index(frame) + steps, len(frames) - 1))
        self._page.select(frames[place])

    # What is shown -------------------------------------------------------------------------------

    def show_frame(self) -> None:
        """The timeline has moved."""
        self._capture.label = f"Capture the view at frame {self._page.frame}"

    def refresh_table(self) -> None:
        """The list of keys."""
        session = self._page.session
        if session.is_open:
            self._table.content = drawings.key_table(session.design, self._page.selected)

    def refresh(self) -> None:
        """The widgets say what the design says."""
        page, design = self._page, self._page.session.design
        self.show_frame()
        self.refresh_table()
        keys = design.keys if design.kind == "keys" else ()
        self._choice.options = (NONE, *(str(key.frame) for key in keys))
        self._choice.value = NONE if page.selected is None else str(page.selected)
        self._way.value = next(word for word, way in WAYS.items() if way == design.interpolation)
        key = None if page.selected is None else design.key_at(page.selected)
        self._selected.visible = key is not None and bool(keys)
        if key is None:
            return
        for name, slider in self._sliders.items():
            value = float(getattr(key, name))
            # A pose may lie outside of a slider's usual range.
            slider.min, slider.max = min(slider.min, value), max(slider.max, value)
            slider.value = value
        self._frame.max, self._moment.max = design.frames - 1, max(len(page.session.clip) - 1, 1)
        self._frame.value = key.frame or 0
        self._moment.value = int(page.session.path.source_frame[key.frame or 0])
