"""The panel on the left: what the new camera sees, its holes, the timeline, the source frame."""

from typing import TYPE_CHECKING

import numpy as np
import viser
from jaxtyping import UInt8

from . import drawings
from .preparing import PreparedClip
from .preview import FrameShares

if TYPE_CHECKING:
    from .page import Page

EMPTY = np.full((9, 16, 3), 40, dtype=np.uint8)
JPEG_QUALITY = 80
WIDTH = 366
"""Pixels; a preview of the default size fills it."""


class ViewPanel:
    """The picture, and when it is."""

    def __init__(self, page: "Page"):
        self._page = page
        self._shares: FrameShares | None = None
        self._moment = -1
        gui = page.client.gui
        panel = gui.add_panel()
        with panel.add_tab("New camera", viser.Icon.EYE):
            self._picture = gui.add_image(EMPTY, format="jpeg", jpeg_quality=JPEG_QUALITY)
            self._bar = gui.add_html(drawings.shares_bar(None, 0))
            self.frame = gui.add_slider("Frame", min=0, max=1, step=1, initial_value=0)
            self.play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY)
            self._marked = gui.add_checkbox("Mark holes", True)
            self._notes = gui.add_html(drawings.said("Open or upload a clip (tab Clip)."))
            self._source = gui.add_image(EMPTY, label="Source", format="jpeg", jpeg_quality=75)
        panel.dock_left()
        panel.set_width(WIDTH)
        page.when(self.frame, self._scrubbed)
        page.when(self.play, lambda _: self._play_pressed())
        page.when(self._marked, self._mark)

    def open(self, clip: PreparedClip) -> None:
        """Another clip."""
        self._shares, self._moment = None, -1
        self.frame.max = clip.output_frames - 1
        self.frame.value = 0

    def show(self) -> None:
        """The pictures of the frame on show."""
        page = self._page
        frame = page.frame
        self._picture.image = enlarged(page.session.picture(frame, marked=page.marked))
        moment = int(page.session.path.source_frame[frame])
        page.scene.show_moment(moment)
        if moment != self._moment:
            self._moment = moment
            self._source.image = enlarged(page.session.source_picture(frame))
            self._source.label = f"Source, frame {moment}"
        self.frame.value = frame
        self._bar.content = drawings.shares_bar(self._shares, frame)

    def show_shares(self, shares: FrameShares, warnings: list[str]) -> None:
        """What has just been found out about the path."""
        self._shares = shares
        self._bar.content = drawings.shares_bar(shares, self._page.frame)
        self._notes.content = drawings.notes(warnings)

    def _scrubbed(self, frame: int) -> None:
        self._page.play(False)
        self._name_play()
        self._page.go_to(frame)

    def _play_pressed(self) -> None:
        self._page.play(not self._page.is_playing)
        self._name_play()

    def _name_play(self) -> None:
        playing = self._page.is_playing
        self.play.label = "Pause" if playing else "Play"
        self.play.icon = viser.Icon.PLAYER_PAUSE if playing else viser.Icon.PLAYER_PLAY

    def _mark(self, marked: bool) -> None:
        self._page.marked = marked
        self._page.redraw()


def enlarged(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """A small picture with larger pixels, so that it fills the panel."""
    factor = max(1, round((WIDTH - 30) / picture.shape[1]))
    return picture.repeat(factor, 0).repeat(factor, 1) if factor > 1 else picture
