"""The page of one browser window: a desk, and the panels around the scene."""

import threading
from functools import partial

import viser

from .clip_panel import ClipPanel
from .desk import Desk
from .jobs import Queue
from .keys_panel import KeysPanel
from .library import Clip, User
from .path_panel import PathPanel
from .run_panel import RunPanel
from .session import Session
from .time_panel import TimePanel
from .uploads import limit_uploads
from .view_panel import ViewPanel


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
            session: the visitor's; another window may show it, too.
            given: a clip that everybody may see besides the shipped ones, opened first.
        """
        self.desk = desk = Desk(client, session)
        limit_uploads(client, user.library.limits.upload_bytes, desk.tell)
        with client.atomic():  # Nothing can be pressed before all of it is there to answer.
            gui = client.gui
            gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
            gui.set_panel_label("TrajectoryCrafter studio")
            self._view = ViewPanel(desk)
            gui.main_panel.dock_right()
            gui.main_panel.set_width(360)
            desk.when(gui.add_button_group("Edit", ("Undo", "Redo")), self._step)
            desk.when(gui.add_button_group("Look", ("from behind", "as new camera")), self._look)
            tabs = gui.add_tab_group()
            with tabs.add_tab("Clip", viser.Icon.MOVIE):
                self.clips = ClipPanel(desk, user, given)
            with tabs.add_tab("Path", viser.Icon.ROUTE):
                path = PathPanel(desk, self.clips)
            with tabs.add_tab("Keys", viser.Icon.KEY):
                keys = KeysPanel(desk)
            with tabs.add_tab("Time", viser.Icon.CLOCK):
                time = TimePanel(desk)
            with tabs.add_tab("Run", viser.Icon.SPARKLES):
                run = RunPanel(desk, user, queue)
            undo = gui.add_command("Undo", hotkey="Z", modifier="cmd/ctrl")
            redo = gui.add_command("Redo", hotkey="Z", modifier="cmd/ctrl+shift")
            undo.on_trigger(lambda _: desk.do(lambda: self._step("Undo")))
            redo.on_trigger(lambda _: desk.do(lambda: self._step("Redo")))
        panels = (self._view, self.clips, path, keys, time, run)
        desk.on_design += [panel.refresh for panel in panels]
        desk.on_frame += [panel.show_frame for panel in (self._view, keys, time)]
        for loop in (self._view.run, run.watch):
            threading.Thread(target=loop, daemon=True).start()
        if session.is_open:
            desk.show_clip()
        elif given is not None:
            # Depth takes its time; the window is usable meanwhile.
            work = partial(desk.do, partial(self.clips.open, given))
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        self.desk.close()
        self._view.close()

    def _step(self, name: str) -> None:
        history = self.desk.editor.history
        if not (history.undo() if name == "Undo" else history.redo()):
            self.desk.tell("There is nothing further.", "Undo and redo", "gray")

    def _look(self, value: str) -> None:
        desk = self.desk
        if value == "from behind":
            desk.scene.go_home()
        else:
            desk.scene.look_through(desk.session.cameras, desk.frame)
