"""Maps a function over many items, in this process, in worker processes, or on a Ray cluster.

The one thing a reader would get wrong: a failure is a result. Whatever goes wrong with an item, its
worker's death included, is given back in the item's place, and the others go on.
"""

import contextlib
import math
import multiprocessing as mp
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, TypeVar

Item = TypeVar("Item")
Engine = Literal["local", "ray"]
Results = Generator[tuple[Item, Any], None, None]
Outcome = tuple[bool, Any]
"""Whether it went well, and the result or the exception."""

_PATIENCE = 5.0
"""Seconds that a worker has to end after it was told to."""
_THREAD_VARIABLES: tuple[str, ...] = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def in_words(error: Exception) -> str:
    """An error as a record keeps it: the user's mistakes say it themselves, others are named."""
    plain = isinstance(error, ValueError | FileNotFoundError | FileExistsError)
    return str(error) if plain else f"{type(error).__name__}: {error}"


class WorkerDiedError(RuntimeError):
    """The process that worked on an item ended without an answer."""


def run_all(
    work: Callable[..., Any],
    items: Iterable[Item],
    *,
    engine: Engine = "local",
    workers: int = 1,
    setup: Callable[[], Any] | None = None,
    describe: Callable[[Item], str] = str,
) -> Results[Item]:
    """`work` done for every item; each comes back with its result or exception as it is ready.

    Items are taken from `items` one by one, when a worker is free for them. A result that is left
    alone (the loop ends early, Ctrl-C) stops the workers.

    Args:
        work: called as `work(item)`, or `work(item, state)` if there is a `setup`. For more than
            one worker it must be importable by name, as must `setup`.
        engine: `local` works in this process if `workers` is 1, else in processes of their own;
            `ray` in actors of the cluster that Ray is connected to, else of this machine.
        workers: how many items are worked on at a time; they share the processors fairly.
        setup: makes what a worker keeps from item to item: loaded models. Called in each worker
            before its first item; if it fails, so does the item, and the next one tries again.
        describe: names an item in the messages.

    Raises:
        ValueError: as `check_engine`, or a function that cannot be sent.
    """
    check_engine(engine, workers)
    worker = _Worker(work, setup)
    if engine == "ray":
        return _in_ray(_import_ray(), worker, iter(items), workers, describe)
    if workers == 1:
        return _here(worker, iter(items))
    try:
        packed = pickle.dumps(worker)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"More than one worker needs functions that can be sent: {error}"
        ) from None
    return _in_processes(packed, iter(items), workers, describe)


def check_engine(engine: Engine, workers: int) -> None:
    """Checks before any work that something can be run this way.

    Raises:
        ValueError: fewer than one worker, an unknown engine, or Ray is not installed.
    """
    if workers < 1:
        raise ValueError(f"Expected at least 1 worker, got {workers}.")
    if engine not in ("local", "ray"):
        raise ValueError(f"Unknown engine {engine!r}; use local or ray.")
    if engine == "ray":
        _import_ray()


class _Worker:
    """The function and what it keeps between items."""

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None):
        self.work, self.setup = work, setup
        self.state: tuple[Any, ...] | None = () if setup is None else None

    def attempt(self, item: Any) -> Outcome:
        """The item's result, or what was raised."""
        try:
            if self.state is None:
                assert self.setup is not None
                self.state = (self.setup(),)
            return True, self.work(item, *self.state)
        except Exception as error:
            return False, error

    def packed(self, item: Any) -> bytes:
        """As `attempt`, for another process to read; what cannot be sent becomes its text."""
        try:
            good, value = self.attempt(item)
        except SystemExit as stop:
            good, value = False, RuntimeError(f"The work called sys.exit({stop.code}).")
        if not good:
            value.add_note("In the worker:\n" + "".join(traceback.format_exception(value)))
        try:
            packed = pickle.dumps((good, value))
            pickle.loads(packed)  # an exception with arguments of its own may not come back
            return packed
        except Exception as error:
            said = f"{type(value).__name__}: {value}" if not good else f"Cannot be sent: {error}"
            return pickle.dumps((False, RuntimeError(said)))


def _here(worker: _Worker, items: Iterator[Item]) -> Results[Item]:
    for item in items:
        yield item, worker.attempt(item)[1]


# --------------------------------------------------------------------------------------- processes


