"""The queue of full runs: one job at a time, in a process of its own.

The folders are the queue: a server that was killed finds there what was waiting, and does not
repeat the stages that the running job had finished.
"""

import json
import logging
import os
import shutil
import threading
import time
from dataclasses import replace
from typing import Any

import psutil

from ..runtime.files import write_json
from .job_records import RECORD, JobSpec, State, StudioJob, make_job, read_job, write_job
from .library import Library, folder_size
from .progress import Track
from .worker import Worker

_IDLE_S = 120.0
"""After this time without a job the worker is ended: its models take memory, but a visitor who
compares and tries again should not wait for them to load."""
_log = logging.getLogger(__name__)


class Queue:
    """The jobs of all visitors."""

    def __init__(self, library: Library):
        """Reads the folders of the library, which from now on makes room by `make_room`."""
        self.library = library
        library.make_room = self.make_room
        self._changed = threading.Condition(threading.RLock())
        self._jobs: dict[str, StudioJob] = {}
        for record in library.users.glob(f"*/jobs/*/{RECORD}"):
            try:
                job = read_job(record.parent)
            except ValueError as error:
                _log.warning("left alone: %s", error)
                continue
            # A job that was running goes on when its turn comes again.
            self._jobs[job.id] = replace(job, state="queued") if job.state == "running" else job
        self._track = Track()
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def submit(self, spec: JobSpec) -> StudioJob:
        """Put a job at the end of the queue.

        Raises:
            FileNotFoundError: no such clip, trajectory file or weights.
            ValueError: a trajectory or settings that cannot be used, an unknown visitor, too many
                jobs waiting, or no room; said before any work.
        """
        library, limits = self.library, self.library.limits
        if not library.knows(spec.user):
            raise ValueError("There is no such visitor; load the page again.")
        waiting = [job for job in self.jobs(spec.user) if job.state == "queued"]
        if len(waiting) >= limits.queued:
            raise ValueError(
                f"{len(waiting)} jobs are waiting already, the most that one visitor can have; "
                "cancel one or wait."
            )
        if not self.make_room():
            raise ValueError(
                f"The studio's {limits.quota_gb:g} GB are full; remove clips or jobs first."
            )
        job = make_job(spec, library.users / spec.user / "jobs", time.time())
        with self._changed:
            self._jobs[job.id] = job
            self._changed.notify_all()
        return job

    def jobs(self, user: str) -> list[StudioJob]:
        """A visitor's jobs, the newest first."""
        with self._changed:
            mine = [self._now(job) for job in self._jobs.values() if job.spec.user == user]
        return sorted(mine, key=lambda job: job.created, reverse=True)

    def job(self, id: str, user: str) -> StudioJob | None:
        """One job, if it is this visitor's."""
        with self._changed:
            job = self._jobs.get(id)
            return self._now(job) if job is not None and job.spec.user == user else None

    def cancel(self, id: str) -> None:
        """Stop a job that is running or waiting."""
        with self._changed:
            job = self._jobs.get(id)
            if job is None or job.ended:
                return
            running = job.state == "running"
            self._set(job, "cancelled")
            if running and self._worker is not None:
                self._worker.kill()

    def remove(self, id: str) -> None:
        """Stop a job and delete its folder."""
        with self._changed:
            self.cancel(id)
            job = self._jobs.pop(id, None)
            if job is not None:
                shutil.rmtree(job.folder, ignore_errors=True)

    def make_room(self, size: int = 0, keep: str | None = None) -> bool:
        """Remove old ended jobs, but not `keep`, until `size` bytes fit; False if they do not."""
        quota = self.library.limits.quota_bytes
        with self._changed:
            used = self.library.size() + size
            ended = [job for job in self._jobs.values() if job.ended and job.id != keep]
            for job in sorted(ended, key=lambda job: job.created):
                if used <= quota:
                    break
                used -= folder_size(job.folder)
                self.remove(job.id)
        return used <= quota

    def start(self) -> None:
        """Work on what is queued until `stop`; ValueError if another studio does so here."""
        if self._thread is not None:
            return
        owner = self.library.root / "studio.json"
        try:
            other = json.loads(owner.read_text(encoding="utf-8"))
            same = psutil.Process(other["pid"]).create_time() == other["began"]
        except (FileNotFoundError, psutil.NoSuchProcess, ValueError, KeyError):
            other, same = {}, False
        if same and other["pid"] != os.getpid():
            raise ValueError(
                f"Another studio (process {other['pid']}) works in {owner.parent}; stop it or "
                "choose another folder."
            )
        write_json({"pid": os.getpid(), "began": psutil.Process().create_time()}, owner)
        self._stopping = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="studio queue")
        self._thread.start()

    def stop(self) -> None:
        """End the worker; a running job goes on at the next start."""
        thread = self._thread
        if thread is None:
            return
        with self._changed:
            self._stopping = True
            if self._worker is not None:
                self._worker.kill()
            self._changed.notify_all()
        thread.join()
        self._thread = None
        (self.library.root / "studio.json").unlink(missing_ok=True)

    # In the background ---------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._next()) is not None:
            self._run(job)
            self.make_room(keep=job.id)

    def _next(self) -> StudioJob | None:
        """The oldest waiting job, now running; None when the queue stops."""
        with self._changed:
            while not self._stopping:
                waiting = [job for job in self._jobs.values() if job.state == "queued"]
                if waiting:
                    job = min(waiting, key=lambda job: job.created)
                    self._track = Track(began=time.monotonic())
                    self._set(job, "running")
                    if self._worker is None or not self._worker.alive:
                        self._dismiss()
                        self._worker = Worker(self.library.root / "worker.log")
                    return job
                if not self._changed.wait(_IDLE_S):
                    self._dismiss()
            self._dismiss()
            return None

    def _dismiss(self) -> None:
        """End the worker; only this thread may, since it alone follows a job."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _run(self, job: StudioJob) -> None:
        """Follow the worker through a job until one of them ends."""
        worker = self._worker
        assert worker is not None
        outcome: dict[str, Any] | None = None
        for event in worker.run(job.folder):
            with self._changed:
                if event["event"] == "plan":
                    self._track.expected = event["expected"]
                elif event["event"] == "stage":
                    self._track.enter(event["name"], time.monotonic())
                else:
                    outcome = event
        with self._changed:
            now = self._jobs.get(job.id)
            if now is None or now.state != "running":
                return  # cancelled or removed meanwhile
            if outcome is not None and outcome["event"] == "done":
                self._set(now, "done")
            elif outcome is not None:
                # A visitor does not see the places of this machine.
                message = outcome["message"].replace(str(job.spec.clip), "the clip")
                self._set(now, "failed", message.replace(str(job.folder), "the job"))
            elif self._stopping:
                self._set(now, "queued")
            else:
                self._set(now, "failed", worker.death())

    def _set(self, job: StudioJob, state: State, message: str = "") -> None:
        job = replace(job, state=state, message=message)
        self._jobs[job.id] = job
        try:
            write_job(job)
        except OSError as error:
            # A full disk must not end the queue: after a restart the job is as it was before.
            _log.error("job %s is %s, which could not be written: %s", job.id, state, error)
        self._changed.notify_all()

    def _now(self, job: StudioJob) -> StudioJob:
        if job.state != "running":
            return job
        return replace(job, progress=self._track.progress(time.monotonic()))
