"""One port for everything: viser's page and websocket, result files, the gallery, comparisons.

The one thing a reader would get wrong: who a browser belongs to is told by a cookie, which is set
when it loads the page and comes back with the websocket; `on_visit` hands it to the page's code.
"""

from collections.abc import Callable
from dataclasses import dataclass

import viser

from .jobs import Job, Queue
from .library import Library, User

GALLERY = "/gallery"
"""The visitor's finished jobs as a page."""


@dataclass(frozen=True)
class Studio:
    """A running server."""

    viser: viser.ViserServer
    url: str
    """What to open in a browser, token included."""

    def on_visit(self, welcome: Callable[[viser.ClientHandle, User], None]) -> None:
        """Call `welcome` in a thread for every browser window that connects, with its visitor."""

    def stop(self) -> None:
        """Stop serving."""


def serve(
    library: Library,
    queue: Queue,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    share: bool = False,
    label: str | None = None,
) -> Studio:
    """Start to serve; the caller starts the queue.

    Args:
        host: address to listen on.
        port: the next free one is taken if it is in use; 0 takes any.
        share: ask every visitor for a token, made now. Must be on unless `host` is this machine.
        label: at the top of viser's panel.

    Raises:
        ValueError: an address that others can reach, without `share`.
        RuntimeError: this version of viser cannot be guarded.
    """
    ...


def result_url(job: Job, name: str, *, download: bool = False) -> str:
    """Address of a file of a job, relative to the page: `result_url(job, "video.mp4")`.

    The comparison is `result_url(job, "compare.html")`.

    Args:
        download: whether the browser saves it instead of showing it.
    """
    return f"/results/{job.id}/{name}" + ("?download=1" if download else "")
