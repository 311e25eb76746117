"""What the server answers besides viser's page: result files, in parts if asked, and the gallery.

The one thing a reader would get wrong: a job's name in an address opens nothing by itself; the file
is looked up among those of the visitor's own jobs, so no path ever comes from the client.
"""

import mimetypes
import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

from ..job.plan import duration
from ..runtime.pages import render
from .compare import PAGE, SOURCE
from .gate import Visit
from .job_records import StudioJob
from .jobs import Queue

GALLERY = "/gallery"
"""The visitor's jobs as a page."""
_RESULT = re.compile(r"/results/([0-9a-f]{32})/([a-z_.0-9]+)")
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'self'"
)
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
"""What every answer has."""
_RELOAD_S = 5
"""The gallery runs no script; it reloads itself as long as a job is not finished."""


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: HTTPStatus
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def result_url(job: StudioJob, name: str, *, download: bool = False) -> str:
    """Address of one of a job's `files`, for the browser to show, or to save."""
    return f"/results/{job.id}/{name}" + ("?download=1" if download else "")


def answer(visit: Visit, queue: Queue, range_header: str | None) -> Answer | None:
    """The answer to a visitor's request; None if the address is not one of ours."""
    path = unquote(visit.path)
    if path == GALLERY:
        page = gallery_page(queue.jobs(visit.user.id)).encode()
        fresh = {"Cache-Control": "no-store", "Content-Security-Policy": _PAGE_POLICY}
        return Answer(HTTPStatus.OK, page, "text/html; charset=utf-8", fresh)
    if not path.startswith("/results/"):
        return None
    match = _RESULT.fullmatch(path)
    job = queue.job(match[1], visit.user.id) if match else None
    file = job.files().get(match[2]) if match and job else None
    if file is None or job is None:
        # Another visitor's job is answered like one that does not exist.
        return Answer(HTTPStatus.NOT_FOUND, b"There is no such result.\n")
    return _file_answer(file, range_header, visit.query.get("download") == "1")


def gallery_page(jobs: list[StudioJob]) -> str:
    """A visitor's jobs, in this order: what is done plays, what is not says how far it is."""
    return render(
        "studio/gallery.html",
        jobs=jobs,
        address=result_url,
        reload_s=_RELOAD_S,
        words={"queued": "waiting", "running": "in the making"},
        comparison=PAGE,
        source=SOURCE,
        duration=duration,
        when=lambda seconds: time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)),
    )


def _file_answer(file: Path, range_header: str | None, download: bool) -> Answer:
    """A file, or the part of it that was asked for (RFC 9110, one range)."""
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if file.suffix == ".html":
        kind, headers["Content-Security-Policy"] = f"{kind}; charset=utf-8", _PAGE_POLICY
    if download:
        headers["Content-Disposition"] = f'attachment; filename="{file.name}"'
    size = file.stat().st_size
    part = _part(range_header, size)
    if part is None:
        return Answer(HTTPStatus.OK, file.read_bytes(), kind, headers)
    if not part:
        headers["Content-Range"] = f"bytes */{size}"
        return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", kind, headers)
    with file.open("rb") as source:
        source.seek(part.start)
        body = source.read(len(part))
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return Answer(HTTPStatus.PARTIAL_CONTENT, body, kind, headers)


def _part(header: str | None, size: int) -> range | None:
    """The bytes asked for: None means all, and an empty range cannot be satisfied."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)
