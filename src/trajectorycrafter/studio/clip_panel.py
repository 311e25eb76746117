"""The tab of clips: choose, upload, find the source camera, size of the points."""

from typing import TYPE_CHECKING

import viser

from . import drawings
from .library import Clip

if TYPE_CHECKING:
    from .page import Page

NO_CLIPS: tuple[str, ...] = ("-",)
SOURCES = {"stands still": "static", "moves: find it (COLMAP)": "colmap"}


class ClipPanel:
    """Which clip is worked on."""

    def __init__(self, page: "Page"):
        self._page = page
        gui = page.client.gui
        self._names: dict[str, Clip] = {}
        given = page.session.settings.camera.source
        self._sources = (
            dict(SOURCES) if given in SOURCES.values() else {**SOURCES, "as given": given}
        )
        self._choice = gui.add_dropdown("Clip", NO_CLIPS)
        self._open = gui.add_button("Open", icon=viser.Icon.FOLDER)
        self._upload = gui.add_upload_button(
            "Upload a clip", icon=viser.Icon.UPLOAD, color="gray", mime_type="video/*,image/*"
        )
        self._remove = gui.add_button("Remove my clip", icon=viser.Icon.TRASH, color="gray")
        self._bar = gui.add_progress_bar(0, animated=True, visible=False)
        self._about = gui.add_html(drawings.said("No clip is open."))
        with gui.add_folder("Source camera"):
            self._source = gui.add_dropdown("The camera", tuple(self._sources))
        with gui.add_folder("Points", expand_by_default=False):
            self._size = gui.add_slider("Size", min=0.3, max=4.0, step=0.1, initial_value=1.0)
        self.list_clips()
        page.when(self._open, lambda _: page.open(self._names[self._choice.value]))
        page.when(self._upload, lambda file: self._uploaded(file.name, file.content))
        page.when(self._remove, lambda _: self._removed())
        page.when(self._source, self._find_source)
        page.when(self._size, page.scene.resize_points)

    def list_clips(self, chosen: str | None = None) -> None:
        """Show what is in the library."""
        given = self._page.given
        self._names = named([*([given] if given else []), *self._page.user.clips()])
        self._choice.options = tuple(self._names)
        if chosen is not None:
            self._choice.value = next(n for n, clip in self._names.items() if clip.id == chosen)
        self._page_lists()

    def _page_lists(self) -> None:
        """Other tabs offer the same clips."""
        path = getattr(self._page, "path", None)
        if path is not None:
            path.list_clips(self._names)

    @property
    def names(self) -> dict[str, Clip]:
        """The clips by what they are called here."""
        return self._names

    def refresh(self) -> None:
        """About the clip that is open."""
        session = self._page.session
        clip = session.clip
        source = clip.source
        self._about.content = drawings.said(
            f"{session.name}: {len(clip)} frames of {source.width}x{source.height}, "
            f"{clip.fps:g} per second; subject at {clip.radius:.2f} scene units."
        )
        kind = session.settings.camera.source
        self._source.value = next(words for words, k in self._sources.items() if k == kind)

    def show_progress(self, stage: str, share: float) -> None:
        """How far the opening of a clip is; an empty stage ends it."""
        self._bar.visible = bool(stage)
        self._bar.value = 100 * share
        if stage:
            self._about.content = drawings.said(f"{stage}: {share:.0%}" if share else stage)
        elif not self._page.session.is_open:
            self._about.content = drawings.said("No clip is open.")

    def _uploaded(self, name: str, data: bytes) -> None:
        clip = self._page.user.add(name, data)
        self.list_clips(clip.id)
        self._page.open(clip)

    def _removed(self) -> None:
        self._page.user.remove(self._names[self._choice.value].id)
        self.list_clips()

    def _find_source(self, words: str) -> None:
        page = self._page
        if page.session.settings.camera.source == self._sources[words]:
            return
        with page.progress("Source camera") as tell:
            page.session.change_source(self._sources[words], tell)
        page.fresh()


def named(clips: list[Clip]) -> dict[str, Clip]:
    """The clips under names that differ."""
    found: dict[str, Clip] = {}
    for clip in clips:
        name, count = clip.name, 1
        while name in found:
            count += 1
            name = f"{clip.name} ({count})"
        found[name] = clip
    return found
