"""A visitor's jobs as a page: what is done plays, what is not says how far it is.

The page runs no script; it reloads itself as long as a job is not finished.
"""

import time
from collections.abc import Callable

from ..job.plan import duration
from ..runtime.pages import render
from .compare import PAGE, SOURCE
from .job_records import StudioJob

_RELOAD_S = 5
_WORDS = {
    "queued": "waiting",
    "running": "in the making",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}


def gallery_page(jobs: list[StudioJob], address: Callable[[StudioJob, str], str]) -> str:
    """The page.

    Args:
        jobs: in the order to show.
        address: URL of a job's file.
    """
    return render(
        "studio/gallery.html",
        jobs=jobs,
        address=address,
        reload_s=_RELOAD_S,
        words=_WORDS,
        comparison=PAGE,
        source=SOURCE,
        duration=duration,
        when=lambda seconds: time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)),
    )
