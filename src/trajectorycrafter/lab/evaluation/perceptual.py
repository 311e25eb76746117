"""LPIPS on AlexNet and VGG16, without torchvision.

The one thing a reader would get wrong: there is no default network in print. Shape of Motion,
DyCheck and CogNVS state LPIPS on AlexNet; much of the rest of the field on VGG16. Values of the two
do not compare, and neither does `dino.dino_distance`.

The linear heads are in `assets/lpips`; the backbone is loaded as torchvision publishes it (233 MB
and 528 MB, BSD-3), without torchvision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from .metrics import Metric
from .pixels import Frames, Mask

Net = Literal["alex", "vgg"]
Masked = Literal["plain", "dycheck", "som"]

PIXELS = 600_000
"""Pixels of one clip that are looked at together; VGG16 holds some 2 kB for each."""


@dataclass(frozen=True)
class Backbone:
    """One of torchvision's networks, as far as LPIPS looks into it."""

    title: str
    file: str
    """Name of the published weights; the end of the name is the start of their SHA-256."""
    channels: tuple[int, ...]
    """How many each of the five features has."""
    features: Callable[[], nn.Sequential]
    """The layers, numbered as in the published weights."""
    taps: tuple[int, ...]
    """The layers whose output is compared."""


def _alexnet() -> nn.Sequential:
    """The convolutions of AlexNet as torchvision numbers them (Krizhevsky 2014)."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def _vgg16() -> nn.Sequential:
    """The convolutions of VGG16 as torchvision numbers them (Simonyan and Zisserman 2015)."""
    layers: list[nn.Module] = []
    inward = 3
    for depth, outward in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        layers += [nn.MaxPool2d(2, 2)] if layers else []
        for _ in range(depth):
            layers += [nn.Conv2d(inward, outward, 3, padding=1), nn.ReLU()]
            inward = outward
    return nn.Sequential(*layers)


BACKBONES: dict[Net, Backbone] = {
    "alex": Backbone("AlexNet", "alexnet-owt-7be5be79.pth",
                     (64, 192, 384, 256, 256), _alexnet, (1, 4, 7, 9, 11)),
    "vgg": Backbone("VGG16", "vgg16-397923af.pth",
                    (64, 128, 256, 512, 512), _vgg16, (3, 8, 15, 22, 29)),
}  # fmt: skip
URL = "https://download.pytorch.org/models/"
HEADS = Path(__file__).parents[2] / "assets" / "lpips"
"""The linear heads of the package `lpips`, as safetensors."""


class Lpips(nn.Module):
    """The distance of Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features", v0.1.

    Features after five layers, each scaled to unit length over its channels; their squared
    difference, weighted per channel by a learned head.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Net):
        super().__init__()
        backbone = BACKBONES[net]
        self.features = backbone.features()
        self.taps = backbone.taps
        self.heads = nn.ModuleList(
            nn.Conv2d(channels, 1, 1, bias=False) for channels in backbone.channels
        )
        # ImageNet's mean and deviation, for images in [-1, 1].
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        self.register_buffer("shift", shift[:, None, None], persistent=False)
        self.register_buffer("scale", scale[:, None, None], persistent=False)

    def forward(self, made: Frames, true: Frames) -> list[Float[Tensor, "T 1 _h _w"]]:
        """Weighted squared differences of frames in [0, 1] at the five layers, each at its size."""
        pairs = zip(self._unit_features(made), self._unit_features(true), strict=True)
        return [head((x - y).square()) for head, (x, y) in zip(self.heads, pairs, strict=True)]

    def _unit_features(self, frames: Frames) -> list[Float[Tensor, "T C _h _w"]]:
        x = (2 * frames - 1 - self.shift) / self.scale
        found = []
        for start, stop in pairwise((-1, *self.taps)):
            x = self.features[start + 1 : stop + 1](x)
            # As in the original, the small number is added to the length, not to its square.
            found.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return found


