"""One port carries viser, results, gallery; the gate judges every request, the websocket's too."""

import asyncio
import http.client
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import viser
import websockets
from websockets.asyncio.client import connect

from trajectorycrafter.config.redirect import RedirectSettings
from trajectorycrafter.studio.answers import GALLERY, result_url
from trajectorycrafter.studio.gate import Gate, Refusal, Visit, is_this_machine
from trajectorycrafter.studio.job_records import JobSpec, StudioJob, write_job
from trajectorycrafter.studio.jobs import Queue
from trajectorycrafter.studio.library import Library, User
from trajectorycrafter.studio.server import Studio, serve

HOST = {"Host": "127.0.0.1:80"}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "studio")


def finished_job(library: Library, user: User, name: str = "a job") -> StudioJob:
    """A job on disk that is done, as the queue leaves it."""
    folder = user.folder / "jobs" / ("0" * 31 + str(len(list(user.folder.glob("jobs/*")))))
    (folder / "out").mkdir(parents=True)
    (folder / "out" / "video.mp4").write_bytes(bytes(range(256)) * 4)
    (folder / "out" / "compare.html").write_text("<p>side by side</p>")
    (folder / "secret.txt").write_text("not a result")
    spec = JobSpec(Path("clip.mp4"), folder / "trajectory.json", RedirectSettings(), user.id, name)
    job = StudioJob(folder.name, spec, folder, "done", 1.0)
    write_job(job)
    return job


class Page:
    """A browser as far as the server sees it: a socket and its cookies."""

    def __init__(self, studio: Studio):
        parts = urlsplit(studio.url)
        assert parts.hostname is not None and parts.port is not None
        self.host, self.port, self.cookies = parts.hostname, parts.port, {}
        self.start = f"{parts.path}?{parts.query}"

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        for name, value in answer.getheaders():
            if name == "Set-Cookie":
                assert "HttpOnly" in value and "SameSite=Strict" in value
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def websocket(self, **headers: str) -> str:
        """What comes of opening viser's websocket: "open", or the status of the refusal."""
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())

        async def attempt() -> str:
            try:
                async with connect(
                    f"ws://{self.host}:{self.port}",
                    subprotocols=[websockets.Subprotocol(f"viser-v{viser.__version__}")],
                    additional_headers=headers,
                ) as socket:
                    await asyncio.wait_for(socket.recv(), 10)
                    return "open"
            except websockets.InvalidStatus as refused:
                return str(refused.response.status_code)

        return asyncio.run(attempt())


@pytest.fixture
def studio(library: Library) -> Iterator[Studio]:
    running = serve(library, Queue(library), port=0)
    running.on_visit(lambda client, user: None)
    yield running
    running.stop()


@pytest.fixture
def shared(library: Library) -> Iterator[Studio]:
    running = serve(library, Queue(library), port=0, share=True)
    running.on_visit(lambda client, user: None)
    yield running
    running.stop()


def test_one_port_carries_the_page_the_websocket_and_the_results(library: Library) -> None:
    user = library.user(None)
    job = finished_job(library, user)
    studio = serve(library, Queue(library), port=0)
    try:
        studio.on_visit(lambda client, user: None)
        page = Page(studio)
        status, headers, body = page.get(f"/?user={user.id}")
        assert status == 200 and headers["Content-Type"].startswith("text/html")
        assert b"viser" in body.lower()
        assert page.websocket() == "open"
        status, headers, body = page.get(result_url(job, "video.mp4"))
        assert (status, headers["Content-Type"]) == (200, "video/mp4")
        assert body == bytes(range(256)) * 4
        assert b"a job" in page.get(GALLERY)[2]
        assert page.get(result_url(job, "compare.html"))[2] == b"<p>side by side</p>"
    finally:
        studio.stop()


@pytest.mark.parametrize(
    ("asked", "status", "got", "told"),
    [
        ("bytes=0-9", 206, slice(0, 10), "bytes 0-9/1024"),
        ("bytes=1000-", 206, slice(1000, 1024), "bytes 1000-1023/1024"),
        ("bytes=1020-5000", 206, slice(1020, 1024), "bytes 1020-1023/1024"),
        ("bytes=-4", 206, slice(1020, 1024), "bytes 1020-1023/1024"),
        ("bytes=1024-", 416, slice(0, 0), "bytes */1024"),
        ("bytes=9-3", 200, slice(0, 1024), None),
        ("lines=1-2", 200, slice(0, 1024), None),
    ],
)
def test_players_get_the_part_they_ask_for(
    library: Library, asked: str, status: int, got: slice, told: str | None
) -> None:
    user = library.user(None)
    job = finished_job(library, user)
    studio = serve(library, Queue(library), port=0)
    try:
        page = Page(studio)
        page.get(f"/?user={user.id}")
        answer = page.get(result_url(job, "video.mp4"), Range=asked)
        assert answer[0] == status
        assert answer[2] == (bytes(range(256)) * 4)[got]
        assert answer[1].get("Content-Range") == told
    finally:
        studio.stop()


