"""Cached latents: samples encoded once, so that training runs without autoencoder and T5.

A cache is a folder of `latents-000000.safetensors` files beside a copy of the samples' index, so it
is a folder of samples in its own right that `SampleDataset` mixes, shuffles and splits as it does
with pictures; the pictures themselves are no longer needed.

What is cached is the posterior, so each visit of a sample still draws new latents; only the noise
on the condition, which comes before the autoencoder, is limited to so many variants.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from ...config.redirect import NEGATIVE_PROMPT
from ...runtime.files import whole, write_json
from ..samples import SampleDataset, read_index, read_sample
from ..samples.shards import INDEX
from .examples import Embed, Encoder, Example, Posterior, View, tensors

SCHEMA = "trajectorycrafter-latents/1"
ABOUT = "latents.json"
TEXTS = "texts.safetensors"
VARYING = ("render.latents", "memory.latents")
"""What differs between the variants of a sample."""


def fixed_texts(embed: Embed) -> dict[str, Float[Tensor, "L e"]]:
    """Embeddings of the texts that every run uses: the empty one and the negative prompt."""
    empty, negative = embed(["", NEGATIVE_PROMPT])
    return {"empty": empty, "negative": negative}


def write_cache(
    encoder: Encoder,
    samples: Path,
    out: Path,
    *,
    about: dict[str, Any],
    variants: int = 1,
    dtype: torch.dtype = torch.float16,
    per_file: int = 64,
    rank: int = 0,
    world_size: int = 1,
) -> None:
    """Encode a folder of samples; what an earlier, stopped run wrote is kept.

    With several processes each writes its share of the files; the cache is whole when all are done.

    Args:
        about: How the latents were made, for the check when they are read.
        variants: Draws of the noise on each sample's condition.

    Raises:
        ValueError: If the folder holds latents that were made otherwise.
    """
    rows = read_index(samples).to_pylist()
    about = {**about, "schema": SCHEMA, "variants": variants, "per_file": per_file}
    about |= {"dtype": str(dtype), "samples": len(rows)}
    if (out / ABOUT).exists():
        old = read_about(out)
        odd = sorted(key for key in old.keys() | about.keys() if old.get(key) != about.get(key))
        if odd:
            raise ValueError(
                f"{out} holds latents made with other settings ({', '.join(odd)}); choose another "
                "folder, or delete it."
            )
    if rank == 0:
        write_json(about, out / ABOUT)
        save_file(
            {k: v.contiguous().cpu() for k, v in fixed_texts(encoder.embed).items()}, out / TEXTS
        )
        shutil.copyfile(samples / INDEX, out / INDEX)
    numbers = range(rank, -(-len(rows) // per_file), world_size)
    for number in tqdm(numbers, "Encoding", leave=False, delay=1, disable=rank > 0):
        path = out / _file(number)
        if not path.exists():
            chosen = rows[number * per_file : (number + 1) * per_file]
            _write_file(encoder, samples, chosen, path, variants, dtype, about["text"])


def read_about(folder: Path) -> dict[str, Any]:
    """How the latents of a cache were made.

    Raises:
        FileNotFoundError: If the folder is not a cache.
    """
    if not (folder / ABOUT).exists():
        raise FileNotFoundError(
            f"No {ABOUT} in {folder}; `trajectorycrafter encode` makes latents of samples."
        )
    return json.loads((folder / ABOUT).read_text())


def read_texts(folder: Path) -> dict[str, Float[Tensor, "L e"]]:
    """The cache's embeddings of the empty text and the negative prompt."""
    return load_file(folder / TEXTS)


class LatentDataset(SampleDataset):
    """The stream of `SampleDataset` over caches: each item is the variants of one example."""

    def __init__(self, folders: Any, **stream: Any) -> None:
        """
        Args:
            folders: Caches, as `SampleDataset` takes folders.
            stream: Its other arguments.

        Raises:
            FileNotFoundError: If a folder is not a whole cache.
        """
        super().__init__(folders, **stream)
        places = {folder for folder, _ in self.rows}
        self._about = {folder: read_about(folder) for folder in places}
        self._texts = {folder: read_texts(folder)["empty"] for folder in places}
        self._place: dict[tuple[Path, str], int] = {}
        for folder in sorted(places):
            ids = read_index(folder)["id"].to_pylist()
            files = range(-(-len(ids) // self._about[folder]["per_file"]))
            absent = [_file(n) for n in files if not (folder / _file(n)).exists()]
            if absent:
                raise FileNotFoundError(
                    f"{folder} lacks {', '.join(absent[:3])}; encode the samples again, which goes "
                    "on where it stopped."
                )
            self._place |= {(folder, id): i for i, id in enumerate(ids)}

    def read(self, folder: Path, row: dict[str, Any]) -> list[Example]:
        """The variants of the example of a row."""
        number, place = divmod(self._place[folder, row["id"]], self._about[folder]["per_file"])
        with safe_open(folder / _file(number), framework="pt") as file:
            said = json.loads(file.metadata()["examples"])[place]
            names = [name for name in list(file.keys()) if name.startswith(f"{place}/")]
            held = {name.removeprefix(f"{place}/"): file.get_tensor(name) for name in names}
        held.setdefault("text", self._texts[folder])
        return [
            _example(said, {name.removeprefix(f"{v}/"): value for name, value in held.items()})
            for v in range(self._about[folder]["variants"])
        ]


def _example(said: dict[str, Any], held: dict[str, Tensor]) -> Example:
    """An example of its tensors by the names that `tensors` gives them."""

    def posterior(name: str) -> Posterior | None:
        mean = held.get(f"{name}.mean")
        return None if mean is None else Posterior(mean, held.get(f"{name}.std"))

    def view(name: str) -> View | None:
        latents = posterior(f"{name}.latents")
        return None if latents is None else View(latents, held[f"{name}.known"], said[name])

    target, render = posterior("target"), view("render")
    assert target is not None and render is not None, said
    reference, memory = posterior("reference"), view("memory")
    return Example(said["id"], said["kind"], target, render, reference, memory, held["text"])


def _write_file(
    encoder: Encoder,
    samples: Path,
    rows: list[dict[str, Any]],
    path: Path,
    variants: int,
    dtype: torch.dtype,
    text: str,
) -> None:
    kept: dict[str, Tensor] = {}
    said = []
    for place, row in enumerate(rows):
        sample = read_sample(samples, row)
        for variant in range(variants):
            example = encoder(sample, variant)
            for name, tensor in tensors(example):
                varies = name.startswith(VARYING)
                if (variant == 0 or varies) and not (name == "text" and text == "empty"):
                    key = f"{place}/{variant}/{name}" if varies else f"{place}/{name}"
                    kept[key] = tensor.to("cpu", dtype).contiguous()
            if variant == 0:
                memory = example.memory is not None and example.memory.seen
                about = {"id": example.id, "kind": example.kind}
                said.append(about | {"render": example.render.seen, "memory": memory})
    with whole(path) as partial:
        save_file(kept, partial, {"examples": json.dumps(said)})


def _file(number: int) -> str:
    return f"latents-{number:06d}.safetensors"
