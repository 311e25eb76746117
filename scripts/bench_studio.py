"""Pictures a second of the studio's live preview while a camera path is dragged.

    python scripts/bench_studio.py

Three rates: the renderer alone, with the drawing of what is stretched or a hole, and what a
browser window receives from the running server while a visitor pulls a slider (design resolved,
rendered, encoded as JPEG and sent, with the path redrawn in the scene and the shares found beside
it). The window is a bare websocket: what a browser then makes of it depends on its graphics card.

Run with OMP_WAIT_POLICY=passive: threads that spin while they wait falsify the figures on a machine
that does other work too.
"""

import math
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import msgspec
import torch
import viser
from viser import _messages as messages
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from trajectorycrafter.config.redirect import ClipSettings, DepthSettings, RedirectSettings
from trajectorycrafter.geometry.cameras import focal_from_fov, intrinsics, static_cameras
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.studio.jobs import Queue
from trajectorycrafter.studio.library import Clip, Library, User
from trajectorycrafter.studio.page import Page
from trajectorycrafter.studio.preparing import Preparer
from trajectorycrafter.studio.server import serve
from trajectorycrafter.studio.session import Session
from trajectorycrafter.video.depth_npz import write_depth

FRAMES, HEIGHT, WIDTH = 13, 384, 672
THREADS, SECONDS, DRAGS_PER_SECOND = 2, 5.0, 60
JPEG = b"\xff\xd8\xff"


def make_clip(folder: Path) -> tuple[Path, RedirectSettings]:
    """A procedural clip with exact depth, so that no network has to run."""
    K = intrinsics(focal_from_fov(60.0, WIDTH), HEIGHT, WIDTH, FRAMES)
    cameras = static_cameras(K, HEIGHT, WIDTH)
    scene = RayScene.make(0, place="room")
    video, depth = scene.render(cameras, torch.linspace(0, 1, FRAMES), samples=1)
    path = video.write(folder / "clip.mp4")
    depth_path = write_depth(depth, folder / "depth.npz", cameras)
    return path, RedirectSettings(
        clip=ClipSettings(size=(HEIGHT, WIDTH)), depth=DepthSettings(depth=f"file:{depth_path}")
    )


def rate(work: Callable[[int], object]) -> float:
    """Calls a second over some seconds."""
    work(0)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        work(count)
        count += 1
    return count / (time.perf_counter() - began)


def of_the_renderer(session: Session) -> dict[str, float]:
    """The preview's own rates, a new camera every time."""
    session.editor.choose_preset("spiral", 20.0)
    return {
        "renderer alone": rate(lambda i: session.picture(i % FRAMES, marked=False)),
        "renderer, holes and stretching marked": rate(lambda i: session.picture(i % FRAMES)),
    }


class FakeWindow:
    """Says where it looks from, as a browser window does, and counts the pictures it is sent."""

    def __init__(self, url: str):
        self.pictures = 0
        version = viser.__version__
        self._socket = connect(
            url.replace("http", "ws", 1),
            subprotocols=[Subprotocol(f"viser-v{version}")],
            max_size=None,
        )
        camera = messages.ViewerCameraMessage(
            wxyz=(1, 0, 0, 0), position=(0, 0, -1), fov=1.0, near=0.01, far=1000.0,
            image_height=800, image_width=800, look_at=(0, 0, 1), up_direction=(0, -1, 0),
        )  # fmt: skip
        self._socket.send(msgspec.msgpack.encode(camera.as_serializable_dict()))
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        for message in self._socket:
            assert isinstance(message, bytes)
            self.pictures += message.count(JPEG)


def of_the_server(clip: Path, settings: RedirectSettings, folder: Path) -> float:
    """Previews a second that a window receives while the amount of the move is pulled."""
    library = Library(folder / "studio")
    queue, preparer = Queue(library), Preparer(None)
    studio = serve(library, queue, port=0)
    pages: list[Page] = []
    here = threading.Event()

    def welcome(client: viser.ClientHandle, user: User) -> None:
        pages.append(Page(client, user, queue, Session(preparer, settings)))
        here.set()

    studio.on_visit(welcome)
    window = FakeWindow(studio.url)
    assert here.wait(20)
    page = pages[0]
    page.clips.open(Clip("clip", "clip", clip, FRAMES, 24.0, HEIGHT, WIDTH))
    page.desk.go_to(FRAMES - 1)
    time.sleep(3)
    window.pictures, began = 0, time.perf_counter()
    while (now := time.perf_counter() - began) < SECONDS:
        page.desk.session.editor.edit("bench", amount=20 + 15 * math.sin(2 * now))
        page.desk.redraw()
        time.sleep(1 / DRAGS_PER_SECOND)
    found = window.pictures / (time.perf_counter() - began)
    page.close()
    studio.stop()
    return found


def main() -> None:
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, settings = make_clip(folder)
        session = Session(Preparer(None), settings)
        session.open(clip, "clip")
        height, width = session.clip.preview_size
        print(f"clip {HEIGHT}x{WIDTH}, preview {height}x{width}, {THREADS} threads")
        for what, found in of_the_renderer(session).items():
            print(f"{what:40} {found:6.1f} pictures a second")
        began = time.perf_counter()
        session.shares()
        print(f"{'shares of the whole path':40} {time.perf_counter() - began:6.2f} s")
        found = of_the_server(clip, settings, folder)
        print(f"{'received while a slider is dragged':40} {found:6.1f} pictures a second")


if __name__ == "__main__":
    main()