def test_a_download_is_named(library: Library) -> None:
    user = library.user(None)
    job = finished_job(library, user)
    studio = serve(library, Queue(library), port=0)
    try:
        page = Page(studio)
        page.get(f"/?user={user.id}")
        headers = page.get(result_url(job, "video.mp4", download=True))[1]
        assert headers["Content-Disposition"] == 'attachment; filename="video.mp4"'
    finally:
        studio.stop()


def test_results_are_for_their_owner_alone(library: Library) -> None:
    owner, other = library.user(None), library.user(None)
    job = finished_job(library, owner, "mine")
    studio = serve(library, Queue(library), port=0)
    try:
        page = Page(studio)
        page.get(f"/?user={other.id}")
        status, _, body = page.get(result_url(job, "video.mp4"))
        assert (status, body) == (404, b"There is no such result.\n")
        missing = page.get(f"/results/{'f' * 32}/video.mp4")
        assert missing[0] == status and missing[2] == body
        assert b"mine" not in page.get(GALLERY)[2]
    finally:
        studio.stop()


@pytest.mark.parametrize(
    "name", ["secret.txt", "../secret.txt", "%2e%2e/secret.txt", "..%2fjob.json", "", "/etc/passwd"]
)
def test_only_files_of_the_result_are_served(library: Library, name: str) -> None:
    user = library.user(None)
    job = finished_job(library, user)
    studio = serve(library, Queue(library), port=0)
    try:
        page = Page(studio)
        page.get(f"/?user={user.id}")
        assert page.get(f"/results/{job.id}/{name}")[0] == 404
    finally:
        studio.stop()


def test_without_the_token_nothing_is_served(library: Library, shared: Studio) -> None:
    page = Page(shared)
    for path in ("/", GALLERY, "/results/x/y", "/?token=", "/?token=wrong", "/?token=%ff"):
        status, headers, body = page.get(path)
        assert status == 403 and b"asks for its token" in body, path
        assert "Set-Cookie" not in headers
    assert page.websocket() == "403"
    page.cookies = {f"studio_token_{'0' * 8}": str(shared.token)}
    assert page.websocket() == "403"
    assert not list(library.users.iterdir())


def test_the_token_opens_everything_and_leaves_the_address(shared: Studio) -> None:
    page = Page(shared)
    status, headers, _ = page.get(f"{page.start}&user=x")
    assert (status, headers["Location"]) == (303, "/?user=x")
    assert page.get(GALLERY)[0] == 403
    assert page.get("/")[0] == 200
    assert page.websocket() == "open"
    assert page.get(GALLERY)[0] == 200


def test_tokens_differ_from_start_to_start(library: Library, shared: Studio) -> None:
    again = serve(library, Queue(library), port=0, share=True)
    try:
        assert again.token != shared.token and again.token is not None
        assert len(again.token) >= 32
    finally:
        again.stop()


def test_other_sites_cannot_use_this_machines_browser(studio: Studio) -> None:
    page = Page(studio)
    status, _, body = page.get("/", Host="evil.example")
    assert status == 403 and b"localhost" in body
    assert page.websocket(Origin="http://evil.example") == "403"
    assert page.websocket(Origin=f"http://127.0.0.1:{page.port}") == "open"


def test_a_visitor_stays_the_same_over_loads_and_restarts(tmp_path: Path) -> None:
    seen: list[str] = []
    cookies: dict[str, str] = {}
    for _ in range(2):
        library = Library(tmp_path)
        studio = serve(library, Queue(library), port=0)
        arrived = threading.Event()

        def welcome(
            client: viser.ClientHandle, user: User, arrived: threading.Event = arrived
        ) -> None:
            seen.append(user.id)
            arrived.set()

        studio.on_visit(welcome)
        try:
            page = Page(studio)
            page.cookies = cookies
            page.get("/")
            cookies = page.cookies
            asyncio.run(_look_around(page))
            assert arrived.wait(10)
        finally:
            studio.stop()
    assert len(seen) == 2 and seen[0] == seen[1]
    assert list(cookies.values()) == [seen[0]]


