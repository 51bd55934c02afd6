"""What moves the weights: Adam, or Muon with Adam beside it, and a step size that is a function of the step alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from fauxto.config import TrainConfig

ADAM_SHARE = 0.1  # of Muon's step size, for the weights that Adam moves
_MOMENTUM = 0.9
_ITERATIONS = 4
# Of the quintic that pulls all singular values towards 1 within a few iterations (Jordan et al. 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.AdamW):
    """Momentum, orthogonalised, for groups with ``is_matrix``; AdamW for all others.

    A step of Muon turns a layer's weights equally in all directions instead of mostly in the few that dominate its gradient
    (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/). torch.optim.Muon takes no convolutions; here a kernel counts
    as a matrix of output channels x everything else.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Skip Adam's own, which brings states of old versions up to date and expects Adam's values for every weight."""
        torch.optim.Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move all weights; the gradients of the matrices are gone afterwards, so that AdamW leaves them alone."""
        for group in self.param_groups:
            if group.get("is_matrix"):
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._turn(weight, lr=group["lr"], weight_decay=group["weight_decay"])
                        weight.grad = None
        return super().step(closure)  # type: ignore[no-any-return]

    def _turn(self, weight: torch.Tensor, *, lr: float, weight_decay: float) -> None:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        gradient = weight.grad
        assert gradient is not None
        state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        direction = gradient.lerp(state["momentum"], _MOMENTUM)  # Nesterov's look ahead
        weight.mul_(1 - lr * weight_decay)
        weight.add_(orthogonalised(direction.flatten(1)).view(weight.shape), alpha=-lr)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix with the same singular vectors and singular values near 1, by Newton-Schulz iteration in bfloat16.

    Args:
        matrix: Float, shape (m, n); its scale does not matter.

    Returns:
        float32, shape (m, n); singular values between about 0.3 and 1.3.

    Example:
        >>> turned = orthogonalised(torch.diag(torch.tensor([5.0, 4.0])))
        >>> bool((torch.linalg.svdvals(turned) - 1).abs().max() < 0.5)
        True
    """
    is_tall = matrix.size(0) > matrix.size(1)
    x = (matrix.T if is_tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    turned: torch.Tensor = x.T if is_tall else x
    return turned.float()


def build_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the configured optimizer of all weights but frozen ones; each group notes its largest step size as ``max_lr``."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if config.optimizer == "adam":
        # The fused step does Adam's arithmetic in one pass over memory; benchmarks/training_step.py measures it.
        everything = _group(weights, config.learning_rate, config.weight_decay)
        return torch.optim.AdamW([everything], fused=True)
    matrices = [weight for weight in weights if _is_inner(weight)]
    others = [weight for weight in weights if not _is_inner(weight)]
    groups = [
        _group(matrices, config.learning_rate, config.weight_decay) | {"is_matrix": True},
        _group(others, config.learning_rate * ADAM_SHARE, 0.0),
    ]
    return Muon([group for group in groups if group["params"]], fused=True)


def _is_inner(weight: torch.Tensor) -> bool:
    """Tell whether a weight maps features to features: not the first layer, which sees colours, nor the one logit's."""
    return weight.ndim > 1 and weight.size(0) > 1 and weight.size(1) > 3


def averaged_copy(network: nn.Module, *, decay: float) -> AveragedModel:
    """Return a copy whose weights and buffers become a moving average of the network's (Polyak & Juditsky 1992).

    The average reaches back over a tenth of the steps done at first, so that it does not hang on to the first weights, and over
    ``1 / (1 - decay)`` steps at most.
    """

    def average(kept: Any, current: Any, n_done: Any) -> None:
        newest = max(1 - decay, 9 / (10 + float(n_done)))
        for old, new in zip(kept, current, strict=True):
            old.lerp_(new, newest) if old.is_floating_point() else old.copy_(new)

    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)


def learning_rate_share(step: int, n_steps: int, config: TrainConfig) -> float:
    """Return which share of the largest step size belongs to a step.

    Args:
        step: Counted from 0 over the whole run.
        n_steps: Of the whole run, if no patience ends it.
        config: Schedule and warm-up.

    Example:
        >>> config = TrainConfig(schedule="one-cycle", warmup_share=0.5)
        >>> [round(learning_rate_share(step, 4, config), 2) for step in range(4)]
        [0.25, 0.75, 0.85, 0.15]
    """
    if config.schedule == "constant":
        return 1.0
    done = (step + 0.5) / n_steps
    if done < config.warmup_share:
        return done / config.warmup_share
    return 0.5 + 0.5 * math.cos(math.pi * (done - config.warmup_share) / (1 - config.warmup_share))


def set_learning_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give every group its share of its own largest step size."""
    for group in optimizer.param_groups:
        group["lr"] = share * group["max_lr"]


def _group(params: list[nn.Parameter], lr: float, weight_decay: float) -> dict[str, Any]:
    return {"params": params, "lr": lr, "max_lr": lr, "weight_decay": weight_decay}
