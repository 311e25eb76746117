"""What the panels of one browser window share: session, frame on show, selected key, the scene.

The one thing a reader would get wrong: callbacks only change the session and ask for a redraw. One
thread redraws, always the newest state, so a visitor who drags fast sees fewer pictures and never
late ones.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import viser
from jaxtyping import Float
from torch import Tensor

from .preview import Latest
from .scene import SceneView
from .session import Session

GESTURE_S = 1.0
"""A slider that rests so long has been let go."""

_log = logging.getLogger(__name__)


class Desk:
    """One browser window, until it is closed."""

    def __init__(self, client: viser.ClientHandle, session: Session):
        self.client, self.session = client, session
        self.on_design: list[Callable[[], None]] = []
        """Called when the design has changed."""
        self.on_frame: list[Callable[[], None]] = []
        """Called then, and when another frame is on show."""
        self.frame = 0
        self.selected: int | None = None
        """Output frame of the key that is edited."""
        self.ended = threading.Event()
        self._drawn: object = None
        self._last_edit = 0.0
        self.scene = SceneView(client, self.select, self._key_dragged)
        self.redraw = Latest(self._draw)

    def close(self) -> None:
        """The window is gone."""
        self.ended.set()
        self.redraw.stop()

    # Callbacks -----------------------------------------------------------------------------------

    def when(self, widget: Any, work: Callable[[Any], object]) -> None:
        """`do` the work on the widget's value whenever the visitor, not we, changes it."""

        def changed(event: viser.GuiEvent[Any]) -> None:
            if event.client is not None:
                value = getattr(event.target, "value", None)
                self.do(lambda: work(value))

        if isinstance(widget, viser.GuiUploadButtonHandle):
            widget.on_upload(changed)
        elif isinstance(widget, (viser.GuiButtonHandle, viser.GuiButtonGroupHandle)):
            widget.on_click(changed)
        else:
            widget.on_update(changed)

    def do(self, work: Callable[[], object]) -> None:
        """Fulfill a visitor's wish and show what came of it."""
        self.attempt(work)
        self.redraw()

    def attempt(self, work: Callable[[], object]) -> None:
        """Do it; what is wrong with the wish appears on the page and never as a stack trace."""
        try:
            work()
        except (ValueError, FileNotFoundError) as error:
            self.tell(str(error))
        except Exception:
            if self.ended.is_set():
                return
            _log.exception("The studio failed on a visitor's wish.")
            self.tell("Something went wrong here; the server's log says what.")
        else:
            return
        # The widgets go back to what counts.
        self._drawn = None

    def tell(self, message: str, title: str = "That did not work", color: Any = "red") -> None:
        """Show a message for a while."""
        if not self.ended.is_set():
            self.client.add_notification(
                title, message, color=color, auto_close_seconds=8.0 if color != "red" else 15.0
            )

    def gesture(self, name: str) -> str:
        """For a change by the named widget: part of the same step unless it rested."""
        now = time.monotonic()
        if self.session.is_open and now - self._last_edit > GESTURE_S:
            self.session.editor.history.release()
        self._last_edit = now
        return name

    # What is on show -----------------------------------------------------------------------------

    def show_clip(self) -> None:
        """The session has another clip, or other source cameras."""
        if self.ended.is_set():
            return
        clip = self.session.clip
        self.frame, self.selected, self._drawn = 0, None, None
        self.scene.open(clip)
        self.redraw()

        def send_moments() -> None:
            for moment in range(len(clip)):
                if self.ended.is_set() or self.session.clip is not clip:
                    return
                self.scene.send(moment)
                # The preview shares the line.
                time.sleep(0.02)

        threading.Thread(target=send_moments, daemon=True).start()

    def go_to(self, frame: int) -> None:
        """Show an output frame."""
        last = self.session.design.frames - 1 if self.session.is_open else 0
        self.frame = max(0, min(frame, last))
        self.redraw()

    def select(self, frame: int | None) -> None:
        """Edit the key of an output frame."""
        self.selected, self._drawn = frame, None
        self.go_to(self.frame if frame is None else frame)

    def _key_dragged(self, pose: Float[Tensor, "4 4"], let_go: bool) -> None:
        def drag() -> None:
            editor = self.session.editor
            if self.selected is not None:
                editor.capture(self.selected, pose, gesture="gizmo")
            if let_go:
                editor.history.release()

        self.do(drag)

    def _draw(self) -> None:
        if self.ended.is_set():
            return
        with suppress(ValueError):  # no clip yet
            current = self.session.editor.current
            design, cameras = current.design, current.cameras
            changed = design is not self._drawn
            if changed:
                self._drawn = design
                if self.selected is not None and design.key_at(self.selected) is None:
                    self.selected = None
                self.scene.show_design(design, cameras, self.selected)
            self.scene.show_frame(cameras, self.frame)
            for show in [*self.on_design, *self.on_frame] if changed else self.on_frame:
                show()