async def _look_around(page: Page) -> None:
    """Send viser a camera, after which it counts a window as connected."""
    import msgspec

    camera = {
        "type": "ViewerCameraMessage",
        "wxyz": (1.0, 0.0, 0.0, 0.0),
        "position": (0.0, 0.0, 0.0),
        "fov": 1.0,
        "image_height": 10,
        "image_width": 10,
        "near": 0.1,
        "far": 10.0,
        "look_at": (0.0, 0.0, 1.0),
        "up_direction": (0.0, 1.0, 0.0),
    }
    cookie = "; ".join(f"{k}={v}" for k, v in page.cookies.items())
    async with connect(
        f"ws://{page.host}:{page.port}",
        subprotocols=[websockets.Subprotocol(f"viser-v{viser.__version__}")],
        additional_headers={"Cookie": cookie},
    ) as socket:
        await socket.send(msgspec.msgpack.encode(camera))
        await asyncio.sleep(0.5)


def test_no_window_connects_before_it_is_expected(library: Library) -> None:
    studio = serve(library, Queue(library), port=0)
    try:
        page = Page(studio)
        assert page.websocket() == "503"
        studio.on_visit(lambda client, user: None)
        assert page.websocket() == "open"
    finally:
        studio.stop()


def test_an_open_address_needs_share(library: Library) -> None:
    with pytest.raises(ValueError, match="--share"):
        serve(library, Queue(library), host="0.0.0.0")


def test_a_viser_that_cannot_be_guarded_is_not_served(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = []

    class Another:
        """Starts no server by the known call."""

        def __init__(self, **options: object):
            pass

        def stop(self) -> None:
            stopped.append(True)

    monkeypatch.setattr("trajectorycrafter.studio.server.ViserServer", Another)
    with pytest.raises(RuntimeError, match="install viser"):
        serve(library, Queue(library), port=0)
    assert stopped


def test_no_visitor_can_open_a_public_tunnel(studio: Studio) -> None:
    assert studio.viser.request_share_url() is None
    assert vars(studio.viser)["_share_tunnel"] is None  # viser has no public way to ask


# ------------------------------------------------------------------------------------------- gate


def test_the_gate_takes_no_name_from_outside(library: Library) -> None:
    gate = Gate(library, None)
    for name in ("../..", "f" * 32, "", "x", "F" * 32):
        visit = gate.enter(f"/?user={name}", HOST, False)
        assert isinstance(visit, Visit)
        assert visit.user.id != name and visit.user.folder.parent == library.users


def test_the_gate_keeps_a_known_cookie_without_setting_it_again(library: Library) -> None:
    gate = Gate(library, None)
    first = gate.enter("/", HOST, False)
    assert isinstance(first, Visit) and len(first.cookies) == 1
    cookie = first.cookies[0].partition(";")[0]
    again = gate.enter("/", {**HOST, "Cookie": cookie}, False)
    assert isinstance(again, Visit)
    assert again.user == replace(first.user) and again.cookies == ()


def test_only_the_page_makes_new_visitors(library: Library) -> None:
    gate = Gate(library, None)
    for path in (GALLERY, "/results/x/y", "/favicon.ico"):
        refused = gate.enter(path, HOST, False)
        assert isinstance(refused, Refusal) and "page first" in refused.message
    assert not list(library.users.iterdir())
    assert isinstance(gate.enter("/", HOST, True), Visit)
    assert isinstance(gate.enter("/?a=b", HOST, False), Visit)
    assert len(list(library.users.iterdir())) == 2


def test_a_broken_cookie_is_no_visitor(library: Library) -> None:
    visit = Gate(library, None).enter("/", {**HOST, "Cookie": 'a="\\'}, False)
    assert isinstance(visit, Visit)


@pytest.mark.parametrize(
    ("host", "mine"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("studio.localhost", True),
        ("0.0.0.0", False),
        ("localhost.evil.example", False),
        ("192.168.0.2", False),
        ("", False),
    ],
)
def test_which_hosts_are_this_machine(host: str, mine: bool) -> None:
    assert is_this_machine(host) is mine


def test_a_request_without_host_is_refused(library: Library) -> None:
    assert isinstance(Gate(library, None).enter("/", {}, False), Refusal)
