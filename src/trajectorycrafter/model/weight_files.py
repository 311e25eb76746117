"""Safetensors folders: found, and checked before anything is loaded.

The one thing a reader would get wrong: checking reads only the headers of the files, so a wrong
folder is refused within a second whatever its size.
"""

import json
import os
from pathlib import Path

from safetensors import safe_open

WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def model_folder(path_or_repo: str | os.PathLike[str], subfolder: str | None = None) -> Path:
    """The local folder of a model; a hub id is downloaded, safetensors and JSON only.

    Raises:
        FileNotFoundError: If it is neither a folder nor on the hub.
        ValueError: If it is a single file.
    """
    path = Path(path_or_repo)
    if path.is_file():
        _refuse_pickle(path)
        raise ValueError(
            f"Expected a folder with config.json and safetensors, got the file {path}."
        )
    if not path.is_dir():
        path = _download(str(path_or_repo), subfolder)
    folder = path / subfolder if subfolder else path
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"Expected a model folder, but {folder}/config.json is missing.")
    return folder


def check_weights(folder: Path, expected: dict[str, tuple[int, ...]]) -> None:
    """Compare the tensors in a folder, by their file headers, with the expected shapes.

    Raises:
        FileNotFoundError: If the folder holds no weights, or a shard of its index is missing.
        ValueError: If it holds pickles only, or names of every missing, unexpected and misshapen
            tensor if there are any.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # not a dict, cannot be iterated
                found[name] = tuple(file.get_slice(name).get_shape())
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    misshapen = [
        f"{name} (expected {list(shape)}, got {list(found[name])})"
        for name, shape in sorted(expected.items())
        if name in found and found[name] != shape
    ]
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    complaints = [
        f"{len(names)} {what}: {', '.join(names)}" for what, names in parts.items() if names
    ]
    if complaints:
        raise ValueError(
            f"The weights in {folder} do not fit the configuration beside them. "
            f"{'. '.join(complaints)}. Use weights and config.json of one and the same model."
        )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: one, or the shards that its index names.

    Raises:
        FileNotFoundError: If there are none, or a shard is missing.
        ValueError: If there are only pickles.
    """
    index = folder / f"{WEIGHTS_NAME}.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    elif (folder / WEIGHTS_NAME).is_file():
        names = [WEIGHTS_NAME]
    else:
        for path in sorted(folder.iterdir()):
            _refuse_pickle(path)
        raise FileNotFoundError(f"Expected {WEIGHTS_NAME} or its index in {folder}, found neither.")
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise FileNotFoundError(
            f"The index in {folder} names files that are missing: {', '.join(absent)}. "
            "Repeat the download; it goes on where it stopped."
        )
    return [folder / name for name in names]


def _refuse_pickle(path: Path) -> None:
    if path.suffix in PICKLES:
        raise ValueError(
            f"Expected safetensors, got the pickle {path}, which could run any code when read. "
            "Convert it where you trust it: "
            "safetensors.torch.save_file(torch.load(path, weights_only=True), 'x.safetensors')."
        )


def _download(repo_id: str, subfolder: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    prefix = f"{subfolder}/" if subfolder else ""
    patterns = [f"{prefix}*.json", f"{prefix}*.safetensors"]
    try:
        return Path(snapshot_download(repo_id, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise FileNotFoundError(
            f"{repo_id} is neither a folder here nor to be had from the hub ({error})."
        ) from error
