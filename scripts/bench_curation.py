"""Samples a second of curation, with one worker and with two.

    python scripts/bench_curation.py                     scenes, and the demo clip with its depth
    python scripts/bench_curation.py --samples 40 --workers 1 2 4

The one thing a reader would get wrong: workers are processes that load torch and the networks
first. `steady` leaves that out: it counts from the first clip's end to the last's; `whole` has it
all. On a machine that has other work, only processor seconds say something.
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from trajectorycrafter.config.curation import Curation, SceneSettings, WindowSettings
from trajectorycrafter.lab.curation.run import curate
from trajectorycrafter.video.reading import DEMO_CLIP


def measure(settings: Curation, workers: int) -> dict[str, float]:
    """Seconds and rates of one run."""
    with tempfile.TemporaryDirectory() as name:
        out, stamps = Path(name) / "out", []
        stop = _watch(out / "clips.jsonl", stamps)
        start, before = time.perf_counter(), _processor_seconds()
        done = curate(settings, out, workers=workers, say=lambda line: None)
        seconds = time.perf_counter() - start
        spent = _processor_seconds() - before
        stop()
        size = sum(path.stat().st_size for path in out.glob("shard-*.tar"))
    assert done.made, done
    steady = (stamps[-1][1] - stamps[0][1]) / (stamps[-1][0] - stamps[0][0])
    return {
        "workers": workers,
        "samples": done.made,
        "whole_per_s": round(done.made / seconds, 3),
        "steady_clips_per_s": round(steady, 3),
        "processor_s_per_sample": round(spent / done.made, 2),
        "mb_per_sample": round(size / done.made / 1e6, 3),
    }


def _processor_seconds() -> float:
    """Of this process and of its workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _watch(log: Path, stamps: list[tuple[float, int]]) -> Callable[[], None]:
    """Note when the log's first lines and its last came."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            lines = log.read_bytes().count(b"\n") if log.exists() else 0
            if lines and (not stamps or stamps[-1][1] != lines):
                stamps.append((time.perf_counter(), lines))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()

    def stop() -> None:
        ended.set()
        thread.join()

    return stop


def main() -> None:
    """Print a JSON line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads")
    window = WindowSettings(frames=13, size=(96, 160))
    scenes = Curation(
        "synthetic", window=window, scene=SceneSettings(scenes=chosen.samples), device="cpu"
    )
    with tempfile.TemporaryDirectory() as name:
        for i in range(max(4, chosen.samples // 3)):
            shutil.copy(DEMO_CLIP, Path(name) / f"{i:03d}.mp4")
        clips = replace(scenes, source="folder", data=Path(name))
        for label, settings in (("scenes", scenes), ("clips, embedded depth", clips)):
            for workers in chosen.workers:
                print(json.dumps({"what": label} | measure(settings, workers)), flush=True)


if __name__ == "__main__":
    main()
