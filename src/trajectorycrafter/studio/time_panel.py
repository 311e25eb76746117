"""The tab of time: as filmed, frozen, by the keys, or along a curve that is drawn here."""

from typing import TYPE_CHECKING

import viser

from . import drawings
from .editing import TimeKind

if TYPE_CHECKING:
    from .page import Page

KINDS: dict[str, TimeKind] = {
    "as the path says": "clip",
    "frozen (bullet time)": "freeze",
    "by the keys": "keys",
    "by a curve": "curve",
}


class TimePanel:
    """Which moment of the clip is shown when."""

    def __init__(self, page: "Page"):
        self._page = page
        gui = page.client.gui
        self._kind = gui.add_dropdown("Time", tuple(KINDS))
        self._curve = gui.add_html("")
        self._moment = gui.add_slider("Moment", min=0, max=1, step=1, initial_value=0)
        self._here = gui.add_slider("Shows source", min=0, max=1, step=1, initial_value=0)
        self._smooth = gui.add_checkbox("Smooth", True)
        self._delete = gui.add_button("Delete the point here", icon=viser.Icon.TRASH, color="gray")
        self._hint = gui.add_html("")
        page.when(self._kind, self._chosen)
        page.when(self._moment, self._frozen)
        page.when(self._here, self._pointed)
        page.when(self._smooth, lambda smooth: self._set("curve", smooth=smooth))
        page.when(self._delete, lambda _: self._deleted())

    def _set(self, kind: TimeKind, **changes: object) -> None:
        self._page.session.editor.set_time(kind, **changes)  # pyright: ignore[reportArgumentType]
        self._page.redraw()

    def _chosen(self, words: str) -> None:
        session, kind = self._page.session, KINDS[words]
        if kind == "freeze":
            # What is on show is what shall stand still.
            self._set(kind, moment=int(session.path.source_frame[self._page.frame]))
        else:
            self._set(kind)

    def _frozen(self, moment: int) -> None:
        gesture = self._page.gesture("moment")
        kind = self._page.session.design.time.kind
        self._page.session.editor.set_time(kind, gesture, moment=moment)
        self._page.redraw()

    def _pointed(self, source: int) -> None:
        page = self._page
        page.session.editor.set_point(page.frame, source, page.gesture(f"point {page.frame}"))
        page.redraw()

    def _deleted(self) -> None:
        self._page.session.editor.delete_point(self._page.frame)
        self._page.redraw()

    def show_frame(self) -> None:
        """The timeline has moved."""
        page = self._page
        design, shown = page.session.design, page.session.path.source_frame
        points = design.time.points if design.time.kind == "curve" else ()
        last = len(page.session.clip) - 1
        self._curve.content = drawings.time_curve(shown.tolist(), last, points, page.frame)
        if design.time.kind == "curve":
            self._here.value = int(shown[page.frame])
            self._delete.disabled = page.frame not in {point[0] for point in points}

    def refresh(self) -> None:
        """The widgets say what the design says."""
        design, last = self._page.session.design, len(self._page.session.clip) - 1
        kind = design.time.kind
        self._kind.value = next(words for words, k in KINDS.items() if k == kind)
        holds = kind == "freeze" or (kind == "clip" and design.preset == "bullet")
        self._moment.visible = holds and (kind == "freeze" or design.kind == "preset")
        for widget in (self._here, self._smooth, self._delete):
            widget.visible = kind == "curve"
        self._moment.max = self._here.max = max(last, 1)
        self._moment.value = min(design.time.moment, last)
        self._smooth.value = design.time.smooth
        self._hint.content = drawings.said(HINTS[kind])
        self.show_frame()


HINTS: dict[TimeKind, str] = {
    "clip": "Time passes as in the clip, or as an imported path or preset has it.",
    "freeze": "Time stands still while the camera moves.",
    "keys": "Every key shows the moment that it was captured at (tab Keys, Source frame).",
    "curve": "Move the timeline to a frame, then choose which source frame it shows.",
}