@dataclass
class _Process:
    """A worker process as its parent sees it."""

    process: BaseProcess
    pipe: Connection
    item: Any
    """What it works on."""

    @classmethod
    def start(cls, worker: bytes, environment: dict[str, str], item: Any) -> "_Process":
        # "spawn", since a forked copy of a process with threads or CUDA can hang.
        context = mp.get_context("spawn")
        mine, its = context.Pipe()
        process = context.Process(target=_serve, args=(its, worker, environment))
        process.start()
        its.close()
        started = cls(process, mine, None)
        started.give(item)
        return started

    def give(self, item: Any) -> None:
        self.item = item
        # A worker that has died meanwhile is noticed where answers are awaited.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(item)

    def answer(self) -> Outcome | None:
        """What it sent; None if it has died without."""
        try:
            return pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            return None

    def stop(self) -> None:
        """End it, whatever it does."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _serve(pipe: Connection, packed: bytes, environment: dict[str, str]) -> None:
    """A worker process: answers items until the pipe is closed."""
    # Ctrl-C reaches the whole group of processes; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= environment  # before torch and numba are imported, which unpickling does
    try:
        worker: _Worker = pickle.loads(packed)
    except Exception as error:  # for instance a function that only the parent can import
        worker = _Worker(partial(_fail, error), None)
    _limit_threads(int(environment["OMP_NUM_THREADS"]))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send_bytes(worker.packed(pipe.recv()))


def _fail(error: Exception, item: Any) -> None:
    raise error


def _end_with_parent() -> None:
    """A parent that was killed must not leave workers that go on writing into its folders."""
    parent = mp.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _in_processes(
    worker: bytes, items: Iterator[Item], workers: int, describe: Callable[[Item], str]
) -> Results[Item]:
    environments = shares(workers, _threads(), _gpus())
    pool: dict[int, _Process] = {}
    try:
        for place, item in zip(range(workers), items):
            pool[place] = _Process.start(worker, environments[place], item)
        while pool:
            ready = wait([process.pipe for process in pool.values()])
            for place in [place for place, process in pool.items() if process.pipe in ready]:
                process: _Process | None = pool.pop(place)
                item, outcome = process.item, process.answer()
                if outcome is None:
                    outcome = False, _death(process.process, describe(item))
                    process.stop()
                    process = None
                # The next item goes out first: the worker need not wait for the caller.
                for following in items:
                    if process is None:
                        process = _Process.start(worker, environments[place], following)
                    else:
                        process.give(following)
                    pool[place] = process
                    break
                else:
                    if process is not None:
                        process.stop()
                yield item, outcome[1]
    finally:
        for process in pool.values():
            process.stop()


def _death(process: BaseProcess, what: str) -> WorkerDiedError:
    process.join(_PATIENCE)
    code = process.exitcode
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = signal.Signals(-code).name
        if how == "SIGKILL":
            how += "; mostly memory had run out: use fewer workers, a smaller size or fewer frames"
    return WorkerDiedError(f"The worker died at {what} ({how}).")


# ------------------------------------------------------------------------------------ fair shares


def shares(workers: int, threads: int, gpus: list[str]) -> list[dict[str, str]]:
    """The environment of each worker: equal parts of the threads, and one of the GPUs in turn."""
    count = str(max(1, threads // workers))
    environments = [dict.fromkeys(_THREAD_VARIABLES, count) for _ in range(workers)]
    if len(gpus) > 1:
        for index, environment in enumerate(environments):
            environment["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
    return environments


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _gpus() -> list[str]:
    """The CUDA devices as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _limit_threads(count: int) -> None:
    """For torch that is there already; one that comes later reads OMP_NUM_THREADS."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


# --------------------------------------------------------------------------------------------- Ray


def _import_ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ValueError(
            "The engine ray needs the package ray: pip install 'trajectorycrafter[ray]'. "
            "The engine local needs nothing."
        ) from error
    return ray


class _Actor(_Worker):
    """A worker that lives in a Ray cluster."""

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None, threads: int):
        super().__init__(work, setup)
        os.environ |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
        _limit_threads(threads)


def _in_ray(
    ray: Any,
    worker: _Worker,
    items: Iterator[Item],
    workers: int,
    describe: Callable[[Item], str],
) -> Results[Item]:
    mine = not ray.is_initialized()
    if mine:
        ray.init(include_dashboard=False, log_to_driver=False)
    options, threads = ray_share(workers, ray.cluster_resources())
    # Ray's own restarts would fail the items that arrive meanwhile; a dead actor is replaced here.
    make = partial(
        ray.remote(_Actor).options(max_restarts=0, **options).remote,
        worker.work,
        worker.setup,
        threads,
    )
    pending: dict[Any, tuple[Any, Item]] = {}
    try:
        for _, item in zip(range(workers), items):
            actor = make()
            pending[actor.packed.remote(item)] = actor, item
        while pending:
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            actor, item = pending.pop(ready)
            try:
                outcome = pickle.loads(ray.get(ready))[1]
            except ray.exceptions.RayError as error:
                what = f"{type(error).__name__}: {error}"
                outcome = WorkerDiedError(f"The worker died at {describe(item)} ({what}).")
                actor = None
            for following in items:
                actor = actor or make()
                pending[actor.packed.remote(following)] = actor, following
                break
            yield item, outcome
    finally:
        for actor, _ in pending.values():
            ray.kill(actor)
        if mine:
            ray.shutdown()


def ray_share(workers: int, resources: dict[str, float]) -> tuple[dict[str, float], int]:
    """What each of `workers` actors asks of the cluster, and how many threads it runs.

    An actor asks for no more than one processor and one GPU, else for an equal part of one, so that
    all of them fit on whatever nodes there are.
    """

    def part(total: float) -> float:
        return 1 / max(1, math.ceil(workers / total))

    cpus, gpus = max(1.0, resources.get("CPU", 1)), resources.get("GPU", 0)
    options = {"num_cpus": part(cpus)} | ({"num_gpus": part(gpus)} if gpus else {})
    return options, max(1, int(cpus) // workers)
