"""One port for everything: viser's page and websocket, result files, the gallery, comparisons.

A browser is known by a cookie, which is set when it loads the page and comes back with the
websocket; `on_visit` hands the visitor to the page's code.
"""

import asyncio
import io
import secrets
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from weakref import WeakKeyDictionary

import websockets.asyncio.server
from viser import ClientHandle, ViserServer
from viser import __version__ as viser_version
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from .answers import SAFE_HEADERS, Answer, answer
from .gate import Gate, Refusal, is_this_machine
from .jobs import Queue
from .library import Library, User

_DOWNLOAD_S = 1800.0
"""How long a download may take over a slow line."""
_visitor: ContextVar[User] = ContextVar("visitor")
"""Whose websocket the running task serves."""
_starting = threading.Lock()

Handler = Callable[[ServerConnection], Awaitable[None]]
Answering = Callable[[ServerConnection, Request], Any]


@dataclass(frozen=True)
class Studio:
    """A running server."""

    viser: ViserServer
    url: str
    """What to open in a browser, token included."""
    token: str | None
    """What visitors must bring; None if it serves this machine alone."""
    _guard: "_Guard" = field(repr=False)

    def on_visit(self, welcome: Callable[[ClientHandle, User], None]) -> None:
        """Call `welcome` in a thread for every browser window that connects, with its visitor.

        No window can connect before.
        """

        @self.viser.on_client_connect
        async def _(client: ClientHandle) -> None:
            # viser's own threads know nothing of the connection; this task does.
            await asyncio.to_thread(welcome, client, _visitor.get())

        self._guard.open = True

    def stop(self) -> None:
        self.viser.stop()


def serve(
    library: Library,
    queue: Queue,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    share: bool = False,
) -> Studio:
    """Start to serve; the caller starts the queue.

    Args:
        port: the next free one is taken if it is in use; 0 takes any.
        share: ask every visitor for a token, made now. Must be on unless `host` is this machine.

    Raises:
        ValueError: an address that others can reach, without `share`.
        RuntimeError: this version of viser cannot be guarded.
    """
    if not share and not is_this_machine(host):
        raise ValueError(
            f"--host {host} can be reached from other machines; add --share, which asks visitors "
            "for a token, or leave --host at 127.0.0.1."
        )
    token = secrets.token_urlsafe(24) if share else None
    guard = _Guard(Gate(library, token), queue)
    # viser prints an address of its own, which lacks the token.
    with _starting, _guarded(guard) as taken, redirect_stdout(io.StringIO()):
        server = ViserServer(host=host, port=port, verbose=False)
    if not taken:
        server.stop()
        raise RuntimeError(
            f"viser {viser_version} starts its server in another way than the studio knows, so "
            "nothing would guard it; install viser 1.1."
        )
    # viser's page can ask for a public tunnel; who may see the studio is not a visitor's choice.
    server.request_share_url = lambda verbose=True: None  # pyright: ignore[reportAttributeAccessIssue]
    query = "" if token is None else f"?token={token}"
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    shown = f"[{shown}]" if ":" in shown else shown
    return Studio(server, f"http://{shown}:{server.get_port()}/{query}", token, guard)


class _Guard:
    """Stands before viser's server: judges every request, answers ours, passes on the rest."""

    def __init__(self, gate: Gate, queue: Queue):
        self.gate, self.queue = gate, queue
        self.open = False
        """Whether windows can connect."""
        self._visitors: WeakKeyDictionary[ServerConnection, User] = WeakKeyDictionary()

    async def request(
        self, theirs: Answering, connection: ServerConnection, request: Request
    ) -> Response | None:
        """The response to a request; None lets a websocket open."""
        websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        if not websocket:
            connection.close_timeout = _DOWNLOAD_S
        verdict = self.gate.enter(request.path, request.headers, websocket)
        if isinstance(verdict, Refusal):
            body = f"{verdict.message}\n".encode()
            return _response(Answer(verdict.status, body, headers=dict(verdict.headers)))
        if websocket and not self.open:
            return _response(Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"The studio is starting.\n"))
        if websocket:
            self._visitors[connection] = verdict.user
            return theirs(connection, request)
        ours = await asyncio.to_thread(answer, verdict, self.queue, request.headers.get("Range"))
        if ours is not None:
            response = _response(ours)
        else:
            response = theirs(connection, request)
            assert isinstance(response, Response), response
            response.headers.update(SAFE_HEADERS | {"X-Frame-Options": "SAMEORIGIN"})
        for cookie in verdict.cookies:
            response.headers["Set-Cookie"] = cookie
        return response

    async def websocket(self, theirs: Handler, connection: ServerConnection) -> None:
        """A websocket's whole life, in a task that knows its visitor."""
        _visitor.set(self._visitors[connection])
        await theirs(connection)


@contextmanager
def _guarded(guard: _Guard) -> Generator[list[bool], None, None]:
    """While this is open, a server that viser starts has the guard before it.

    viser answers HTTP itself and can neither be given more answers nor a check before its
    websocket. But it starts its server by one call, `websockets.asyncio.server.serve`, whose
    arguments are websockets' public interface; in here that call is ours.

    Yields:
        A list that is no longer empty once the call was made.
    """
    module = websockets.asyncio.server
    original, taken = module.serve, []

    def guarded(handler: Handler, *place: Any, process_request: Answering, **options: Any) -> Any:
        taken.append(True)

        async def request(connection: ServerConnection, request: Request) -> Response | None:
            return await guard.request(process_request, connection, request)

        async def websocket(connection: ServerConnection) -> None:
            await guard.websocket(handler, connection)

        options["open_timeout"] = _DOWNLOAD_S  # for websockets a download is a handshake
        return original(websocket, *place, process_request=request, **options)

    module.serve = guarded  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield taken
    finally:
        module.serve = original


def _response(answer: Answer) -> Response:
    headers = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body))}
    headers = Headers(headers | SAFE_HEADERS | answer.headers | {"Connection": "close"})
    return Response(answer.status.value, answer.status.phrase, headers, answer.body)
