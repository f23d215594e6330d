"""Weighted sum of several losses."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from seglab.given import is_factor
from seglab.stage import Progress

TermWeight = float | Callable[[Progress], float]
"""Weight of a loss, 0 or more: a number, or a function from the progress to a number. The function is pure: a resume
restores nothing.
"""


class WeightedSum(nn.Module):
    """Σ_k weight_k · loss_k(logits, mask) over named losses.

    After a forward pass, `terms` holds the value of each loss by its name: 0-dim, detached, and not multiplied by its
    weight. The values stay on the device, so that only printing them synchronises. `SegmentationModule` logs them as
    `train/loss/<name>`.

    Args:
        losses: at least one loss, by a name without a dot.
        weights: one weight for each of these names: a number ≥ 0, or a function of the progress of the training, such
            as `seglab.LinearWarmup(0.1)` or `seglab.Cosine(1.0, 0.1)`. Before any training, the function is evaluated
            at the first step; after a training, at the last step.

    Raises:
        ValueError: if there is no loss, the names differ, a name cannot name a module, or a weight is negative or not
            finite.

    >>> from seglab.losses import CrossEntropy, Dice
    >>> loss = WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": 0.5})
    >>> loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
    tensor(0.9431)
    >>> loss.terms
    {'ce': tensor(0.6931), 'dice': tensor(0.5000)}
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, TermWeight]) -> None:
        super().__init__()
        if not losses:
            raise ValueError("losses is empty: name at least one")
        if set(losses) != set(weights):
            raise ValueError(f"losses and weights must have the same names, got {sorted(losses)} and {sorted(weights)}")
        self.losses = _named(losses)
        self.weights: dict[str, TermWeight] = {name: _number_or_function(weights[name]) for name in losses}
        self.terms: dict[str, Tensor] = {}
        self.follow(Progress(0, 1, 1))

    def follow(self, progress: Progress) -> None:
        """Set the weights to their values at the step that comes next.

        Raises:
            ValueError: if a weight is negative or not finite.
        """
        now = {name: weight(progress) if callable(weight) else weight for name, weight in self.weights.items()}
        wrong = {name: weight for name, weight in now.items() if not is_factor(weight)}
        if wrong:
            raise ValueError(f"weights must be finite numbers ≥ 0, got {wrong} at step {progress.step}")
        self.now = now

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return the weighted sum of the losses of logits (N,C,H,W) and mask (N,H,W) int64: 0-dim, at least float32.

        Raises:
            ValueError: if a loss does not return a 0-dim floating tensor.
        """
        values: dict[str, Tensor] = {name: loss(logits, mask) for name, loss in self.losses.items()}
        for name, value in values.items():
            check_value(f"the loss {name!r}", value)
        self.terms = {name: value.detach() for name, value in values.items()}
        return torch.stack([self.now[name] * _wide(value) for name, value in values.items()]).sum()

    def extra_repr(self) -> str:
        return f"weights={self.weights}"


def check_value(name: str, value: object) -> None:
    """Check that a loss has returned a 0-dim floating tensor.

    Raises:
        ValueError: it has not.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} returns {value!r:.40}; expected a 0-dim floating tensor, without .item()")
    if value.ndim != 0 or not value.is_floating_point():
        raise ValueError(
            f"{name} returns {tuple(value.shape)} {value.dtype}; expected a 0-dim floating tensor. Take the mean over the valid pixels"
        )


def _wide(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.float()


def _number_or_function(weight: TermWeight) -> TermWeight:
    return weight if callable(weight) else float(weight)


def _named(losses: Mapping[str, nn.Module]) -> nn.ModuleDict:
    try:
        return nn.ModuleDict(dict(losses))
    except KeyError as error:
        raise ValueError(f"a loss needs another name: {error.args[0]}") from None
