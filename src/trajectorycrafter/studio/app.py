"""The studio as one call: library, queue and server, and a page for every browser window.

The one thing a reader would get wrong: a window that is closed ends nothing but its own page. Jobs
belong to the queue, whose folder outlives the server.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import viser

from ..config.redirect import RedirectSettings
from ..config.studio import Limits, StudioServer
from ..video.reading import clip_path
from .jobs import Queue
from .library import Clip, Library, User
from .page import Page
from .preparing import Preparer
from .server import Studio, serve
from .session import Session

Say = Callable[[str], object]


@dataclass(frozen=True)
class Running:
    """A studio that is up."""

    url: str
    """What to open in a browser; the token of a shared studio is in it."""
    queue: Queue
    _server: Studio

    def stop(self) -> None:
        """A job that was running goes on at the next start."""
        self._server.stop()
        self.queue.stop()


class Sessions:
    """The sessions of the latest visitors, so that a page can be loaded again."""

    KEPT = 8
    """Each holds a prepared clip in memory."""

    def __init__(self, preparer: Preparer, settings: RedirectSettings):
        self._of = lru_cache(self.KEPT)(lambda id: Session(preparer, settings))
        self._lock = threading.Lock()

    def of(self, user: User) -> Session:
        """The visitor's session; a new one if it is no longer kept."""
        with self._lock:  # two windows of a visitor must not get two sessions
            return self._of(user.id)


def launch(
    clip: str | Path | None = None,
    settings: RedirectSettings | None = None,
    server: StudioServer | None = None,
    limits: Limits | None = None,
) -> Running:
    """Start the studio and return.

    Args:
        clip: shown first to everybody; None opens nothing by itself.
        settings: of the full runs; the page can change model, prompt, speed and seed.

    Raises:
        FileNotFoundError: no such clip.
        ValueError: a clip that cannot be read, or an address that needs `share`.
        OSError: the folder or the port cannot be used.
    """
    server, settings = server or StudioServer(), settings or RedirectSettings()
    given = None
    if clip is not None:
        path = clip_path(clip)
        given = Clip.of("given", path.stem, path.absolute(), shipped=True)
    root = server.folder or Path.home() / ".local" / "share" / "trajectorycrafter" / "studio"
    library = Library(root, limits)
    queue, preparer = Queue(library), Preparer(root / "depth")
    studio = serve(library, queue, host=server.host, port=server.port, share=server.share)
    sessions = Sessions(preparer, settings)
    pages: dict[int, Page] = {}

    def welcome(client: viser.ClientHandle, user: User) -> None:
        pages[client.client_id] = Page(client, user, queue, sessions.of(user), given)

    @studio.viser.on_client_disconnect
    def _(client: viser.ClientHandle) -> None:
        page = pages.pop(client.client_id, None)
        if page is not None:
            page.close()

    studio.viser.scene.world_axes.visible = False
    studio.on_visit(welcome)
    queue.start()
    return Running(studio.url, queue, studio)


def run(
    clip: str | Path | None = None,
    settings: RedirectSettings | None = None,
    server: StudioServer | None = None,
    limits: Limits | None = None,
    say: Say = print,
) -> None:
    """Start the studio and serve until Ctrl-C; arguments and errors as `launch`."""
    # A browser opens connections that it never uses; that is nobody's error.
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    running = launch(clip, settings, server, limits)
    say(f"The studio is open: {running.url}")
    say("Ctrl-C ends it; jobs go on when it is started again.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        say("Closing.")
    finally:
        running.stop()
