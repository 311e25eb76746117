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

from .editor import Editor
from .preview import Latest
from .scene import SceneView
from .session import Session

GESTURE_S = 1.0
"""After this pause a slider counts as released: longer merges separate edits into one undo step."""

_log = logging.getLogger(__name__)


class Desk:
    """One browser window, until it is closed."""

    def __init__(self, client: viser.ClientHandle, session: Session):
        self.client, self.session = client, session
        self.on_design: list[Callable[[], None]] = []
        """Called when the design has changed."""
        self.on_frame: list[Callable[[], None]] = []
        """Called then, and when another frame is shown."""
        self.frame = 0
        self.selected: int | None = None
        """Output frame of the key that is edited."""
        self.ended = threading.Event()
        self._drawn: object = None
        self._last_edit = 0.0
        self.scene = SceneView(client, self.select, self._key_dragged)
        self.redraw = Latest(self._draw)

    @property
    def editor(self) -> Editor:
        """The session's; raises ValueError while no clip is open."""
        return self.session.editor

    def close(self) -> None:
        self.ended.set()
        self.redraw.stop()

    def when(self, widget: Any, work: Callable[[Any], object]) -> None:
        """`do` the work on the widget's value whenever the visitor, not our code, changes it."""

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
        """Do what a visitor asks for and show the outcome."""
        self.attempt(work)
        self.redraw()

    def attempt(self, work: Callable[[], object]) -> None:
        """Do it; an error appears on the page as a message and never as a stack trace."""
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
        # The next redraw puts the widgets back to the design's values.
        self._drawn = None

    def tell(self, message: str, title: str = "That did not work", color: Any = "red") -> None:
        """Show a message for a while."""
        if not self.ended.is_set():
            seconds = 15.0 if color == "red" else 8.0  # an error takes longer to read
            self.client.add_notification(title, message, color=color, auto_close_seconds=seconds)

    def gesture(self, name: str) -> str:
        """The name of a widget's gesture, for `History.put`; after a pause it is a new one."""
        now = time.monotonic()
        if self.session.is_open and now - self._last_edit > GESTURE_S:
            self.editor.history.release()
        self._last_edit = now
        return name

    def show_clip(self) -> None:
        """Show the session's clip, which or whose source cameras have changed."""
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
                time.sleep(0.02)  # The preview shares the connection.

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
            if self.selected is not None:
                self.editor.capture(self.selected, pose, gesture="gizmo")
            if let_go:
                self.editor.history.release()

        self.do(drag)

    def _draw(self) -> None:
        if self.ended.is_set():
            return
        with suppress(ValueError):  # no clip yet
            current = self.editor.current
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
