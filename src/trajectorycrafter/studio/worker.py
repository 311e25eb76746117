"""The process that makes the videos, and the server's end of it.

Jobs go in, one folder per line; events come out, one JSON object per line. The worker ends when its
standard input is closed, so it never outlives the server, not even one that was killed.
"""

import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..job.batch import LoadedModels

Event = dict[str, Any]
Send = Callable[[Event], None]


class Worker:
    """A worker process as the server sees it; it keeps loaded models from job to job."""

    def __init__(self, log: Path):
        """Start the process; what it prints replaces the file `log`."""
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trajectorycrafter.studio.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the server, which then ends the worker.
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def run(self, folder: Path) -> Iterator[Event]:
        """Give it a job; yields its events up to "done" or "failed", or fewer if it dies.

        Yields:
            {"event": "plan", "expected": seconds by stage}, {"event": "stage", "name": ...},
            {"event": "done"} or {"event": "failed", "message": ...}.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(str(folder)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return
        for line in self.process.stdout:
            if not line.endswith("\n"):
                return  # It died in the middle of a line.
            event = json.loads(line)
            yield event
            if event["event"] in ("done", "failed"):
                return

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it and close its pipes; not while another thread follows a job."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # a job that it did not read before it died
                pipe.close()

    def death(self) -> str:
        """Why it has ended, in words."""
        code = self.process.wait()
        if code == -9:
            return (
                "The worker was killed; mostly memory had run out: use fewer frames or a smaller "
                "size."
            )
        return f"The worker died (exit code {code}); its log has more."


def main() -> None:
    """Work on the jobs that standard input names, until it is closed."""
    # What libraries print must not mix with the events.
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if os.name == "posix":
        os.nice(5)  # The page's preview comes first.
    logging.basicConfig(level=logging.WARNING)
    folders: queue.Queue[Path] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, folders), daemon=True).start()

    def send(event: Event) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    from ..job.batch import LoadedModels

    parts = LoadedModels()
    while True:
        run_job(folders.get(), parts, send)


def _listen(lines: IO[str], folders: "queue.Queue[Path]") -> None:
    for line in lines:
        folders.put(Path(json.loads(line)))
    os._exit(0)  # The server is gone; the next one resumes a half-made job.


def run_job(folder: Path, parts: "LoadedModels", send: Send) -> None:
    """Make the job of a folder; whatever goes wrong is sent, not raised."""
    from ..job.batch import How, Task, redirect_task, task_is_done
    from ..runtime.engine import in_words
    from .compare import add_comparison
    from .job_records import read_job
    from .progress import expected_seconds

    def enter(stage: str) -> None:
        send({"event": "stage", "name": stage})

    try:
        job = read_job(folder)
        spec, out = job.spec, folder / "out"
        settings, known = spec.settings, spec.known_depth
        expected = expected_seconds(spec.clip, settings, spec.render_only, known is not None)
        send({"event": "plan", "expected": expected})
        how = How(resume=True, render_only=spec.render_only)
        task = Task(job.id, spec.clip, out, settings, how, known)
        if not task_is_done(task):
            redirect_task(task, parts, on_stage=enter)
        enter("compare")
        add_comparison(out, spec.clip, settings, spec.name)
        if known is not None:
            known.unlink(missing_ok=True)  # it is among the results now
    except Exception as error:
        traceback.print_exc()
        send({"event": "failed", "message": in_words(error)})
    else:
        send({"event": "done"})


if __name__ == "__main__":
    main()
