"""Optimizers, their rates over the steps, and the limit on gradients.

Rates are a function of the step, not a scheduler with a state that would have to be saved.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ...config.training import OptimizerSettings


def make_optimizers(
    parameters: Mapping[str, nn.Parameter], settings: OptimizerSettings
) -> list[Optimizer]:
    """AdamW for all, or Muon for the blocks' matrices and AdamW for the rest."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, p in parameters.items():
        inside = name.startswith(("transformer_blocks", "perceiver_cross_attention"))
        is_matrix = inside and p.ndim == 2 and ".norm" not in name
        (matrices if settings.name == "muon" and is_matrix else rest).append(p)
    s = settings
    made: list[Optimizer] = []
    if matrices:
        made.append(Muon(matrices, s.muon_lr, s.weight_decay))
    if rest:
        made.append(AdamW(rest, lr=s.lr, betas=s.betas, weight_decay=s.weight_decay, eps=s.eps))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return made


def rate(step: int, settings: OptimizerSettings) -> float:
    """Share of the full learning rate at a step, counted from 0."""
    up = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    left = settings.steps - step
    down = min(1.0, left / (settings.cooldown + 1)) if settings.cooldown else 1.0
    return min(up, down)


def set_rate(optimizer: Any, share: float) -> None:
    """Set every group's rate to a share of its full one."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share


def norm_limit(norm: float, step: int, settings: OptimizerSettings) -> float:
    """What the gradients' norm is clipped to.

    As CogVideoX-Fun does outside FSDP: the limit falls linearly from `clip_start` times `clip` over
    the first `clip_steps` steps, after which a gradient of more than 5 times the limit is cut
    further, by the same factor but at most 10.
    """
    done = min(1.0, step / settings.clip_steps) if settings.clip_steps else 1.0
    limit = settings.clip * (settings.clip_start + (1 - settings.clip_start) * done)
    excess = norm / limit
    return limit / min(excess, 10.0) if excess > 5 and step > settings.clip_steps else limit


def orthogonalized(matrix: Float[Tensor, "n m"], iterations: int = 5) -> Float[Tensor, "n m"]:
    """Roughly the nearest matrix whose singular values are all 1.

    Newton-Schulz iteration of degree 5 with the coefficients of Jordan et al. 2024
    (https://kellerjordan.github.io/posts/muon), which leave singular values around 0.7 to 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


# torch.optim.Muon always orthogonalizes in bfloat16, which costs small models precision and is
# hundreds of times slower on CPUs without bfloat16 units. This one is as precise as the run is.
class Muon(Optimizer):
    """Nesterov momentum whose step is orthogonalized (Jordan et al. 2024); weight decay as AdamW's.

    For matrices only.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                direction = orthogonalized(p.grad.lerp(momentum, group["momentum"]))
                # Tall matrices move more, so that outputs of all shapes change alike.
                scale = max(1.0, p.shape[0] / p.shape[1]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(direction, alpha=-group["lr"] * scale)
        return loss
