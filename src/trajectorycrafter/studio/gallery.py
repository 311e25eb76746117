"""A visitor's jobs as a page: what is done plays, what is not says how far it is.

The one thing a reader would get wrong: the page asks nothing and runs no script; it reloads itself
as long as something is in the making.
"""

import time
from collections.abc import Callable
from html import escape
from importlib.resources import files
from string import Template

from ..job.plan import duration
from .compare import PAGE
from .job_records import StudioJob

Address = Callable[[StudioJob, str], str]
_RELOAD_S = 5
_WORDS = {
    "queued": "waiting",
    "running": "in the making",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}


def gallery_page(jobs: list[StudioJob], address: Address) -> str:
    """The page.

    Args:
        jobs: in the order to show.
        address: of a job's file.
    """
    unfinished = any(not job.ended for job in jobs)
    template = files("trajectorycrafter").joinpath("assets/studio/gallery.html")
    return Template(template.read_text(encoding="utf-8")).substitute(
        reload=f'<meta http-equiv="refresh" content="{_RELOAD_S}">' if unfinished else "",
        cards="\n".join(_card(job, address) for job in jobs)
        or '<p class="none">Nothing yet. What the studio generates appears here.</p>',
    )


def _card(job: StudioJob, address: Address) -> str:
    settings = job.spec.settings
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created))
    model = "render only" if job.spec.render_only else f"model {settings.generator.model}"
    return (
        f'<article class="{job.state}" data-job="{job.id}">{_picture(job, address)}'
        f"<h2>{escape(job.spec.name)}</h2>"
        f"<p>{when} · {escape(model)} · <b>{_WORDS[job.state]}</b></p>"
        f"{_told(job)}{_links(job, address)}</article>"
    )


def _picture(job: StudioJob, address: Address) -> str:
    there = job.files()
    shown = next((name for name in ("video.mp4", "render.mp4") if name in there), None)
    if shown is None:
        return f'<div class="empty">{_WORDS[job.state]}</div>'
    link = escape(address(job, PAGE))
    video = f'<video src="{escape(address(job, shown))}" muted loop autoplay playsinline></video>'
    return f'<a href="{link}" aria-label="Compare">{video}</a>'


def _told(job: StudioJob) -> str:
    if job.state == "failed":
        return f'<p class="bad">{escape(job.message)}</p>'
    if job.progress is None:
        return ""
    left = job.progress.seconds_left
    rest = "" if left is None else f", about {duration(left)} left"
    share = round(100 * job.progress.fraction)
    return (
        f'<progress max="100" value="{share}"></progress>'
        f"<p>{escape(job.progress.stage)}, {share} %{rest}</p>"
    )


def _links(job: StudioJob, address: Address) -> str:
    there = job.files()
    if PAGE not in there:
        return ""
    links = [f'<a class="first" href="{escape(address(job, PAGE))}">Compare</a>']
    for name in there:
        if name not in (PAGE, "source.mp4"):
            href = f"{escape(address(job, name))}?download=1"
            links.append(f'<a href="{href}" download="{name}">{name}</a>')
    return f'<p class="links">{" ".join(links)}</p>'
