"""Losses with one fault each, and right ones; in a file of their own, as processes that check them import it."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seglab.losses.ranks import ratio_over_ranks, sum_over_ranks


def squared_errors(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared error of each pixel, 0 where it has no label, and a mask of the pixels that have one."""
    valid = mask != 255
    truth = F.one_hot(mask.where(valid, 0), logits.shape[1]).movedim(-1, 1)
    return (logits.softmax(1) - truth).square().sum(1) * valid, valid


class Right(nn.Module):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        errors, valid = squared_errors(logits.float(), mask)
        return ratio_over_ranks(errors.sum(), valid.sum())


class InFloat64(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        errors, valid = squared_errors(logits if logits.dtype == torch.float64 else logits.float(), mask)
        return ratio_over_ranks(errors.sum(), valid.sum())


class Learned(Right):
    """With a weight and a statistic of its own, and random numbers from torch: all of it is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.rand(()) + 0.5)
        self.hook = lambda value: value  # no other process could be sent this
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return super().forward(logits * self.temperature, mask)


class Random(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(logits, mask) * (1 + torch.rand(()))


class Hinge(Right):
    """Kinks wherever a logit meets its target."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        valid = mask != 255
        truth = F.one_hot(mask.where(valid, 0), logits.shape[1]).movedim(-1, 1)
        return ratio_over_ranks(((logits.float() - truth).abs().sum(1) * valid).sum(), valid.sum())


class Lovasz(Right):
    """Lovász-softmax over present classes; sorts, and so has kinks."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        valid = mask != 255
        p, y = logits.float().softmax(1).movedim(1, -1)[valid], mask[valid]
        terms = [self.jaccard(p[:, c], y == c) for c in y.unique()]
        return torch.stack(terms).mean() if terms else logits.sum() * 0

    def jaccard(self, p: Tensor, truth: Tensor) -> Tensor:
        errors, places = (p - truth.float()).abs().sort(descending=True)
        truth = truth[places].float()
        index = 1 - (truth.sum() - truth.cumsum(0)) / (truth.sum() + (1 - truth).cumsum(0))
        return (errors * torch.cat([index[:1], index.diff()])).sum()


class HardPixels(Right):
    """Cross-entropy of pixels above a threshold; the mean jumps when one crosses it."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        pixels = F.cross_entropy(logits.float(), mask, ignore_index=255, reduction="none")
        hard = pixels > 0.7
        return ratio_over_ranks((pixels * hard).sum(), hard.sum())


class Vector(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return squared_errors(logits, mask)[0].mean((1, 2))


class Integer(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(logits, mask).round().long()


class Plain(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Any:
        return super().forward(logits, mask).item()


class Detached(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(logits.detach(), mask)


class Flat(Right):
    """A gradient, but 0: the error rate of the decisions."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(logits, mask) * 0 + (logits.argmax(1) != mask).float().mean()


class Raises(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError("not yet\nnor tomorrow")


class Squeezes(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(logits.squeeze(0), mask)


class Square(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        if mask.shape[1] > mask.shape[2]:
            raise ValueError("images must not be upright")
        return super().forward(logits, mask)


class LogOfZero(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        valid = mask != 255
        p = logits.float().softmax(1).gather(1, mask.where(valid, 0).unsqueeze(1)).squeeze(1)
        return ratio_over_ranks(-(p.log().where(valid, 0.0)).sum(), valid.sum())


class RootOfZero(Right):
    """Finite, with a gradient that is not: the root of what becomes 0 when all is right."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        errors, valid = squared_errors(logits.float(), mask)
        return ratio_over_ranks(errors.where(valid, 1.0).sqrt().where(valid, 0.0).sum(), valid.sum())


class _Halved(torch.autograd.Function):
    """The identity, with a backward of its own that forgets a factor."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 0.98 * gradient


class WrongBackward(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(_Halved.apply(logits), mask)


class WrongBackwardInFloat64(InFloat64):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(_Halved.apply(logits), mask)


class NaNWithoutLabels(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        errors, valid = squared_errors(logits.float(), mask)
        return super().forward(logits, mask) + 0 * errors.sum() / valid.sum()


class NaNForAnImageWithoutLabels(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        if not (mask != 255).any():
            return logits.sum() * 0
        errors, valid = squared_errors(logits.float(), mask)
        return ratio_over_ranks((errors.sum((1, 2)) / valid.sum((1, 2))).sum(), torch.tensor(len(mask)))


class ConstantWithoutLabels(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(logits, mask) if (mask != 255).any() else torch.tensor(0.0)


class NaNForAbsentClasses(Right):
    """The mean over classes of a mean over their pixels."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        if not (mask != 255).any():
            return logits.sum() * 0
        errors, _ = squared_errors(logits.float(), mask)
        classes = [mask == c for c in range(logits.shape[1])]
        pairs = sum_over_ranks(torch.stack([torch.stack([(errors * of_class).sum(), of_class.sum().float()]) for of_class in classes]))
        return (pairs[:, 0] / pairs[:, 1]).mean()


class RaisesForAbsentClasses(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        labels = mask.unique()
        if (labels == 255).all():
            return logits.sum() * 0
        if len(labels[labels != 255]) < logits.shape[1]:
            raise IndexError("no such class")
        return super().forward(logits, mask)


class LearnsFromIgnored(Right):
    """Confidence costs, wherever it is."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        valid = mask != 255
        everywhere = 0.1 * logits.float().square().sum(1) * valid.any()
        return super().forward(logits, mask) + ratio_over_ranks((everywhere * valid).sum(), valid.sum()) + 0.1 * self.spread(logits, valid)

    def spread(self, logits: Tensor, valid: Tensor) -> Tensor:
        return ratio_over_ranks((logits.float().square().mean(1) * ~valid).sum(), (~valid).sum()) * valid.any()


class MeanOverAll(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        errors, _ = squared_errors(logits.float(), mask)
        return ratio_over_ranks(errors.sum(), torch.tensor(errors.numel()))


class SumInHalf(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        errors, valid = squared_errors(logits, mask)
        return ratio_over_ranks(errors.sum(), valid.sum())


class MeanOnEachProcess(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        errors, valid = squared_errors(logits.float(), mask)
        return errors.sum() / valid.sum().clamp(min=1)


class Counts(Right):
    """Every call is worth less than the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(logits, mask) * (1 + 1e-6 / self.calls)


class NumpyRandom(Right):
    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng(0)

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(logits, mask) * (1 + 5e-6 * self.generator.random())


class WritesToMask(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        value = super().forward(logits, mask)
        mask.clamp_(max=1)
        return value


class WritesToLogits(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(logits.mul_(0.5), mask)


class UpdatesInEvaluation(Right):
    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        value = super().forward(logits, mask)
        self.mean = 0.9 * self.mean + 0.1 * value.detach()
        return value


class FirstImageCountsTwice(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        errors, valid = squared_errors(logits.float(), mask)
        weight = torch.ones(len(mask), 1, 1).index_fill(0, torch.tensor(0), 2.0)
        return ratio_over_ranks((errors * weight).sum(), (valid * weight).sum())


class Views(Right):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return super().forward(logits.view(len(logits), -1).view(logits.shape), mask)


class OnRankOneOnly(Right):
    """Fails only where there are two processes, on the second of them, while the first waits."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        import torch.distributed as dist

        if dist.is_initialized() and dist.get_rank() == 1:
            raise ValueError("not on this one\nwhatever you do")
        return super().forward(logits, mask)
