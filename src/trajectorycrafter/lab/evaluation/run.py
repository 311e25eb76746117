"""Run a benchmark into a folder: its entries, its report, and what the numbers depend on.

With `resume` a stopped run goes on from its `entries.jsonl`; what failed before is tried again.
"""

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ...config.evaluation import IPhone, Real4D, Synthetic4D, VBench
from ...runtime.files import to_json
from ...runtime.run_folder import check_inputs, claim
from .iphone.benchmark import evaluate_iphone, redirect_iphone
from .iphone.protocols import PROTOCOLS, Protocol, varied
from .real4d import evaluate_real4d
from .records import Evaluation
from .report import write_report
from .synthetic4d import evaluate_synthetic4d
from .vbench.benchmark import DIMENSIONS, evaluate_vbench

Benchmark = Synthetic4D | Real4D | IPhone | VBench
RECORD = "settings.json"
OURS = (RECORD, "entries.jsonl", "report.json", "report.md", "report.html", "media", "results")
FREE = ("engine", "workers", "shown")
"""Settings that no number depends on: they may change when a run is resumed."""


def evaluate(
    settings: Benchmark,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    command: list[str] | None = None,
) -> Evaluation:
    """Run the benchmark of these settings and write its report into `out`.

    Args:
        command: what the report names as its command; default: this process's.

    Raises:
        ValueError: settings that cannot be used, or `out` is taken.
        FileNotFoundError: data, results or weights that are not there.
    """
    out, began, run = Path(out), time.monotonic(), _runner(settings)
    plain = to_json(settings)
    depends = {"benchmark": type(settings).__name__}
    depends |= {key: value for key, value in plain.items() if key not in FREE}
    inputs: list[Path] = []
    for name in ("data", "meshes", "results", "weights", "prompts"):
        given = getattr(settings, name, None) or ()
        inputs += given if isinstance(given, tuple) else [given]
    check_inputs([out], OURS, inputs)
    again: dict[str, Any] = {"overwrite": overwrite, "resume": resume}
    folder = claim(out, RECORD, depends, ours=OURS, held="an evaluation", **again)
    found = run(folder.work)
    about = {
        "command": command or [Path(sys.argv[0]).name, *sys.argv[1:]],
        "settings": plain,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {name: version(name) for name in ("trajectorycrafter", "torch", "numpy")},
        "seconds": round(time.monotonic() - began, 1),
    }
    found = replace(found, about=about | {k: v for k, v in found.about.items() if k not in about})
    write_report(found, folder.work)
    folder.finish()
    return found


def _runner(settings: Benchmark) -> Callable[[Path], Evaluation]:
    """The benchmark, ready to run; unknown names are refused now."""
    if isinstance(settings, Synthetic4D):
        return partial(evaluate_synthetic4d, settings=settings)
    if isinstance(settings, Real4D):
        return partial(evaluate_real4d, settings=settings)
    if isinstance(settings, IPhone):
        if settings.protocol not in PROTOCOLS:
            known = ", ".join(PROTOCOLS)
            raise ValueError(f"Unknown protocol {settings.protocol!r}; known: {known}.")
        axes = ("mask", "resolution", "cameras", "depth", "orientation")
        given = {axis: getattr(settings, axis) for axis in axes if getattr(settings, axis)}
        return partial(_iphone, settings, varied(PROTOCOLS[settings.protocol], **given))
    return lambda out: evaluate_vbench(
        settings.results,
        out,
        dimensions=settings.dimensions or DIMENSIONS,
        weights=settings.weights,
        python=settings.vbench_python,
        prompts=settings.prompts,
    )


def _iphone(settings: IPhone, protocol: Protocol, out: Path) -> Evaluation:
    results = list(settings.results)
    if settings.model is not None:
        made = out / "results"
        name = settings.model.replace("/", "_")
        redirect_iphone(settings.data, made, protocol, method=name, model=settings.model)
        results.append(made)
    if not results:
        raise ValueError("Give --results FOLDER with finished videos, or --model to make them.")
    given: dict[str, Any] = {"weights": settings.weights, "media": True}
    return evaluate_iphone(settings.data, results, protocol, out, **given)
