"""The tab of clips: choose, upload, find the source camera, size of the points."""

from collections.abc import Generator
from contextlib import contextmanager

import viser

from . import drawings
from .desk import Desk
from .library import Clip, User
from .preparing import Tell

SOURCES = {"stands still": "static", "moves: find it (COLMAP)": "colmap"}


class ClipPanel:
    """Which clip is worked on."""

    def __init__(self, desk: Desk, user: User, given: Clip | None):
        self._desk, self._user, self._given = desk, user, given
        gui = desk.client.gui
        source = desk.session.settings.camera.source
        self._sources = SOURCES if source in SOURCES.values() else SOURCES | {"as given": source}
        self.names: dict[str, Clip] = {}
        """The clips by their names on the page."""
        self._choices: list[viser.GuiDropdownHandle[str]] = []
        self._choice = self.offer("Clip")
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
        self._list()
        desk.when(self._open, lambda _: self.open(self.names[self._choice.value]))
        desk.when(self._upload, lambda file: self._uploaded(file.name, file.content))
        desk.when(self._remove, lambda _: self._removed())
        desk.when(self._source, self._find_source)
        desk.when(self._size, desk.scene.resize_points)

    def offer(self, label: str) -> viser.GuiDropdownHandle[str]:
        """Another dropdown of all clips, which is kept up to date."""
        options: tuple[str, ...] = tuple(self.names) or ("-",)
        self._choices.append(self._desk.client.gui.add_dropdown(label, options))
        return self._choices[-1]

    def _list(self) -> None:
        given = [] if self._given is None else [self._given]
        self.names = named([*given, *self._user.clips()])
        for choice in self._choices:
            choice.options = tuple(self.names)

    def open(self, clip: Clip) -> None:
        """Show a clip; its depth may take a while. Raises as `Session.open`."""
        with self.progress(f"Opening {clip.name}") as tell:
            self._desk.session.open(clip.path, clip.name, tell)
        self._desk.show_clip()

    @contextmanager
    def progress(self, title: str) -> Generator[Tell, None, None]:
        """While this is open, the page shows how far something is."""
        note = self._desk.client.add_notification(title, "", loading=True, with_close_button=False)

        def tell(stage: str, share: float) -> None:
            words = f"{stage}: {share:.0%}" if share else stage
            note.body, self._about.content = words, drawings.said(words)
            self._bar.visible, self._bar.value = True, 100 * share

        try:
            yield tell
        finally:
            note.remove()
            self._bar.visible, self._bar.value = False, 0
            if not self._desk.session.is_open:
                self._about.content = drawings.said("No clip is open.")

    def refresh(self) -> None:
        session = self._desk.session
        clip = session.clip
        self._about.content = drawings.said(
            f"{session.name}: {len(clip)} frames of {clip.source.width}x{clip.source.height}, "
            f"{clip.fps:g} per second; subject at {clip.radius:.2f} scene units."
        )
        kind = session.settings.camera.source
        self._source.value = next(words for words, k in self._sources.items() if k == kind)

    def _uploaded(self, name: str, data: bytes) -> None:
        clip = self._user.add(name, data)
        self._list()
        self._choice.value = next(n for n, other in self.names.items() if other.id == clip.id)
        self.open(clip)

    def _removed(self) -> None:
        self._user.remove(self.names[self._choice.value].id)
        self._list()

    def _find_source(self, words: str) -> None:
        session, source = self._desk.session, self._sources[words]
        if session.settings.camera.source != source:
            with self.progress("Source camera") as tell:
                session.change_source(source, tell)
            self._desk.show_clip()


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
