"""The tab of time: as filmed, frozen, by the keys, or along a curve that is drawn here."""

import viser

from . import drawings
from .desk import Desk
from .editing import TimeKind

KINDS: dict[str, TimeKind] = {
    "as the path says": "clip",
    "frozen (bullet time)": "freeze",
    "by the keys": "keys",
    "by a curve": "curve",
}

HINTS: dict[TimeKind, str] = {
    "clip": "Time passes as in the clip, or as an imported path or preset has it.",
    "freeze": "Time stands still while the camera moves.",
    "keys": "Every key shows the moment that it was captured at (tab Keys, Source frame).",
    "curve": "Move the timeline to a frame, then choose which source frame it shows.",
}


class TimePanel:
    """Which moment of the clip is shown when."""

    def __init__(self, desk: Desk):
        self._desk = desk
        gui = desk.client.gui
        self._kind = gui.add_dropdown("Time", tuple(KINDS))
        self._curve = gui.add_html("")
        self._moment = gui.add_slider("Moment", min=0, max=1, step=1, initial_value=0)
        self._here = gui.add_slider("Shows source", min=0, max=1, step=1, initial_value=0)
        self._smooth = gui.add_checkbox("Smooth", True)
        self._delete = gui.add_button("Delete the point here", icon=viser.Icon.TRASH, color="gray")
        self._hint = gui.add_html("")
        desk.when(self._kind, self._chosen)
        desk.when(self._moment, self._held)
        desk.when(self._here, self._pointed)
        desk.when(self._smooth, lambda smooth: desk.editor.set_time("curve", smooth=smooth))
        desk.when(self._delete, lambda _: desk.editor.change(lambda d: d.without_point(desk.frame)))

    def _chosen(self, words: str) -> None:
        kind, editor = KINDS[words], self._desk.editor
        if kind == "freeze":  # at the moment on show
            editor.set_time(kind, moment=int(editor.path.source_frame[self._desk.frame]))
        else:
            editor.set_time(kind)

    def _held(self, moment: int) -> None:
        gesture = self._desk.gesture("moment")
        self._desk.editor.set_time(self._desk.editor.design.time.kind, gesture, moment=moment)

    def _pointed(self, source: int) -> None:
        frame, gesture = self._desk.frame, self._desk.gesture(f"point {self._desk.frame}")
        self._desk.editor.change(lambda d: d.with_point(frame, source), gesture)

    def show_frame(self) -> None:
        session, frame = self._desk.session, self._desk.frame
        time, shown = session.design.time, session.path.source_frame
        points = time.points if time.kind == "curve" else ()
        last = len(session.clip) - 1
        self._curve.content = drawings.time_curve(shown.tolist(), last, points, frame)
        if time.kind == "curve":
            self._here.value = int(shown[frame])
            self._delete.disabled = frame not in {point[0] for point in points}

    def refresh(self) -> None:
        design, last = self._desk.session.design, len(self._desk.session.clip) - 1
        kind = design.time.kind
        self._kind.value = next(words for words, k in KINDS.items() if k == kind)
        bullet = kind == "clip" and design.preset == "bullet" and design.kind == "preset"
        self._moment.visible = kind == "freeze" or bullet
        for widget in (self._here, self._smooth, self._delete):
            widget.visible = kind == "curve"
        self._moment.max = self._here.max = max(last, 1)
        self._moment.value = min(design.time.moment, last)
        self._smooth.value = design.time.smooth
        self._hint.content = drawings.said(HINTS[kind])
