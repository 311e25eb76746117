"""Seconds and peak memory of a denoising step, with and without the whole score matrix.

    python scripts/bench_transformer.py [--runs 2] [--out bench_transformer.txt]

The size is 8 layers of 8 heads x 64, 33 input channels, view latents 13x48x84 (13,104 tokens),
reference latents 3x48x84 (3,024 tokens), 226 text tokens, float32, one sample. Every measurement is
a fresh process, so that peaks do not mix, and the ways take turns, so that a busy machine troubles
them alike:

    fused    ours: fused reference attention, keys and values made once and kept
    again    ours, but keys and values made again at every step
    matrix   keys and values made again, and the score matrix formed, as the released code does
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS = ("fused", "again", "matrix")
REFERENCE_TWINS = Path(__file__).parents[1] / "tests"


def measure(way: str, steps: int, frames: int) -> dict[str, float]:
    """One process's work: `steps` model calls on the same inputs."""
    import torch

    sys.path.insert(0, str(REFERENCE_TWINS))
    from reference.materialised_attention import materialised

    from trajectorycrafter.model.transformer import DualStreamTransformer

    torch.manual_seed(0)
    model = DualStreamTransformer(
        num_attention_heads=8,
        in_channels=33,
        num_layers=8,
        use_rotary_positional_embeddings=True,
        cross_attn_num_heads=8,
        cross_attn_dim_head=64,
    )
    model = model.eval().requires_grad_(False)
    size = (48, 84)
    noise, condition = torch.randn(1, frames, 16, *size), torch.randn(1, frames, 17, *size)
    text, referred = torch.randn(1, 226, 4096), torch.randn(1, 3, 16, *size)
    seconds, shares = [], []
    reference = None
    if way == "matrix":
        tokens = model.ref_patch_embed(referred)
        for attention in model.perceiver_cross_attention:
            attention.forward = lambda view, _kv, a=attention: materialised(a, view, tokens)
        reference = tuple((tokens, tokens) for _ in model.perceiver_cross_attention)
    for attention in model.perceiver_cross_attention:
        inner = attention.forward

        def timed(*given: Any, inner: Callable[..., Any] = inner) -> Any:
            begun = time.perf_counter()
            out = inner(*given)
            shares[-1] += time.perf_counter() - begun
            return out

        attention.forward = timed
    for step in range(steps):
        shares.append(0.0)
        begun = time.perf_counter()
        if way == "again" or (way == "fused" and step == 0):
            reference = model.project_reference(referred)
        model(noise, text, torch.tensor([999 - step]), condition, reference=reference)
        seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {
        "step": statistics.median(seconds[1:] or seconds),
        "reference": statistics.median(shares[1:] or shares),
        "cpu": time.process_time() / steps,
        "peak_gb": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2, help="processes a way")
    parser.add_argument(
        "--steps", type=int, default=2, help="model calls a process; the first warms up"
    )
    parser.add_argument("--frames", type=int, default=13, help="latent frames of the view")
    parser.add_argument("--out", type=Path, help="also write the table here")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options.steps, options.frames)))
        return
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for run in range(options.runs):
        # The order turns around, so that a load that grows or fades favors nobody.
        for way in WAYS if run % 2 == 0 else WAYS[::-1]:
            command = [sys.executable, __file__, "--way", way]
            command += ["--steps", str(options.steps), "--frames", str(options.frames)]
            out = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            )
            results[way].append(json.loads(out.stdout.splitlines()[-1]))
    table = report(results)
    print(table)
    if options.out:
        options.out.write_text(table + "\n")


def report(results: dict[str, list[dict[str, float]]]) -> str:
    """A line a way: medians over its processes, and every process's step."""
    lines = [
        f"{'way':8} {'s/step':>8} {'of it reference':>16} {'CPU s/step':>11} {'peak GB':>8}"
        "  each process",
    ]
    for way, runs in results.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        each = " ".join(f"{run['step']:.1f}" for run in runs)
        lines.append(
            f"{way:8} {median['step']:8.1f} {median['reference']:16.2f} {median['cpu']:11.1f} "
            f"{median['peak_gb']:8.2f}  {each}"
        )
    saved = {
        way: statistics.median(run["reference"] for run in results[way])
        for way in ("again", "fused")
    }
    lines.append(
        f"Keeping keys and values saves {saved['again'] - saved['fused']:.2f} s a step in the "
        "reference branch."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
