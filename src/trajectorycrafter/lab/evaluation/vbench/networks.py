"""VBench dimensions whose networks transformers can load: DINO, CLIP and the aesthetic head.

The one thing a reader would get wrong: frames are resized without antialiasing, and DINO sees the
whole frame while CLIP sees its middle square. Formulas and preprocessing are those of vbench 0.1.5
(https://github.com/Vchitect/VBench); networks run in float32, where VBench runs CLIP in float16 on
CUDA.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SIZE = 224
"""Pixels of the shorter side that the networks see."""
BATCH = 16
"""Frames that go through a network at once."""
REPOSITORIES = {
    "subject_consistency": "facebook/dino-vitb16",
    "background_consistency": "openai/clip-vit-base-patch32",
    "aesthetic_quality": "openai/clip-vit-large-patch14",
}
"""The network of each dimension, in the layout of transformers."""
HEAD = "sa_0_4_vit_l_14_linear.pth"
"""LAION's aesthetic predictor: `weight` 1 768 and `bias` 1, applied to CLIP ViT-L/14."""

_DINO_MEAN, _DINO_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")

Scorer = Callable[[Float[Tensor, "T 3 H W"]], float]
"""Frames in, the video's score out."""


def missing(dimension: str, weights: Path | None) -> str | None:
    """What keeps `load_scorer` from loading a dimension, in words; None if nothing does.

    Nothing is downloaded. Without a folder, the Hugging Face cache is looked through.
    """
    repository = REPOSITORIES[dimension]
    if _place(repository, weights) is None:
        return f"{repository} is not in {weights or 'the Hugging Face cache'}"
    lacks_head = weights is None or not (weights / HEAD).is_file()
    if dimension == "aesthetic_quality" and lacks_head:
        return f"{HEAD} is not in {weights or 'a --weights folder'}"
    return None


def load_scorer(dimension: str, weights: Path | None, device: torch.device | str = "cpu") -> Scorer:
    """The score of a dimension as a function of frames.

    Args:
        weights: a folder with a folder a network, called `name` or `organization/name`, and the
            aesthetic head beside them; None takes the networks from the Hugging Face cache.

    Raises:
        FileNotFoundError: a network or the head is not there.
        ValueError: the head belongs to another network.
    """
    lacks = missing(dimension, weights)
    folder = _place(REPOSITORIES[dimension], weights)
    if lacks or folder is None:
        raise FileNotFoundError(
            f"{dimension}: {lacks}; see docs/reference/vbench.md for where to get it."
        )
    if dimension == "subject_consistency":
        dino = load_dino(folder, device)
        return lambda frames: consistency(dino_features(dino, frames))
    clip = load_clip(folder, device)
    if dimension == "background_consistency":
        return lambda frames: consistency(clip_features(clip, frames))
    channels = clip.visual_projection.out_features
    head = load_head((weights or Path()) / HEAD, channels).to(device)
    return lambda frames: aesthetic_quality(clip_features(clip, frames), head)


# -------------------------------------------------------------------------------------- formulas


def consistency(features: Float[Tensor, "T D"]) -> float:
    """Mean over frames 1.. of the cosine similarities to the frame before and to frame 0.

    Each similarity counts 0 where it is negative, and the two are averaged (VBench,
    `subject_consistency.py` and `background_consistency.py`).

    Raises:
        ValueError: fewer than two frames.
    """
    if len(features) < 2:
        raise ValueError(f"Consistency needs at least 2 frames, got {len(features)}.")
    features = F.normalize(features.float(), dim=-1)
    before = F.cosine_similarity(features[:-1], features[1:]).clamp(min=0)
    first = F.cosine_similarity(features[:1], features[1:]).clamp(min=0)
    return ((before.double() + first.double()) / 2).mean().item()


@torch.no_grad()
def aesthetic_quality(features: Float[Tensor, "T D"], head: nn.Linear) -> float:
    """Mean over frames of LAION's aesthetic score, a tenth of it: about 0 to 1.

    The head reads CLIP features of unit length (VBench, `aesthetic_quality.py`).
    """
    return (head(F.normalize(features.float(), dim=-1)) / 10).mean().item()


# ---------------------------------------------------------------------------------- preprocessing


def resized(frames: Float[Tensor, "T 3 H W"], mode: str) -> Float[Tensor, "T 3 h w"]:
    """Frames with a shorter side of `SIZE`, without antialiasing; the longer side is cut down.

    Args:
        mode: "bilinear" or "bicubic"; the latter overshoots [0, 1], as it does in VBench.
    """
    height, width = frames.shape[-2:]
    longer = int(SIZE * max(height, width) / min(height, width))
    size = (SIZE, longer) if height <= width else (longer, SIZE)
    return F.interpolate(frames, size, mode=mode, align_corners=False)


