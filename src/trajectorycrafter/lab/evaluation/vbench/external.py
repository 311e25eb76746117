"""VBench dimensions computed by the `vbench` package, in a Python environment of its own.

The one thing a reader would get wrong: imaging quality comes back per video on MUSIQ's scale of 0
to 100 and only its mean over videos is divided by 100; here every score is on the scale of 0 to 1.

The package pins transformers 4.33.2 and NumPy 1, so it cannot live beside ours. One dimension is
one run of that interpreter, and its result file is kept: a stopped evaluation goes on.
"""

import json
import math
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ....runtime.files import write_json

PER_HUNDRED = {"imaging_quality"}
"""Dimensions whose scores per video run to 100."""
TAIL = 15
"""Lines of the interpreter's last words that an error shows."""

# Runs under the user's interpreter: the arguments are the path of a request.
_DRIVER = """
import json, sys
from pathlib import Path
import torch, vbench
request = json.loads(Path(sys.argv[1]).read_text())
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
full_info = Path(vbench.__file__).with_name("VBench_full_info.json")
vbench.VBench(device, str(full_info), request["out"]).evaluate(
    videos_path=request["videos"],
    name=request["dimension"],
    prompt_list=request["prompts"],
    dimension_list=[request["dimension"]],
    local=False,
    read_frame=False,
    mode="custom_input",
    imaging_quality_preprocessing_mode="longer",
)
"""
_ASK = """
import importlib.metadata, vbench
vbench.VBench
try:
    print(importlib.metadata.version("vbench"))
except importlib.metadata.PackageNotFoundError:
    print("of unknown version")
"""


def vbench_version(python: Path) -> str:
    """The version of the `vbench` package that an interpreter has.

    Raises:
        FileNotFoundError: no such interpreter.
        ValueError: it has no `vbench` that can be imported.
    """
    done = _run(python, ["-c", _ASK])
    if done.returncode:
        raise ValueError(
            f"{python} cannot import vbench; docs/reference/vbench.md says how to make an "
            f"environment that can. It said:\n{_tail(done.stderr)}"
        )
    return done.stdout.strip().splitlines()[-1]  # imports may print, too


def external_scores(
    python: Path,
    dimension: str,
    videos: Sequence[Path],
    out: Path,
    prompts: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """One dimension's score, 0 to 1, of every video, by file name.

    Args:
        videos: mp4 files with different names.
        out: folder for the run's files; a finished run of the same videos is read from there.
        prompts: what each video shows, by file name; `overall_consistency` compares with it.

    Raises:
        FileNotFoundError: no such interpreter.
        ValueError: VBench failed (its last words are shown), or its result lacks the dimension, a
            video, or is no number.
    """
    out = out.absolute()
    result, kept = out / f"{dimension}_eval_results.json", out / f"{dimension}_request.json"
    request = {
        "dimension": dimension,
        "videos": str(out / "videos"),
        "out": str(out),
        "prompts": {v.name: (prompts or {})[v.name] for v in videos} if prompts else [],
    }
    stamped = request | {"stamps": {v.name: video_stamp(v) for v in videos}}
    fresh = result.is_file() and kept.is_file() and json.loads(kept.read_text()) == stamped
    if not fresh:
        kept.unlink(missing_ok=True)
        result.unlink(missing_ok=True)
        # VBench takes all that it finds in a folder: it gets one with these videos alone.
        shutil.rmtree(out / "videos", ignore_errors=True)
        (out / "videos").mkdir(parents=True)
        for video in videos:
            try:
                os.symlink(video.absolute(), out / "videos" / video.name)
            except OSError:  # a file system or an account without links
                shutil.copyfile(video, out / "videos" / video.name)
        write_json(request, out / "request.json")
        log = out / f"{dimension}.log"  # what VBench prints can be watched there
        with log.open("w") as file:
            command = ["-c", _DRIVER, str(out / "request.json")]
            done = _run(python, command, stdout=file, stderr=subprocess.STDOUT)
        if done.returncode:
            raise ValueError(
                f"VBench failed at {dimension} (exit code {done.returncode}); what was scored is "
                f"kept. Repair it, or leave it out of --dimensions, and run again. {log} ends:\n"
                f"{_tail(log.read_text(errors='replace'))}"
            )
    scores = read_scores(result, dimension, [v.name for v in videos])
    if not fresh:
        write_json(stamped, kept)
    return scores


def read_scores(path: Path, dimension: str, names: Sequence[str]) -> dict[str, float]:
    """Scores per video, 0 to 1, out of a `<name>_eval_results.json`.

    The file holds `{dimension: [mean, [{"video_path": ..., "video_results": ...}, ...]]}`.

    Raises:
        ValueError: no such file, no such dimension in it, or a video without a finite score.
    """
    value: Any = json.loads(path.read_text()) if path.is_file() else None
    if not isinstance(value, dict) or dimension not in value:
        found = "no file" if value is None else f"{sorted(value)}"
        raise ValueError(f"VBench's result {path} lacks {dimension}: got {found}.")
    scale = 100.0 if dimension in PER_HUNDRED else 1.0
    rows = value[dimension][1]
    scores = {Path(row["video_path"]).name: float(row["video_results"]) / scale for row in rows}
    lacks = [name for name in names if not math.isfinite(scores.get(name, math.nan))]
    if lacks:
        raise ValueError(f"VBench's result {path} has no score for {', '.join(lacks)}.")
    return {name: scores[name] for name in names}


def video_stamp(path: Path) -> str:
    """Changes when the file does: its size and time of change."""
    state = path.stat()
    return f"{state.st_size}-{state.st_mtime_ns}"


def _run(
    python: Path,
    arguments: list[str],
    stdout: int | IO[str] = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    # Our own environment must not leak into theirs.
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    command = [str(python), *arguments]
    try:
        return subprocess.run(command, stdout=stdout, stderr=stderr, text=True, env=kept)
    except (FileNotFoundError, PermissionError):
        raise FileNotFoundError(
            f"Expected a Python interpreter at {python}, and there is none; give the path of "
            f"bin/python in the environment that has vbench."
        ) from None


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL:]) or "(nothing)"
