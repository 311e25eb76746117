"""Generators for every draw of training, from words instead of from a running state.

No generator lives longer than its one use: what a step draws depends on the run's seed, the step,
the batch and the rank alone, so a run that was killed goes on exactly.
"""

import hashlib

import torch


def seeded(*words: int | str) -> torch.Generator:
    """A generator on the CPU whose seed is a hash of the words: one seed, one result anywhere."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def integer(below: int, generator: torch.Generator) -> int:
    """A uniform draw of 0 .. below - 1."""
    return int(torch.randint(below, (), generator=generator))


def happens(probability: float, generator: torch.Generator) -> bool:
    """A draw that is made whatever the probability, so that later draws stay what they are."""
    return float(torch.rand((), generator=generator, dtype=torch.float64)) < probability
