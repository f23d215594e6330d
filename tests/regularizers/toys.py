"""Shared parts of the tests of regularizers: drawn weights, and the moments of an optimizer step in their order."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from seglab.regularizers import Applied, OptimizerStepSizes, Regularizer, Weight
from seglab.stage import Progress

SHAPES = [(5,), (1,), (3, 4), (5, 2), (3, 2, 3, 3), (6, 1, 1, 1)]

Optimizers = Callable[[Any], torch.optim.Optimizer]


@st.composite
def drawn_weights(draw: st.DrawFn, smallest: int = -30, largest: int = 20) -> list[Tensor]:
    """One to three float64 tensors with entries of many magnitudes, zeros, filters of zeros, and tensors of zeros."""
    found = []
    for shape in draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3)):
        generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
        weight = torch.randn(shape, generator=generator, dtype=torch.float64) * 10.0 ** draw(st.integers(smallest, largest))
        weight[torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.3]))] = 0
        weight[torch.rand(shape[0], generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = 0
        found.append(weight)
    return found


def some_weights(dtype: torch.dtype = torch.float32) -> dict[str, Weight]:
    """Return a convolution, one in channels-last memory, a transposed one, and a linear layer.

    Both encoder stages are pretrained; the decoder and the head are not.
    """
    generator = torch.Generator().manual_seed(0)

    def new(*shape: int) -> nn.Parameter:
        return nn.Parameter(0.3 * torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))

    last = nn.Parameter(new(5, 4, 3, 3).detach().to(memory_format=torch.channels_last))
    return {
        "conv": Weight(new(6, 3, 3, 3), "encoder.0", True),
        "last": Weight(last, "encoder.1", True),
        "up": Weight(new(4, 7, 2, 2), "decoder", False, transposed=True),
        "linear": Weight(new(3, 7), "head", False),
    }


def begin(regularizer: Regularizer, weights: Mapping[str, Weight], steps: int) -> Applied:
    applied = regularizer.bind(weights)
    applied.start(steps)
    return applied


def optimizer_step(applied: Applied, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Everything that happens between `backward` and the next batch; the gradients are there."""
    applied.observe(progress)
    applied.before_update(progress)
    applied.decouple(OptimizerStepSizes(optimizer))
    optimizer.step()
    applied.after_update(OptimizerStepSizes(optimizer))


def moved(regularizer: Regularizer, weights: Mapping[str, Weight], optimizers: Optimizers, steps: int = 5) -> dict[str, Tensor]:
    """The weights after some steps on drawn gradients, of elements whose sizes differ a lot."""
    optimizer = optimizers([weight.tensor for weight in weights.values()])
    applied = begin(regularizer, weights, steps)
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        for weight in weights.values():
            drawn = torch.randn(2, *weight.tensor.shape, generator=generator, dtype=torch.float64)
            weight.tensor.grad = (drawn[0] * drawn[1].exp()).to(weight.tensor.dtype)
        optimizer_step(applied, optimizer, Progress(step, steps, steps))
    return {name: weight.tensor.detach().clone() for name, weight in weights.items()}
