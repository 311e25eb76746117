"""Mapping over items: results as they come, failures in their item's place, workers that die."""

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from trajectorycrafter.runtime.engine import WorkerDiedError, ray_share, run_all, shares


class AwkwardError(Exception):
    """Cannot be unpickled: its arguments are not those of its constructor."""

    def __init__(self, a: int, b: int):
        super().__init__(f"awkward {a + b}")


def work(item: int | str) -> object:
    """What the items ask for."""
    if item == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "exit":
        os._exit(3)
    if item == "raise":
        raise ValueError("no such luck")
    if item == "awkward":
        raise AwkwardError(1, 2)
    if item == "unsendable":
        return lambda: None
    if item == "threads":
        import torch

        return torch.get_num_threads(), os.environ["NUMBA_NUM_THREADS"]
    if item == "pid":
        return os.getpid()
    if item == "quit":
        sys.exit(4)
    return item * 2


def state() -> list[int]:
    return [os.getpid()]


def remember(item: int, seen: list[int]) -> list[int]:
    if item < 0:
        os._exit(1)
    seen.append(item)
    return list(seen)


def broken_state() -> None:
    raise OSError("no weights")


def wait_long(item: int) -> None:
    Path(os.environ["BEGUN"], str(item)).touch()
    time.sleep(120)


def test_one_worker_is_this_process_and_needs_no_pickling() -> None:
    seen = []
    results = list(run_all(lambda item: (seen.append(item), os.getpid())[1], [1, 2]))
    assert results == [(1, os.getpid()), (2, os.getpid())]
    assert seen == [1, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_back_once_with_its_result_or_error(workers: int) -> None:
    items = [1, "raise", 2, 3]
    results = dict(run_all(work, items, workers=workers))
    assert {k: v for k, v in results.items() if k != "raise"} == {1: 2, 2: 4, 3: 6}
    assert isinstance(results["raise"], ValueError)
    assert str(results["raise"]) == "no such luck"


@pytest.mark.usefixtures("two_threads")
def test_a_dead_worker_is_its_items_failure_and_the_rest_goes_on() -> None:
    items = ["kill", 1, "exit", 2, "awkward", "unsendable", "quit", "pid", "threads"]
    results = dict(run_all(work, items, workers=2, describe=lambda item: f"item {item}"))
    assert set(results) == set(items)
    assert (results[1], results[2]) == (2, 4)
    assert isinstance(results["kill"], WorkerDiedError)
    assert "item kill (SIGKILL; mostly memory" in str(results["kill"])
    assert "item exit (exit code 3)" in str(results["exit"])
    assert str(results["awkward"]) == "AwkwardError: awkward 3"
    assert "Cannot be sent" in str(results["unsendable"])
    assert "sys.exit(4)" in str(results["quit"])
    assert results["pid"] != os.getpid()
    assert results["threads"] == (1, "1")  # its share of two


def test_state_is_made_once_per_worker_and_again_after_a_death() -> None:
    results = dict(run_all(remember, [-1, -2, 1, 2, 3, 4], workers=2, setup=state))
    assert all(isinstance(results.pop(item), WorkerDiedError) for item in (-1, -2))
    by_worker: dict[int, list[list[int]]] = {}
    for pid, *seen in results.values():
        by_worker.setdefault(pid, []).append(seen)
    assert 1 <= len(by_worker) <= 2  # both of the first two died
    for histories in by_worker.values():  # each worker's list grew by the items it was given
        *_, longest = sorted(histories, key=len)
        assert sorted(histories, key=len) == [longest[: n + 1] for n in range(len(longest))]
    here = [v for _, v in run_all(remember, [1, 2, 3], setup=state)]
    assert here[-1] == [os.getpid(), 1, 2, 3]


def test_a_failing_setup_is_the_items_failure() -> None:
    for _, result in run_all(remember, [1, 2], setup=broken_state):
        assert isinstance(result, OSError)


def test_items_are_taken_when_a_worker_is_free_and_an_early_end_stops_the_workers() -> None:
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = run_all(work, items(), workers=2)
    next(results)
    assert len(taken) <= 4
    workers = [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]
    assert workers
    results.close()
    assert not any(worker.is_running() for worker in workers)
    assert len(taken) <= 4


def test_wrong_arguments_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="at least 1 worker"):
        run_all(work, [1], workers=0)
    with pytest.raises(ValueError, match="can be sent"):
        run_all(lambda item: item, [1], workers=2)


def test_a_missing_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"trajectorycrafter\[ray\]"):
        run_all(work, [1], engine="ray")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, stop: signal.Signals) -> None:
    """Ctrl-C stops cleanly, and even a killed parent leaves nobody working."""
    script = tmp_path / "main.py"
    script.write_text(
        textwrap.dedent("""
        from test_engine import wait_long
        from trajectorycrafter.runtime.engine import run_all
        if __name__ == "__main__":
            print(list(run_all(wait_long, [1, 2, 3], workers=2)))
        """)
    )
    begun = tmp_path / "begun"
    begun.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "BEGUN": str(begun)}
    parent = subprocess.Popen(
        [sys.executable, script],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # Shells let what they start in the background ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 90
    while len(list(begun.iterdir())) < 2:  # Both are at work, which is when users stop them.
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(parent.pid).children()
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    parent.send_signal(stop)
    _, said = parent.communicate(timeout=60)
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    assert len(gone) == 2
    assert said.count("Traceback") == (1 if stop == signal.SIGINT else 0), said


def test_shares_are_fair() -> None:
    two = shares(2, 8, ["0", "3"])
    assert [s["OMP_NUM_THREADS"] for s in two] == ["4", "4"]
    assert [s["CUDA_VISIBLE_DEVICES"] for s in two] == ["0", "3"]
    assert [s["NUMBA_NUM_THREADS"] for s in shares(3, 2, [])] == ["1"] * 3
    assert "CUDA_VISIBLE_DEVICES" not in shares(2, 2, ["0"])[0]
    assert ray_share(2, {"CPU": 8.0}) == ({"num_cpus": 1.0}, 4)
    assert ray_share(3, {"CPU": 2.0, "GPU": 2.0}) == ({"num_cpus": 0.5, "num_gpus": 0.5}, 1)


def test_ray_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    ray = importlib.import_module("ray")
    items = [1, "raise", "exit", 2, 3, "threads"]
    results = dict(run_all(work, items, engine="ray", workers=1, describe=lambda i: f"item {i}"))
    assert (results[1], results[2], results[3]) == (2, 4, 6)
    assert isinstance(results["raise"], ValueError)
    assert isinstance(results["exit"], WorkerDiedError)
    assert "item exit" in str(results["exit"])
    assert not ray.is_initialized()
