"""Who may come in, and who it is: the token of a shared studio, and a cookie for each browser.

The one thing a reader would get wrong: a studio without a token is open to this machine alone, yet
any web page can make a browser on this machine send requests to it. So the requested address must
be this machine's, and a websocket must have been opened by the studio's own page.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlencode, urlsplit

from .library import Library, User

_YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True)
class Visit:
    """A request that may come in."""

    user: User
    path: str
    """Without query."""
    query: Mapping[str, str]
    cookies: tuple[str, ...] = ()
    """Set-Cookie headers of the answer."""


@dataclass(frozen=True)
class Refusal:
    """A request that is answered at the gate."""

    status: HTTPStatus
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Gate:
    """Admits requests, and tells whose they are."""

    def __init__(self, library: Library, token: str | None):
        """
        Args:
            token: what a visitor must bring; None admits everybody on this machine.
        """
        self._library, self._token = library, token
        # Browsers keep one set of cookies for all ports of a machine, so two studios on it need
        # different names.
        name = hashlib.sha256(str(library.root).encode()).hexdigest()[:8]
        self._user_cookie, self._token_cookie = f"studio_user_{name}", f"studio_token_{name}"

    def enter(self, target: str, headers: Mapping[str, str], websocket: bool) -> Visit | Refusal:
        """Judge a request; only the page itself makes new visitors.

        Args:
            target: path and query, as in the request's first line.
            headers: their names match in any case.
            websocket: whether the request asks for one.
        """
        parts, host = urlsplit(target), headers.get("Host", "")
        path, query = parts.path or "/", dict(parse_qsl(parts.query))
        if self._token is None and not is_this_machine(urlsplit(f"//{host}").hostname or ""):
            return Refusal(
                HTTPStatus.FORBIDDEN,
                "This studio is for its own machine: open it as localhost or 127.0.0.1, or start "
                "it with --share.",
            )
        origin = headers.get("Origin")
        if websocket and origin is not None and urlsplit(origin).netloc != host:
            return Refusal(HTTPStatus.FORBIDDEN, "Only the studio's own page may connect.")
        try:
            cookies = {n: morsel.value for n, morsel in SimpleCookie(headers.get("Cookie")).items()}
        except CookieError:
            cookies = dict[str, str]()
        if self._token is not None:
            given = query.pop("token", None)
            if given is not None and _equal(given, self._token):
                # Removed from the address, so that nobody passes it on with a link.
                rest = f"?{urlencode(query)}" if query else ""
                cookie = _cookie(self._token_cookie, self._token)
                new = {"Location": path + rest, "Set-Cookie": cookie}
                return Refusal(HTTPStatus.SEE_OTHER, "Welcome.", new)
            if not _equal(cookies.get(self._token_cookie, ""), self._token):
                return Refusal(
                    HTTPStatus.FORBIDDEN,
                    "This studio asks for its token: open the whole address that was printed when "
                    "it was started.",
                )
        kept = cookies.get(self._user_cookie)
        wanted = query.get("user")
        known = wanted if wanted is not None and self._library.knows(wanted) else kept
        if path != "/" and not websocket and not (known and self._library.knows(known)):
            return Refusal(HTTPStatus.FORBIDDEN, "Open the studio's page first.")
        user = self._library.user(known)
        new = () if user.id == kept else (_cookie(self._user_cookie, user.id),)
        return Visit(user, path, query, new)


def is_this_machine(host: str) -> bool:
    """Whether a host's name can only mean this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _equal(given: str, true: str) -> bool:
    """Compared in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode(errors="replace"), true.encode())


def _cookie(name: str, value: str) -> str:
    return f"{name}={value}; Max-Age={_YEAR_S}; Path=/; HttpOnly; SameSite=Strict"