@torch.no_grad()
def lpips_distance(
    network: Lpips, made: Frames, true: Frames, mask: Mask | None = None, masked: Masked = "plain"
) -> Float[Tensor, " T"]:
    """LPIPS of each frame: the sum over layers of the mean over positions; nan without a pixel.

    Args:
        mask: the layers' maps are brought to the frames' size (bilinear), summed, and averaged over
            the pixels that count: the `spatial=True` of the `lpips` package.
        masked: `plain` leaves the frames as they are; `dycheck` and `som` first paint black what
            does not count, as DyCheck (`compute_lpips`) and Shape of Motion (`mLPIPS`) do, and
            average the map even if everything counts, which is not quite the plain value.
    """
    if masked != "plain" and mask is None:
        mask = torch.ones_like(made[:, :1], dtype=torch.bool)
    chunk = max(1, PIXELS // (made.shape[2] * made.shape[3]))
    network = network.to(made.device)
    parts = []
    for start in range(0, len(made), chunk):
        part = slice(start, start + chunk)
        x, y = made[part], true[part]
        if mask is None:
            means = [layer.mean(dim=(1, 2, 3)) for layer in network(x, y)]
            parts.append(torch.stack(means).sum(dim=0))
            continue
        counts = mask[part]
        if masked != "plain":
            x, y = x * counts, y * counts
        maps = [F.interpolate(layer, x.shape[2:], mode="bilinear") for layer in network(x, y)]
        whole = torch.stack(maps).sum(dim=0)
        parts.append((whole * counts).sum(dim=(1, 2, 3)) / counts.sum(dim=(1, 2, 3)))
    return torch.cat(parts)


def load_lpips(net: Net, weights: Path | None = None, *, masked: Masked = "plain") -> Metric:
    """LPIPS as a metric: `lpips_alex`, `lpips_vgg`, `lpips_alex_dycheck`, `lpips_alex_som`, ...

    Args:
        weights: the backbone's file (`.pth` as torchvision publishes it, or `.safetensors` with the
            same names), or a folder that holds it; None for the cache of torch hub, and a download
            into it if it is not there.
        masked: see `lpips_distance`.

    Raises:
        FileNotFoundError: a backbone that is nowhere and cannot be downloaded.
        ValueError: weights of something else.
    """
    network = lpips_network(net, None if weights is None else Path(weights))
    title = BACKBONES[net].title
    name, label = f"lpips_{net}", f"LPIPS ({title})"
    about = f"LPIPS v0.1 on {title} (Zhang et al. 2018), mean over frames."
    if masked != "plain":
        protocol = {"dycheck": "DyCheck", "som": "Shape of Motion"}[masked]
        name, label = f"{name}_{masked}", f"LPIPS ({title}), {protocol}"
        about = (
            f"LPIPS v0.1 on {title}, frames masked black, mean map over the mask, as {protocol}."
        )
    compute = partial(lpips_distance, network, masked=masked)
    return Metric(name, label, "lower", about, 3, compute=compute)


@lru_cache(maxsize=2)
def lpips_network(net: Net, weights: Path | None) -> Lpips:
    network = Lpips(net)
    network.heads.load_state_dict(load_file(HEADS / f"{net}.safetensors"))
    state, place = _backbone_state(net, weights)
    wanted = network.features.state_dict()  # the rest of the file is not needed
    for name, tensor in wanted.items():
        found = state.get(f"features.{name}")
        if found is None or found.shape != tensor.shape:
            got = "nothing of that name" if found is None else str(tuple(found.shape))
            raise ValueError(
                f"{place} does not hold these weights: expected 'features.{name}' of shape "
                f"{tuple(tensor.shape)}, got {got}."
            )
    network.features.load_state_dict({name: state[f"features.{name}"] for name in wanted})
    return network.eval().requires_grad_(False)


def _backbone_state(net: Net, weights: Path | None) -> tuple[dict[str, Tensor], Path | str]:
    """The backbone's tensors, and where they are from."""
    name = BACKBONES[net].file
    if weights is not None:
        inside = [weights / name, weights / Path(name).with_suffix(".safetensors")]
        file = next((file for file in (weights, *inside) if file.is_file()), None)
        if file is None:
            raise FileNotFoundError(
                f"LPIPS needs {name} (or {inside[1].name}), and neither is in {weights}. Get it "
                f"from {URL + name}, or name no weights to have it downloaded."
            )
        if file.suffix == ".safetensors":
            return load_file(file), file
        return torch.load(file, map_location="cpu", weights_only=True), file
    try:
        # Reads the cache if the file is there.
        state = torch.hub.load_state_dict_from_url(
            URL + name, map_location="cpu", check_hash=True, weights_only=True
        )
    except (URLError, OSError) as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise FileNotFoundError(
            f"LPIPS needs {name}: it is not in {cache}, and {URL + name} could not be downloaded "
            f"({error}). Put the file there, or name it or its folder as the weights."
        ) from error
    return state, URL + name
