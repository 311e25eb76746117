"""Who may come in, and who he is: the token of a shared studio, and a cookie for each browser.

The one thing a reader would get wrong: a studio without a token is open to this machine alone, and
a web page of anybody's can make the browser of this machine ask it. So the address that was asked
for must be this machine's, and a websocket must have been opened by the studio's own page.
"""

import hashlib
import hmac
import secrets
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
    """Set-Cookie headers that the answer gets."""


@dataclass(frozen=True)
class Refusal:
    """A request that is answered at the gate."""

    status: HTTPStatus
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Gate:
    """Lets requests in, and tells whose they are."""

    def __init__(self, library: Library, token: str | None):
        """
        Args:
            token: what a visitor must bring; None admits who is on this machine.
        """
        self._library, self._token = library, token
        # Browsers keep one set of cookies for all ports of a machine: two studios on it must not
        # overwrite each other's.
        name = hashlib.sha256(str(library.root).encode()).hexdigest()[:8]
        self._user_cookie, self._token_cookie = f"studio_user_{name}", f"studio_token_{name}"

    def enter(self, target: str, headers: Mapping[str, str], websocket: bool) -> Visit | Refusal:
        """Judge a request.

        Args:
            target: path and query, as in the request's first line.
            headers: of the request, by any spelling of their names.
            websocket: whether it asks for a websocket.
        """
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        cookies = _cookies(headers.get("Cookie", ""))
        foreign = self._foreign(headers, websocket)
        if foreign is not None:
            return foreign
        if self._token is not None:
            given = query.pop("token", None)
            if given is not None and _equal(given, self._token):
                # Out of the address, so that it is not handed on with it.
                rest = f"?{urlencode(query)}" if query else ""
                cookie = _cookie(self._token_cookie, self._token)
                new = {"Location": (parts.path or "/") + rest, "Set-Cookie": cookie}
                return Refusal(HTTPStatus.SEE_OTHER, "Welcome.", new)
            if not _equal(cookies.get(self._token_cookie, ""), self._token):
                return Refusal(
                    HTTPStatus.FORBIDDEN,
                    "This studio asks for its token: open the whole address that was printed when "
                    "it was started.",
                )
        return self._visit(parts.path or "/", query, cookies, websocket)

    def _visit(
        self, path: str, query: Mapping[str, str], cookies: Mapping[str, str], websocket: bool
    ) -> Visit | Refusal:
        """Whose request it is; only the page itself makes new visitors."""
        kept = cookies.get(self._user_cookie)
        wanted = query.get("user")
        known = wanted if wanted is not None and self._library.knows(wanted) else kept
        if path != "/" and not websocket and not (known and self._library.knows(known)):
            return Refusal(HTTPStatus.FORBIDDEN, "Open the studio's page first.")
        user = self._library.user(known)
        new = () if user.id == kept else (_cookie(self._user_cookie, user.id),)
        return Visit(user, path, query, new)

    def _foreign(self, headers: Mapping[str, str], websocket: bool) -> Refusal | None:
        """A request that another site's page had the browser make."""
        host = headers.get("Host", "")
        if self._token is None and not is_this_machine(urlsplit(f"//{host}").hostname or ""):
            return Refusal(
                HTTPStatus.FORBIDDEN,
                "This studio is for its own machine: open it as localhost or 127.0.0.1, or start "
                "it with --share.",
            )
        origin = headers.get("Origin")
        if websocket and origin is not None and urlsplit(origin).netloc != host:
            return Refusal(HTTPStatus.FORBIDDEN, "Only the studio's own page may connect.")
        return None


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def is_this_machine(host: str) -> bool:
    """Whether a host's name can only mean the machine that it is said on."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _equal(given: str, true: str) -> bool:
    """In a time that does not depend on how much of it is right."""
    return hmac.compare_digest(given.encode(errors="replace"), true.encode())


def _cookies(header: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def _cookie(name: str, value: str) -> str:
    return f"{name}={value}; Max-Age={_YEAR_S}; Path=/; HttpOnly; SameSite=Strict"
