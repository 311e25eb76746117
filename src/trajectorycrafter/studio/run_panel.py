"""The tab of full runs: model, speed, prompt, the plan, the queue and its results."""

from html import escape

import viser

from ..config.redirect import MODELS
from ..config.studio import SPEEDS
from ..job.plan import duration
from . import drawings
from .answers import GALLERY, result_url
from .desk import Desk
from .job_records import StudioJob
from .jobs import Queue
from .library import User

MOST_SHOWN = 6
"""Jobs in the panel; the gallery has them all."""


class RunPanel:
    """From the design to finished videos."""

    def __init__(self, desk: Desk, user: User, queue: Queue):
        self._desk, self._user, self._queue = desk, user, queue
        self._cards: dict[str, JobCard] = {}
        gui = desk.client.gui
        generator = desk.session.settings.generator
        models = tuple(dict.fromkeys([*MODELS, generator.model]))
        self._name = gui.add_text("Name", "")
        self._model = gui.add_dropdown("Model", models, initial_value=generator.model)
        self._speed = gui.add_dropdown("Speed", (*SPEEDS,))
        self._prompt = gui.add_text("Prompt", generator.prompt or "")
        self._seed = gui.add_number("Seed", generator.seed, min=0, step=1)
        self._speed.value = desk.session.speed
        self._plan = gui.add_html("")
        self._generate = gui.add_button("Generate", icon=viser.Icon.SPARKLES, color="green")
        gui.add_html(
            f'<div style="padding:4px 12px;font-size:13px"><a href="{GALLERY}" target="_blank">'
            "All results: gallery and comparisons</a></div>"
        )
        self._jobs = gui.add_folder("Jobs")
        self.refresh()
        for widget in (self._model, self._speed, self._prompt, self._seed):
            desk.when(widget, lambda _: self._chosen())
        desk.when(self._generate, lambda _: self._submitted())

    def _chosen(self) -> None:
        session = self._desk.session
        prompt = self._prompt.value.strip() or None
        model, seed = self._model.value, int(self._seed.value)
        session.choose_run(model=model, prompt=prompt, seed=seed)
        session.choose_speed(self._speed.value)
        self.refresh()

    def _submitted(self) -> None:
        self._chosen()
        session, design = self._desk.session, self._desk.session.design
        made = {"preset": design.preset, "keys": "keys", "path": design.path_name}[design.kind]
        name = self._name.value.strip() or f"{session.name}, {made}"
        self._queue.submit(session.job(self._user.id, name))
        self._show_jobs()

    def refresh(self) -> None:
        """What the run will take."""
        session = self._desk.session
        released = session.settings.generator.family == "released"
        # The other models take no prompt and have no steps to save.
        self._prompt.visible = released
        self._speed.options = tuple(
            n for n, s in SPEEDS.items() if released or s.smaller > 1 or not s.steps
        )
        if session.is_open:
            self._plan.content = drawings.plan_table(session.estimates())

    def watch(self) -> None:
        """Keep the jobs' cards up to date until the window is closed."""
        while not self._desk.ended.wait(1.0):
            self._desk.attempt(self._show_jobs)

    def _show_jobs(self) -> None:
        jobs = self._queue.jobs(self._user.id)[:MOST_SHOWN]
        there = {job.id for job in jobs}
        for gone in set(self._cards) - there:
            self._cards.pop(gone).remove()
        for job in reversed(jobs):
            if job.id not in self._cards:
                with self._jobs:
                    self._cards[job.id] = JobCard(self._desk, self._queue, job)
            self._cards[job.id].show(job)


class JobCard:
    """One job in the panel."""

    _count = 0
    """Cards so far; each new one goes to the top."""

    def __init__(self, desk: Desk, queue: Queue, job: StudioJob):
        gui = desk.client.gui
        self._shown: object = None
        JobCard._count += 1
        self._folder = gui.add_folder(job.spec.name, order=-JobCard._count)
        with self._folder:
            self._bar = gui.add_progress_bar(0, animated=True)
            self._about = gui.add_html("")
            self._cancel = gui.add_button("Cancel", icon=viser.Icon.X, color="gray")
            self._remove = gui.add_button("Remove", icon=viser.Icon.TRASH, color="gray")
        desk.when(self._cancel, lambda _: queue.cancel(job.id))
        desk.when(self._remove, lambda _: queue.remove(job.id))

    def show(self, job: StudioJob) -> None:
        """Update the card, unless nothing has changed."""
        state = (job.state, job.progress, job.message)
        if state == self._shown:
            return
        self._shown = state
        self._bar.visible = job.state == "running"
        if job.progress is not None:
            self._bar.value = 100 * min(1.0, max(0.0, job.progress.fraction))
        self._cancel.visible, self._remove.visible = not job.ended, job.ended
        self._about.content = job_html(job)

    def remove(self) -> None:
        self._folder.remove()


def job_html(job: StudioJob) -> str:
    """State, result and downloads of a job."""
    words = f"<b>{escape(job.state)}</b>"
    if job.progress is not None and job.state == "running":
        left = job.progress.seconds_left
        rest = "" if left is None else f", about {duration(left)} left"
        words += f": {escape(job.progress.stage)}{rest}"
    if job.message:
        words += f": {escape(job.message)}"
    there = job.files()
    parts = [f'<div class="job" data-state="{job.state}">{words}</div>']
    if "video.mp4" in there:
        source = escape(result_url(job, "video.mp4"))
        parts.append(
            f'<video src="{source}" style="width:100%;border-radius:4px" autoplay loop muted '
            "playsinline></video>"
        )
        parts.append(
            f'<a href="{escape(result_url(job, "compare.html"))}" target="_blank">'
            "<b>Compare</b></a>"
        )
        parts += [
            f'<a href="{escape(result_url(job, name, download=True))}" download>{escape(name)}</a>'
            for name in there
            if name not in ("compare.html", "source.mp4")
        ]
    return f'<div style="padding:2px 12px;font-size:13px">{" ".join(parts)}</div>'