def dino_input(frames: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T 3 h w"]:
    """What DINO sees: the whole frame at `SIZE`, ImageNet mean and deviation."""
    return _normalized(resized(frames, "bilinear"), _DINO_MEAN, _DINO_STD)


def clip_input(frames: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T 3 h w"]:
    """What CLIP sees: the middle square at `SIZE`, CLIP's mean and deviation."""
    frames = resized(frames, "bicubic")
    top, left = (round((side - SIZE) / 2) for side in frames.shape[-2:])
    square = frames[..., top : top + SIZE, left : left + SIZE]
    return _normalized(square, _CLIP_MEAN, _CLIP_STD)


def _normalized(
    frames: Float[Tensor, "T 3 h w"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Tensor, "T 3 h w"]:
    center, spread = (frames.new_tensor(value)[:, None, None] for value in (mean, std))
    return (frames - center) / spread


# --------------------------------------------------------------------------------------- networks


@torch.no_grad()
def dino_features(model: Any, frames: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T D"]:
    """The class token after the last normalization, for every frame."""
    seen = (dino_input(chunk.to(model.device)) for chunk in frames.split(BATCH))
    found = (model(x, interpolate_pos_encoding=True).last_hidden_state for x in seen)
    return torch.cat([tokens[:, 0] for tokens in found])


@torch.no_grad()
def clip_features(model: Any, frames: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T D"]:
    """CLIP's projected image embedding of every frame, not normalized."""
    seen = (clip_input(chunk.to(model.device)) for chunk in frames.split(BATCH))
    found = (model.vision_model(x).pooler_output for x in seen)
    return torch.cat([model.visual_projection(pooled) for pooled in found])


def load_dino(folder: Path, device: torch.device | str = "cpu") -> Any:
    """DINO ViT-B/16 from a folder in the layout of transformers' `ViTModel`.

    Its layers normalize with eps 1e-6 and its positions stretch as DINO's own code does;
    transformers changed both.

    Raises:
        ValueError: the folder lacks some of the weights.
    """
    from transformers import ViTModel

    model = _pretrained(ViTModel, folder, add_pooling_layer=False, layer_norm_eps=1e-6)
    own = model.embeddings
    own.interpolate_pos_encoding = lambda tokens, height, width: dino_positions(
        own.position_embeddings, height, width, own.patch_size
    )
    return model.to(device).eval()


def dino_positions(
    positions: Float[Tensor, "1 L D"], height: int, width: int, patch: int
) -> Float[Tensor, "1 M D"]:
    """Position embeddings, class token first, for a frame of another size than trained for.

    The tenth of a patch is DINO's: it scales by (patches + 0.1) / grid, so that a rounding error
    cannot lose a row. It also moves every sample a little, which transformers' version does not.
    """
    tall, wide = height // patch, width // patch
    grid = math.isqrt(positions.shape[1] - 1)
    if tall * wide == grid * grid and height == width:
        return positions
    square = positions[:, 1:].unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
    scale = ((tall + 0.1) / grid, (wide + 0.1) / grid)
    stretched = F.interpolate(square, scale_factor=scale, mode="bicubic")
    return torch.cat([positions[:, :1], stretched.flatten(2).transpose(1, 2)], dim=1)


def load_clip(folder: Path, device: torch.device | str = "cpu") -> Any:
    """A CLIP from a folder in the layout of transformers' `CLIPModel`.

    Raises:
        ValueError: the folder lacks some of the weights.
    """
    from transformers import CLIPModel

    return _pretrained(CLIPModel, folder).to(device).eval()


def _pretrained(kind: Any, folder: Path, **options: Any) -> Any:
    model, found = kind.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, **options
    )
    if found["missing_keys"]:  # transformers would make them up
        lacks = sorted(found["missing_keys"])
        raise ValueError(f"{folder} lacks {len(lacks)} weights of {kind.__name__}: {lacks[0]}, ...")
    return model


def load_head(path: Path, channels: int) -> nn.Linear:
    """The linear map from CLIP features to an aesthetic score of about 0 to 10.

    Raises:
        ValueError: not such a file, or one for features of another length.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    shapes = {k: tuple(v.shape) for k, v in state.items()} if isinstance(state, dict) else state
    if shapes != {"weight": (1, channels), "bias": (1,)}:
        raise ValueError(f"{path}: expected a weight of 1x{channels} and a bias, got {shapes}.")
    head = nn.Linear(channels, 1)
    head.load_state_dict(state)
    return head.eval()


def _place(repository: str, weights: Path | None) -> Path | None:
    """The folder with a network's configuration and weights, if it is on this machine."""
    if weights is not None:
        places = [weights / repository.split("/")[1], weights / repository]
    else:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(repository, "config.json")
        places = [Path(found).parent] if isinstance(found, str) else []
    for place in places:
        names = [name for name in _WEIGHTS if (place / name).is_file()]
        if names and (place / "config.json").is_file():
            return place
    return None
