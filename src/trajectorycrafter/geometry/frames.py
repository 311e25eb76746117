"""Dataclasses of tensors handled as one value: indexed along time, joined, moved."""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Own = TypeVar("Own")


def mapped(value: Own, change: Callable[[Tensor], Tensor]) -> Own:
    """The dataclass with every tensor in it, and in dataclasses inside it, changed."""
    whole: Any = value
    items = {f.name: getattr(value, f.name) for f in fields(whole)}
    return replace(
        whole,
        **{
            name: change(item) if isinstance(item, Tensor) else mapped(item, change)
            for name, item in items.items()
            if isinstance(item, Tensor) or is_dataclass(item)
        },
    )


def moved(value: Own, device: torch.device | str) -> Own:
    """The dataclass with its tensors on the device."""
    return mapped(value, lambda tensor: tensor.to(device))


def joined(parts: Sequence[Own]) -> Own:
    """One after another in time; fields that are not tensors are the first one's."""
    first: Any = parts[0]
    items = {f.name: [getattr(part, f.name) for part in parts] for f in fields(first)}
    tensors = {name: torch.cat(of) for name, of in items.items() if isinstance(of[0], Tensor)}
    return replace(first, **tensors)


class Timed:
    """A dataclass as long as its first field."""

    def __len__(self) -> int:
        first: Any = self
        return len(getattr(self, fields(first)[0].name))


class Frames(Timed):
    """A frozen dataclass whose tensors all have time as their first axis; other fields stay."""

    def __getitem__(self: Own, index: slice | Tensor | list[int]) -> Own:
        return mapped(self, lambda tensor: tensor[index])

    to = moved
