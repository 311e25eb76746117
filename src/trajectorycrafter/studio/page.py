"""One browser window: a session, its scene, its panels, and what passes between them.

The one thing a reader would get wrong: callbacks only change the session and ask for a redraw. One
thread redraws, always the newest state, so a visitor who drags fast sees fewer pictures and never
late ones.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import viser
from jaxtyping import Float
from torch import Tensor

from .clip_panel import ClipPanel
from .jobs import Queue
from .keys_panel import KeysPanel
from .library import Clip, User
from .path_panel import PathPanel
from .preparing import Tell
from .preview import Latest
from .run_panel import RunPanel
from .scene import Scene
from .session import Session
from .time_panel import TimePanel
from .uploads import limit_uploads
from .view_panel import ViewPanel

GESTURE_S = 1.0
"""A slider that rests so long has been let go."""
FASTEST_PLAY = 12.0
"""Frames a second that the play button shows at most."""

_log = logging.getLogger(__name__)


class Page:
    """What one browser window shows, until it is closed."""

    def __init__(
        self,
        client: viser.ClientHandle,
        user: User,
        queue: Queue,
        session: Session,
        given: Clip | None = None,
    ):
        """
        Args:
            session: the visitor's; another window of his may show it, too.
            given: a clip that everybody may see besides the shipped ones.
        """
        self.given = given
        self.client, self.user, self.queue, self.session = client, user, queue, session
        self.frame, self.marked = 0, True
        self.selected: int | None = None
        """Output frame of the key that is edited."""
        self._drawn: object = None
        self._last_edit = 0.0
        self._ended, self._playing = threading.Event(), threading.Event()
        self.scene = Scene(client, self.select, self._key_dragged)
        limit_uploads(client, user.library.limits.upload_bytes, self.tell)
        with client.atomic():  # Nothing can be pressed before all of it is there to answer.
            self._build()
        self._redraw, self._recover = Latest(self._draw), Latest(self._cover)
        for loop in (self._play, self._watch_jobs):
            threading.Thread(target=loop, daemon=True).start()
        if session.is_open:
            self.fresh()

    def _build(self) -> None:
        gui = self.client.gui
        gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        gui.set_panel_label("TrajectoryCrafter studio")
        self.view = ViewPanel(self)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(360)
        history = gui.add_button_group("Edit", ("Undo", "Redo"))
        self.when(history, self._edit_button)
        views = gui.add_button_group("Look", ("from behind", "as new camera"))
        self.when(views, self._look)
        tabs = gui.add_tab_group()
        with tabs.add_tab("Clip", viser.Icon.MOVIE):
            self.clips = ClipPanel(self)
        with tabs.add_tab("Path", viser.Icon.ROUTE):
            self.path = PathPanel(self)
        with tabs.add_tab("Keys", viser.Icon.KEY):
            self.keys = KeysPanel(self)
        with tabs.add_tab("Time", viser.Icon.CLOCK):
            self.time = TimePanel(self)
        with tabs.add_tab("Run", viser.Icon.SPARKLES):
            self.run = RunPanel(self)
        undo = gui.add_command("Undo", hotkey="Z", modifier="cmd/ctrl")
        undo.on_trigger(lambda _: self._shortcut("Undo"))
        redo = gui.add_command("Redo", hotkey="Z", modifier="cmd/ctrl+shift")
        redo.on_trigger(lambda _: self._shortcut("Redo"))

    def close(self) -> None:
        """The window is gone."""
        self._ended.set()
        self._redraw.stop()
        self._recover.stop()

    # Callbacks -----------------------------------------------------------------------------------

    def when(self, widget: Any, work: Callable[[Any], object]) -> None:
        """Call `work` with the widget's value whenever the visitor, not we, changes it.

        What is wrong with his wish is told on the page; it never becomes a stack trace.
        """

        def changed(event: viser.GuiEvent[Any]) -> None:
            if event.client is not None:
                value = getattr(event.target, "value", None)
                self.attempt(lambda: work(value))

        if isinstance(widget, viser.GuiUploadButtonHandle):
            widget.on_upload(changed)
        elif isinstance(widget, (viser.GuiButtonHandle, viser.GuiButtonGroupHandle)):
            widget.on_click(changed)
        else:
            widget.on_update(changed)

    def attempt(self, work: Callable[[], object]) -> bool:
        """Do it; a wrong wish is told. Whether it was done."""
        try:
            work()
        except (ValueError, FileNotFoundError) as error:
            self.tell(str(error))
        except Exception:
            if not self._ended.is_set():
                _log.exception("The studio failed on a visitor's wish.")
                self.tell("Something went wrong here; the server's log says what.")
        else:
            return True
        # The widgets go back to what counts.
        self._drawn = None
        self.redraw()
        return False

    def tell(self, message: str, title: str = "That did not work", color: Any = "red") -> None:
        """Show a message for a while."""
        if not self._ended.is_set():
            self.client.add_notification(
                title, message, color=color, auto_close_seconds=8.0 if color != "red" else 15.0
            )

    def gesture(self, name: str) -> str:
        """For a change by the named widget: part of the same step unless it rested."""
        now = time.monotonic()
        if self.session.is_open and now - self._last_edit > GESTURE_S:
            self.session.editor.release()
        self._last_edit = now
        return name

    def _shortcut(self, name: str) -> None:
        self.attempt(lambda: self._edit_button(name))

    def _edit_button(self, value: str) -> None:
        self._step(self.session.editor.undo if value == "Undo" else self.session.editor.redo)

    def _look(self, value: str) -> None:
        if value == "from behind":
            self.scene.go_home()
        else:
            self.scene.look_through(self.session.cameras, self.frame)

    def _step(self, work: Callable[[], bool]) -> None:
        if not work():
            self.tell("There is nothing further.", "Undo and redo", "gray")
        self.redraw()

    # Clips ---------------------------------------------------------------------------------------

    def open(self, clip: Clip) -> None:
        """Show a clip; its depth may take a while.

        Raises:
            ValueError: a clip that cannot be used.
        """
        with self.progress(f"Opening {clip.name}") as tell:
            self.session.open(clip.path, clip.name, tell)
        self.fresh()

    def fresh(self) -> None:
        """The session has another clip, or other source cameras."""
        if self._ended.is_set():
            return
        clip = self.session.clip
        self.frame, self.selected, self._drawn = 0, None, None
        self.scene.open(clip)
        self.view.open(clip)
        self.redraw()
        threading.Thread(target=self._send_moments, daemon=True).start()

    def _send_moments(self) -> None:
        clip = self.session.clip
        for moment in range(len(clip)):
            if self._ended.is_set() or self.session.clip is not clip:
                return
            self.scene.send(moment)
            # The preview shares the line.
            time.sleep(0.02)

    @contextmanager
    def progress(self, title: str) -> Iterator[Tell]:
        """While this is open, the page shows how far something is."""
        note = self.client.add_notification(title, "", loading=True, with_close_button=False)

        def tell(stage: str, share: float) -> None:
            note.body = f"{stage}: {share:.0%}" if share else stage
            self.clips.show_progress(stage, share)

        try:
            yield tell
        finally:
            note.remove()
            self.clips.show_progress("", 0.0)

    # Frames and keys -----------------------------------------------------------------------------

    def go_to(self, frame: int) -> None:
        """Show an output frame."""
        last = self.session.design.frames - 1 if self.session.is_open else 0
        self.frame = max(0, min(frame, last))
        self.redraw()

    def select(self, frame: int | None) -> None:
        """Edit the key of an output frame."""
        self.selected, self._drawn = frame, None
        if frame is not None:
            self.go_to(frame)
        self.redraw()

    def _key_dragged(self, pose: Float[Tensor, "4 4"], let_go: bool) -> None:
        def drag() -> None:
            if self.selected is not None:
                self.session.editor.capture(self.selected, pose, gesture="gizmo")
            if let_go:
                self.session.editor.release()

        if self.attempt(drag):
            self.redraw()

    def play(self, playing: bool) -> None:
        """Let the frames run, or stop them."""
        if playing and self.session.is_open:
            self._playing.set()
        else:
            self._playing.clear()

    @property
    def is_playing(self) -> bool:
        return self._playing.is_set()

    def _play(self) -> None:
        while not self._ended.is_set():
            if not self._playing.wait(0.2) or not self.session.is_open:
                continue
            began = time.monotonic()
            self.go_to((self.frame + 1) % self.session.design.frames)
            self._redraw.settle(2.0)
            pause = 1 / min(self.session.clip.fps, FASTEST_PLAY)
            self._ended.wait(max(0.0, pause - (time.monotonic() - began)))

    # Drawing -------------------------------------------------------------------------------------

    def redraw(self) -> None:
        """Show the newest state, soon."""
        self._redraw()

    def _draw(self) -> None:
        if self._ended.is_set():
            return
        with suppress(ValueError):  # no clip yet
            design = self.session.design
            anew = design is not self._drawn
            self.view.show()
            if not anew:
                self.scene.show_frame(self.session.cameras, self.frame)
                self.time.show_frame()
                self.keys.show_frame()
                return
            self._drawn = design
            if self.selected is not None and design.key_at(self.selected) is None:
                self.selected = None
            self.scene.show_path(self.session.cameras, self.frame)
            self.scene.show_keys(design, self.session.cameras, self.selected)
            self.scene.show_pivot(design.pivot)
            for panel in (self.clips, self.path, self.keys, self.time, self.run):
                panel.refresh()
            self._recover()

    def _cover(self) -> None:
        if self._ended.is_set():
            return
        with suppress(ValueError):
            self.view.show_shares(self.session.shares(), self.session.warnings())

    def _watch_jobs(self) -> None:
        while not self._ended.wait(1.0):
            self.attempt(self.run.refresh_jobs)
