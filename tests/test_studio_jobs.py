"""Jobs live on disk, run one by one in a process of their own, and survive everything."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from conftest import Clip
from PIL import Image

from trajectorycrafter.cli import run as command
from trajectorycrafter.config.redirect import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    GeneratorSettings,
    MachineSettings,
    RedirectSettings,
)
from trajectorycrafter.config.studio import Limits
from trajectorycrafter.geometry.presets import preset
from trajectorycrafter.geometry.trajectory_files import read_trajectory, write_trajectory
from trajectorycrafter.job.pipeline import TrajectoryCrafter
from trajectorycrafter.job.reshoot import redirect
from trajectorycrafter.rendering.shot import Shot
from trajectorycrafter.runtime.stages import Stages
from trajectorycrafter.studio.job_records import JobSpec, StudioJob, read_job, write_job
from trajectorycrafter.studio.jobs import Queue
from trajectorycrafter.studio.library import Library, User
from trajectorycrafter.studio.progress import Track, expected_seconds
from trajectorycrafter.studio.worker import Worker
from trajectorycrafter.video.clip import Video

PATIENCE_S = 120


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "studio")


@pytest.fixture
def user(library: Library) -> User:
    return library.user(None)


@pytest.fixture
def queue(library: Library) -> Iterator[Queue]:
    queue = Queue(library)
    yield queue
    queue.stop()


def spec(clip: Clip, user: User, folder: Path, name: str = "a job", **camera: float) -> JobSpec:
    """A job on the small clip with its exact depth: a second of work."""
    path = write_trajectory(preset("orbit-right", 9, camera.get("amount")), folder / "path.json")
    settings = RedirectSettings(
        clip=ClipSettings(size=(64, 96)), depth=DepthSettings(f"file:{clip.depth_path}")
    )
    return JobSpec(clip.path, path, settings, user.id, name)


def png(size: int) -> bytes:
    """A picture with something behind its end, which readers leave alone."""
    kept = io.BytesIO()
    Image.new("RGB", (64, 48)).save(kept, "PNG")
    return kept.getvalue().ljust(size, b"\0")


def current(queue: Queue, job: StudioJob) -> StudioJob:
    """The job as it stands now."""
    now = queue.job(job.id, job.spec.user)
    assert now is not None
    return now


def ended(queue: Queue, job: StudioJob, states: tuple[str, ...] = ()) -> StudioJob:
    """The job when it has ended, or stands in one of `states`."""
    until = time.monotonic() + PATIENCE_S
    while not ((now := current(queue, job)).ended or now.state in states):
        if time.monotonic() > until:
            raise AssertionError(f"still {now.state} after {PATIENCE_S} s: {now.progress}")
        time.sleep(0.02)
    return now


# ------------------------------------------------------------------------------------- a whole job


def test_jobs_run_one_by_one_and_the_exported_path_gives_the_same_video(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    first = queue.submit(spec(clip, user, tmp_path, "first"))
    second = queue.submit(spec(clip, user, tmp_path, "second", amount=5.0))
    assert [job.state for job in queue.jobs(user.id)] == ["queued", "queued"]
    queue.start()
    fractions, states = [], set()
    while not (now := current(queue, first)).ended:
        states.add((now.state, current(queue, second).state))
        if now.progress is not None:
            fractions.append(now.progress.fraction)
        time.sleep(0.02)
    assert ("running", "running") not in states
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] <= 1
    done = ended(queue, second)
    assert (now.state, done.state) == ("done", "done"), (now.message, done.message)
    assert queue.jobs(user.id)[0] == done

    files = now.files()
    for name in ("video.mp4", "render.mp4", "mask.mp4", "depth.npz", "trajectory.json", "run.json"):
        assert files[name].stat().st_size > 0
    assert len(Video.read(files["source.mp4"])) == 9
    stages = json.loads(files["run.json"].read_text())["stages"]
    assert set(stages) == set(expected_seconds(clip.path, now.spec.settings)) - {"compare"}

    # What the studio exports gives the very same video on the command line, from either file.
    for number, path in enumerate((now.folder / "trajectory.json", files["trajectory.json"])):
        out = tmp_path / f"again{number}"
        arguments = ["--trajectory", str(path), "--depth", f"file:{clip.depth_path}"]
        assert (
            command(
                ["redirect", str(clip.path), "--out", str(out), "--size", "64", "96", *arguments]
            )
            == 0
        )
        assert (out / "video.mp4").read_bytes() == files["video.mp4"].read_bytes()
        frames = Video.read(out / "video.mp4").frames
        assert torch.equal(frames, Video.read(files["video.mp4"]).frames)
    assert files["video.mp4"].read_bytes() != done.files()["video.mp4"].read_bytes()


def test_depth_that_is_known_is_not_estimated_again(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    plain = spec(clip, user, tmp_path)
    first = queue.submit(plain)
    queue.start()
    first = ended(queue, first)
    known = tmp_path / "known.npz"
    known.write_bytes(first.files()["depth.npz"].read_bytes())
    job = queue.submit(replace(plain, known_depth=known))
    known.unlink()
    second = ended(queue, job)
    assert second.state == "done", second.message
    stages = json.loads(second.files()["run.json"].read_text())["stages"]
    assert "depth" not in stages
    pair = [job.files()["video.mp4"].read_bytes() for job in (first, second)]
    assert pair[0] == pair[1]
    assert not (second.folder / "depth.npz").exists()


def test_a_job_that_fails_says_why_and_the_next_one_runs(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    lost = tmp_path / "lost.mp4"
    lost.write_bytes(clip.path.read_bytes())
    bad = queue.submit(replace(spec(clip, user, tmp_path), clip=lost))
    good = queue.submit(replace(spec(clip, user, tmp_path), render_only=True))
    lost.unlink()
    queue.start()
    failed = ended(queue, bad)
    assert failed.state == "failed" and "There is no file" in failed.message
    assert str(tmp_path) not in failed.message
    assert failed.files() == {}
    done = ended(queue, good)
    assert done.state == "done", done.message
    assert "render.mp4" in done.files() and "video.mp4" not in done.files()


def test_a_running_job_can_be_cancelled_and_removed(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    first = queue.submit(spec(clip, user, tmp_path, "first"))
    second = queue.submit(spec(clip, user, tmp_path, "second"))
    third = queue.submit(spec(clip, user, tmp_path, "third"))
    queue.cancel(second.id)
    assert ended(queue, second).state == "cancelled"
    queue.start()
    assert ended(queue, first, ("running",)).state == "running"
    queue.cancel(first.id)
    assert ended(queue, first).state == "cancelled"
    assert ended(queue, third).state == "done"
    assert ended(queue, first).state == "cancelled" and ended(queue, first).files() == {}
    queue.remove(first.id)
    assert queue.job(first.id, user.id) is None and not first.folder.exists()
    assert [job.id for job in Queue(queue.library).jobs(user.id)] == [third.id, second.id]


def test_a_worker_that_dies_fails_its_job_alone(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    first = queue.submit(spec(clip, user, tmp_path))
    second = queue.submit(spec(clip, user, tmp_path))
    queue.start()
    ended(queue, first, ("running",))
    (worker,) = [p for p in psutil.Process().children() if "studio.worker" in " ".join(p.cmdline())]
    worker.send_signal(signal.SIGKILL)
    failed = ended(queue, first)
    assert failed.state == "failed" and "memory had run out" in failed.message
    assert ended(queue, second).state == "done"


# ----------------------------------------------------------------------------------------- restart


def test_a_job_that_was_running_goes_on_after_a_restart(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    job = queue.submit(spec(clip, user, tmp_path))

    def broken(shot: Shot, stages: Stages):
        raise RuntimeError("the power is gone")

    crafter = TrajectoryCrafter(broken, settings=job.spec.settings)
    with pytest.raises(RuntimeError):
        redirect(clip.path, job.folder / "out", crafter=crafter, say=lambda line: None)
    write_job(replace(job, state="running"))
    again = Queue(queue.library)
    assert again.jobs(user.id)[0].state == "queued"
    again.start()
    try:
        done = ended(again, job)
    finally:
        again.stop()
    assert done.state == "done", done.message
    stages = json.loads(done.files()["run.json"].read_text())["stages"]
    assert "depth" not in stages and "generate" in stages


def test_a_stopped_queue_leaves_its_jobs_waiting(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    job = queue.submit(spec(clip, user, tmp_path))
    queue.start()
    ended(queue, job, ("running",))
    queue.stop()
    assert read_job(job.folder).state == "queued"
    queue.start()
    assert ended(queue, job).state == "done"


SERVER = """
import sys, time
from pathlib import Path
from trajectorycrafter.studio.jobs import Queue
from trajectorycrafter.studio.library import Library
queue = Queue(Library(Path(sys.argv[1])))
queue.start()
while True:
    time.sleep(1)
