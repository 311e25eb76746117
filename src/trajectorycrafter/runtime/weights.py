"""The released weights: their names, sizes and terms, and where they lie.

The one thing a reader would get wrong: `locate` never downloads. With a weights folder it answers
with a local path or fails; without one it answers with the hub id. `fetch` is the one place that
downloads, and it states the licence first. Nothing here imports torch.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

ACADEMIC = "academic, research and education use only"


@dataclass(frozen=True)
class ReleasedRepo:
    """One hub repository and the part of it that is needed."""

    repo_id: str
    """`organisation/name` on the hub; `name` is also the local folder's name."""
    holds: str
    """What it holds, in a few words."""
    gigabytes: float
    """Download size of the needed files."""
    licence: str
    """The terms of the weights, in one line."""
    patterns: tuple[str, ...]
    """The needed files; no pattern admits a pickle."""
    probe: str
    """A small file that is there in every complete copy."""

    @property
    def folder(self) -> str:
        return self.repo_id.split("/")[1]


RELEASED = {
    "TrajectoryCrafter": ReleasedRepo(
        "TrajectoryCrafter/TrajectoryCrafter",
        "dual-stream transformer, 6.1 billion parameters in bfloat16",
        12.2,
        ACADEMIC,
        ("*.json", "*.safetensors"),
        "config.json",
    ),
    "CogVideoX-Fun-V1.1-5b-InP": ReleasedRepo(
        "alibaba-pai/CogVideoX-Fun-V1.1-5b-InP",
        "video autoencoder (0.4 GB), T5-XXL text encoder (9.5 GB), tokenizer, scheduler",
        9.9,
        "CogVideoX licence: free for academic research, registration for commercial use",
        (
            "vae/*.json",
            "vae/*.safetensors",
            "text_encoder/*.json",
            "text_encoder/*.safetensors",
            "tokenizer/*.json",
            "tokenizer/*.model",
            "scheduler/*.json",
        ),
        "vae/config.json",
    ),
    "DepthCrafter": ReleasedRepo(
        "tencent/DepthCrafter",
        "video depth UNet",
        3.1,
        ACADEMIC,
        ("*.json", "*.safetensors"),
        "config.json",
    ),
    "stable-video-diffusion-img2vid-xt": ReleasedRepo(
        "stabilityai/stable-video-diffusion-img2vid-xt",
        "autoencoder, CLIP image encoder and scheduler that DepthCrafter builds on, float16",
        1.5,
        "Stability AI community licence: non-commercial, accept it on the hub first",
        (
            "model_index.json",
            "feature_extractor/*.json",
            "scheduler/*.json",
            "vae/config.json",
            "vae/*.fp16.safetensors",
            "image_encoder/config.json",
            "image_encoder/*.fp16.safetensors",
        ),
        "vae/config.json",
    ),
    "blip2-opt-2.7b": ReleasedRepo(
        "Salesforce/blip2-opt-2.7b",
        "captioner BLIP-2, only needed when no prompt is given",
        15.0,
        "MIT code; the OPT language model in it is for non-commercial research",
        ("*.json", "*.txt", "*.safetensors"),
        "config.json",
    ),
}
"""Every released repository by its folder name."""


def repo(name: str) -> ReleasedRepo:
    """The released repository of that folder name or hub id.

    Raises:
        ValueError: If no released repository is called so.
    """
    key = name.split("/")[-1]
    if key not in RELEASED:
        raise ValueError(f"Expected one of {sorted(RELEASED)}, got {name!r}.")
    return RELEASED[key]


def places(name: str, weights_dir: str | Path) -> list[Path]:
    """The local folders in which a released repository is looked for, first match wins."""
    released = repo(name)
    return [Path(weights_dir) / released.folder, Path(weights_dir) / released.repo_id]


def locate(name: str, weights_dir: str | Path | None = None) -> Path | str:
    """The local folder of a released repository, or its hub id if no weights folder is given.

    Args:
        name: Folder name or hub id, see `RELEASED`.
        weights_dir: Folder that holds one folder a repository, called `name` or
            `organisation/name`.

    Raises:
        FileNotFoundError: If a weights folder is given and lacks this repository.
    """
    released = repo(name)
    if weights_dir is None:
        return released.repo_id
    searched = places(name, weights_dir)
    found = next((place for place in searched if (place / released.probe).is_file()), None)
    if found is None:
        raise FileNotFoundError(_missing(released, searched, Path(weights_dir)))
    return found


def find(name: str, weights_dir: str | Path | None = None) -> Path | None:
    """Where a released repository lies on this machine, None if it does not; never downloads."""
    try:
        place = locate(name, weights_dir)
    except FileNotFoundError:
        return None
    return place if isinstance(place, Path) else _cached(repo(name))


def fetch(name: str, weights_dir: str | Path | None = None) -> Path:
    """The local folder of a released repository, downloaded into the hub cache if need be.

    The download states size and licence first, shows its progress, and takes up an interrupted one.

    Raises:
        FileNotFoundError: If it is neither on this machine nor on the hub.
    """
    place = locate(name, weights_dir)
    if isinstance(place, Path):
        return place
    released = repo(name)
    return _cached(released) or _download(released)


def notice(names: Iterable[str]) -> str:
    """Sizes and terms of the named repositories, to be read before they are downloaded."""
    chosen = [repo(name) for name in names]
    lines = [f"  {r.repo_id}: {r.gigabytes:.1f} GB, {r.holds}. {r.licence}." for r in chosen]
    total = sum(r.gigabytes for r in chosen)
    return "\n".join(
        [f"About to download {total:.1f} GB of weights that are not part of this package:", *lines]
        + ["By going on you accept these terms; the package's own licence does not cover them."]
    )


def _cached(released: ReleasedRepo) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            released.repo_id, allow_patterns=list(released.patterns), local_files_only=True
        )
    except LocalEntryNotFoundError:
        return None
    return Path(folder)


def _download(released: ReleasedRepo) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # A warning reaches the terminal even when nobody has configured logging, which the terms must.
    logger.warning(notice([released.repo_id]))
    try:
        folder = snapshot_download(released.repo_id, allow_patterns=list(released.patterns))
    except (LocalEntryNotFoundError, HfHubHTTPError) as error:
        from huggingface_hub.constants import HF_HUB_CACHE

        raise FileNotFoundError(_missing(released, [Path(HF_HUB_CACHE)], None)) from error
    return Path(folder)


def _missing(released: ReleasedRepo, searched: list[Path], weights_dir: Path | None) -> str:
    target = weights_dir if weights_dir is not None else Path("weights")
    includes = " ".join(f"--include '{pattern}'" for pattern in released.patterns)
    looked = ", ".join(f"{place}/{released.probe}" for place in searched)
    return (
        f"The weights of {released.repo_id} ({released.holds}, {released.gigabytes:.1f} GB; "
        f"{released.licence}) were not found. Looked for {looked}. Get them with: "
        f"hf download {released.repo_id} {includes} --local-dir {target / released.folder}"
        + ("" if weights_dir is not None else f" and pass {target} as the weights folder.")
    )
