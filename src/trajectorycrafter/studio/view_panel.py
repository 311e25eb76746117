"""The panel on the left: what the new camera sees, its holes, the timeline, the source frame."""

import threading
import time
from contextlib import suppress

import numpy as np
import viser
from jaxtyping import UInt8

from . import drawings
from .desk import Desk
from .preparing import PreparedClip
from .preview import FrameShares, Latest

EMPTY = np.full((9, 16, 3), 40, dtype=np.uint8)
JPEG_QUALITY = 80
WIDTH = 366
"""Pixels; a preview of the default size fills it."""
FASTEST_PLAY = 12.0
"""Most frames a second while playing; each is rendered, encoded and sent."""


class ViewPanel:
    """The picture and its place in time."""

    def __init__(self, desk: Desk):
        self._desk = desk
        self._clip: PreparedClip | None = None
        self._shares: FrameShares | None = None
        self._moment = -1
        self._playing = threading.Event()
        self._find_shares = Latest(self._show_shares)
        gui = desk.client.gui
        panel = gui.add_panel()
        with panel.add_tab("New camera", viser.Icon.EYE):
            self._picture = gui.add_image(EMPTY, format="jpeg", jpeg_quality=JPEG_QUALITY)
            self._bar = gui.add_html(drawings.shares_bar(None, 0))
            self._frame = gui.add_slider("Frame", min=0, max=1, step=1, initial_value=0)
            self._button = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY)
            self._marked = gui.add_checkbox("Mark holes", True)
            self._notes = gui.add_html(drawings.said("Open or upload a clip (tab Clip)."))
            self._source = gui.add_image(EMPTY, label="Source", format="jpeg", jpeg_quality=75)
        panel.dock_left()
        panel.set_width(WIDTH)
        desk.when(self._frame, self._scrubbed)
        desk.when(self._button, lambda _: self._play(not self._playing.is_set()))
        desk.when(self._marked, lambda _: None)

    def refresh(self) -> None:
        clip = self._desk.session.clip
        if clip is not self._clip:
            self._clip, self._shares, self._moment = clip, None, -1
            self._frame.max = clip.output_frames - 1
        self._find_shares()

    def show_frame(self) -> None:
        session, frame = self._desk.session, self._desk.frame
        self._picture.image = enlarged(session.picture(frame, marked=self._marked.value))
        moment = int(session.path.source_frame[frame])
        self._desk.scene.show_moment(moment)
        if moment != self._moment:
            self._moment = moment
            self._source.image = enlarged(session.source_picture(frame))
            self._source.label = f"Source, frame {moment}"
        self._frame.value = frame
        self._bar.content = drawings.shares_bar(self._shares, frame)

    def _show_shares(self) -> None:
        session = self._desk.session
        if not self._desk.ended.is_set():
            with suppress(ValueError):
                self._shares = session.shares()
                self._bar.content = drawings.shares_bar(self._shares, self._desk.frame)
                self._notes.content = drawings.notes(session.warnings())

    def _scrubbed(self, frame: int) -> None:
        self._play(False)
        self._desk.go_to(frame)

    def _play(self, playing: bool) -> None:
        playing = playing and self._desk.session.is_open
        (self._playing.set if playing else self._playing.clear)()
        self._button.label = "Pause" if playing else "Play"
        self._button.icon = viser.Icon.PLAYER_PAUSE if playing else viser.Icon.PLAYER_PLAY

    def run(self) -> None:
        """Advance the frame while the visitor plays, until the window is closed."""
        desk = self._desk
        while not desk.ended.is_set():
            if not self._playing.wait(0.2):
                continue
            began = time.monotonic()
            desk.go_to((desk.frame + 1) % desk.session.design.frames)
            desk.redraw.settle(2.0)
            pause = 1 / min(desk.session.clip.fps, FASTEST_PLAY)
            desk.ended.wait(max(0.0, pause - (time.monotonic() - began)))

    def close(self) -> None:
        self._find_shares.stop()


def enlarged(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with its pixels repeated, so that it fills the panel."""
    factor = max(1, round((WIDTH - 30) / picture.shape[1]))
    return picture.repeat(factor, 0).repeat(factor, 1) if factor > 1 else picture