"""


def test_a_killed_server_takes_its_worker_along_and_its_jobs_go_on(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    job = queue.submit(spec(clip, user, tmp_path))
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(queue.library.root)])
    until = time.monotonic() + PATIENCE_S
    while read_job(job.folder).state != "running" and time.monotonic() < until:
        time.sleep(0.02)
    workers: list[psutil.Process] = []
    while not workers and time.monotonic() < until:
        workers = psutil.Process(server.pid).children()
    server.kill()
    server.wait()
    assert workers
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    again = Queue(queue.library)
    again.start()
    try:
        assert ended(again, job).state == "done"
    finally:
        again.stop()


def test_a_worker_ends_with_its_input(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "log")
    assert worker.alive
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    assert worker.process.wait(60) == 0
    assert not worker.alive
    worker.close()


def test_two_studios_do_not_share_a_folder(queue: Queue) -> None:
    other = psutil.Process(os.getppid())
    claim = {"pid": other.pid, "began": other.create_time()}
    (queue.library.root / "studio.json").write_text(json.dumps(claim))
    with pytest.raises(ValueError, match=f"process {other.pid}"):
        queue.start()
    claim["began"] -= 1  # another process that had this number is long gone
    (queue.library.root / "studio.json").write_text(json.dumps(claim))
    queue.start()


def test_records_of_another_version_are_left_alone(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    job = queue.submit(spec(clip, user, tmp_path))
    kept = json.loads((job.folder / "job.json").read_text())
    kept["settings"]["clip"]["unknown"] = 1
    (job.folder / "job.json").write_text(json.dumps(kept))
    assert Queue(queue.library).jobs(user.id) == []
    assert job.folder.exists()
    with pytest.raises(ValueError, match="not a job of this version"):
        read_job(job.folder)


def test_a_job_is_read_as_it_was_written(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    settings = RedirectSettings(
        clip=ClipSettings(start=1, frames=5, size=(64, 96), fit="pad"),
        camera=CameraSettings(camera="orbit-left", radius=2.0, ease=True),
        depth=DepthSettings("embedded", 60.0),
        generator=GeneratorSettings(steps=2, prompt="a room", blend="on"),
        machine=MachineSettings(weights=tmp_path, device="cpu"),
    )
    path = write_trajectory(preset("orbit-right", 5), tmp_path / "path.json")
    job = queue.submit(JobSpec(clip.path, path, settings, user.id, "kept"))
    assert read_job(job.folder) == job
    camera = job.spec.settings.camera
    assert (camera.camera, camera.radius, camera.trajectory) == (None, 2.0, job.spec.trajectory)
    assert replace(job.spec.settings, camera=settings.camera) == settings


# -------------------------------------------------------------------------- what cannot be queued


def test_a_trajectory_may_be_a_document_or_any_format(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    plain = spec(clip, user, tmp_path)
    assert isinstance(plain.trajectory, Path)
    document = json.loads(plain.trajectory.read_text())
    job = queue.submit(replace(plain, trajectory=document))
    assert json.loads((job.folder / "trajectory.json").read_text()) == document
    released = tmp_path / "path.txt"
    released.write_text("0 10\n0 20\n0 0.1\n")
    job = queue.submit(replace(plain, trajectory=released))
    path = read_trajectory(job.folder / "trajectory.json", 9)
    expected = read_trajectory(released, 9)
    torch.testing.assert_close(path.azimuth_deg, expected.azimuth_deg)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trajectory": {"format": "trajectorycrafter-trajectory"}}, r"the trajectory: \$.version"),
        ({"trajectory": {}}, "or another known JSON; got keys"),
        ({"user": "f" * 32}, "no such visitor"),
        ({"settings": RedirectSettings(depth=DepthSettings("embeded"))}, "embedded"),
        ({"settings": RedirectSettings(clip=ClipSettings(size=(63, 96)))}, "even numbers"),
        ({"settings": RedirectSettings(machine=MachineSettings(device="cuda"))}, "not on this"),
        ({"clip": Path("nowhere.mp4")}, "no file"),
    ],
)
def test_what_cannot_run_is_told_before_it_waits(
    queue: Queue, user: User, clip: Clip, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    if "cuda" in str(change) and torch.cuda.is_available():
        pytest.skip("this machine has what the job asks for")
    with pytest.raises((ValueError, FileNotFoundError), match=told) as error:
        queue.submit(replace(spec(clip, user, tmp_path), **change))
    assert str(queue.library.root) not in str(error.value)
    assert queue.jobs(user.id) == []
    assert not list(user.folder.glob("jobs/*"))


def test_a_path_that_shows_frames_beyond_the_clip_is_refused(
    queue: Queue, user: User, clip: Clip, tmp_path: Path
) -> None:
    path = preset("orbit-right", 9)
    path = replace(path, source_frame=torch.full((9,), 8))
    file = write_trajectory(path, tmp_path / "late.json")
    settings = spec(clip, user, tmp_path).settings
    settings = replace(settings, clip=replace(settings.clip, frames=5))
    with pytest.raises(ValueError, match="needs source frame 8, but the source has 5"):
        queue.submit(JobSpec(clip.path, file, settings, user.id, "late"))


def test_one_visitor_cannot_fill_the_queue(tmp_path: Path, clip: Clip) -> None:
    library = Library(tmp_path / "studio", Limits(queued=2))
    queue, user, other = Queue(library), library.user(None), library.user(None)
    for _ in range(2):
        queue.submit(spec(clip, user, tmp_path))
    with pytest.raises(ValueError, match="2 jobs are waiting"):
        queue.submit(spec(clip, user, tmp_path))
    queue.cancel(queue.jobs(user.id)[0].id)
    queue.submit(spec(clip, user, tmp_path))
    queue.submit(spec(clip, other, tmp_path))


def test_visitors_do_not_see_each_others_jobs(
    queue: Queue, library: Library, user: User, clip: Clip, tmp_path: Path
) -> None:
    other = library.user(None)
    job = queue.submit(spec(clip, user, tmp_path))
    assert queue.jobs(other.id) == [] and queue.job(job.id, other.id) is None
    assert queue.job(job.id, user.id) == job


# ------------------------------------------------------------------------------------------- quota


def test_the_oldest_ended_jobs_make_room(tmp_path: Path, clip: Clip) -> None:
    library = Library(tmp_path / "studio", Limits(quota_gb=350e3 / 1e9))
    queue, user = Queue(library), library.user(None)
    jobs = [queue.submit(spec(clip, user, tmp_path, f"job {n}")) for n in range(4)]
    for job in jobs[:3]:
        (job.folder / "out").mkdir()
        (job.folder / "out" / "video.mp4").write_bytes(bytes(100_000))
        write_job(replace(job, state="done"))
    queue = Queue(library)
    assert queue.make_room()
    assert queue.make_room(100_000, keep=jobs[0].id)  # the oldest stays, the next one goes
    assert [job.spec.name for job in queue.jobs(user.id)] == ["job 3", "job 2", "job 0"]
    assert not jobs[1].folder.exists()
    # An upload asks for room, too.
    user.add("big.png", png(150_000))
    assert [job.spec.name for job in queue.jobs(user.id)] == ["job 3", "job 2"]
    # Waiting jobs are nobody's to remove.
    assert not queue.make_room(10**9)
    assert [job.spec.name for job in queue.jobs(user.id)] == ["job 3"]


def test_a_full_studio_takes_no_job(tmp_path: Path, clip: Clip) -> None:
    library = Library(tmp_path / "studio", Limits(quota_gb=1e-7))
    user = library.user(None)
    (user.folder / "clips").mkdir()
    (user.folder / "clips" / "a.mp4").write_bytes(bytes(1000))
    with pytest.raises(ValueError, match="are full"):
        Queue(library).submit(spec(clip, user, tmp_path))


def test_a_full_disk_does_not_end_the_queue(
    queue: Queue, user: User, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.submit(spec(clip, user, tmp_path))

    def full(job: StudioJob) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("trajectorycrafter.studio.jobs.write_job", full)
    queue.cancel(job.id)
    assert queue.jobs(user.id)[0].state == "cancelled"
    assert read_job(job.folder).state == "queued"


# ---------------------------------------------------------------------------------------- progress


def test_progress_follows_the_expected_seconds() -> None:
    track = Track({"read": 1.0, "depth": 6.0, "render": 3.0}, began=0.0)
    assert track.progress(0.0).fraction == 0.0
    track.enter("read", 1.0)
    track.enter("depth", 2.0)
    now = track.progress(5.0)
    assert (now.stage, now.fraction, now.seconds_left) == ("depth", 0.4, 6.0)
    late = track.progress(50.0)
    assert late.fraction == pytest.approx((1 + 0.95 * 6) / 10)
    track.enter("render", 14.0)  # twice as slow as expected, so the rest will be
    now = track.progress(14.0)
    assert now.fraction == pytest.approx(0.7)
    assert now.seconds_left == pytest.approx(3.0 * 13 / 7)


def test_progress_never_goes_back() -> None:
    track = Track({"depth": 10.0, "render": 1.0}, began=0.0)
    track.enter("depth", 0.0)
    fractions = [track.progress(t).fraction for t in (1.0, 5.0, 100.0)]
    track.enter("render", 100.0)
    fractions += [track.progress(t).fraction for t in (100.0, 101.0, 200.0)]
    assert fractions == sorted(fractions) and fractions[-1] < 1


def test_progress_before_the_plan_is_unknown() -> None:
    now = Track(began=0.0).progress(3.0)
    assert (now.stage, now.fraction, now.seconds_left) == ("start", 0.0, None)


def test_the_released_model_is_expected_window_by_window(clip: Clip) -> None:
    camera = CameraSettings(camera="orbit-right")
    settings = RedirectSettings(
        camera=camera, clip=ClipSettings(size=(64, 96)), generator=GeneratorSettings(model="5b")
    )
    assert list(expected_seconds(clip.path, settings))[-4:] == [
        "caption",
        "generate",
        "write",
        "compare",
    ]
