"""A strength measured as a share of the data's gradient, against the share recomputed from that run's gradients."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from seglab.callbacks import StepOrder
from seglab.freezing import FrozenEncoder
from seglab.regularizers import L1, L2, ElasticNet, GroupLasso, PerStage, Proximal, Regularizer, Relative, SmoothL1, Spectral, Sum
from tests.nets import Staged, batches, fixed_module, momentum, trained


def slow(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1e-3)


class Ears(Callback):
    """Keeps weights and gradients as they are before StepOrder adds to them, and the factors after the step."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.factors: list[list[float]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        parameters = {n: p for n, p in pl_module.network.named_parameters() if n.endswith("weight") and p.grad is not None}
        self.weights.append({name: parameter.detach().clone() for name, parameter in parameters.items()})
        self.gradients.append({name: parameter.grad.clone() for name, parameter in parameters.items()})

    def on_train_batch_end(self, trainer: Any, *_: object) -> None:
        (order,) = (callback for callback in trainer.callbacks if isinstance(callback, StepOrder))
        assert order.applied is not None
        self.factors.append([term.factor for term in order.applied.terms()])


def norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.cat([tensor.double().flatten() for tensor in tensors]).norm())


@pytest.mark.parametrize("inner", [L2(1.0), L1(1e-3), GroupLasso(7.0), Proximal(L1(0.5))], ids=repr)
@pytest.mark.parametrize(("after", "steps"), [(0.0, 1), (0.2, 3), (0.25, 4)])
def test_the_strength_gives_the_ratio_where_it_was_measured(inner: Regularizer, after: float, steps: int) -> None:
    ears = Ears()
    module = fixed_module(Relative(inner, 0.05, after=after, steps=steps), slow, net=Staged)
    trained(module, batches(5), max_epochs=2, callbacks=[ears])
    first = -int(-after * 10 // 1)
    penalty = inner.inner if isinstance(inner, Proximal) else inner
    data = [norm(list(found.values())) for found in ears.gradients[first : first + steps]]
    added = [
        norm(penalty.gradient([w.transpose(0, 1) if "up" in name else w for name, w in found.items()]))
        for found in ears.weights[first : first + steps]
    ]
    expected = 0.05 * sum(data) / sum(added)
    factors = [factor for (factor,) in ears.factors]
    assert factors[: first + steps - 1] == [0.0] * (first + steps - 1)
    assert factors[first + steps - 1 :] == pytest.approx([expected] * (10 - first - steps + 1), rel=1e-4)
    if steps == 1:
        assert expected * added[0] / data[0] == pytest.approx(0.05)


def test_nothing_is_penalized_before_the_measurement_is_done() -> None:
    ears, plain = Ears(), Ears()
    trained(fixed_module(Relative(L2(1.0), 0.5, after=0.5, steps=1), momentum), batches(5), max_epochs=1, callbacks=[ears])
    trained(fixed_module(L2(0.0), momentum), batches(5), max_epochs=1, callbacks=[plain])
    assert [factor > 0 for (factor,) in ears.factors] == [False, False, False, True, True]
    same = [torch.equal(ours["first.weight"], none["first.weight"]) for ours, none in zip(ears.weights, plain.weights, strict=True)]
    assert same == [True, True, True, True, False]  # before each step


def test_the_strength_of_the_inner_penalty_does_not_matter() -> None:
    found = [trained(fixed_module(Relative(L2(strength), 0.3, after=0.0, steps=2), slow)) for strength in (1e-6, 1.0, 1e3)]
    for other in found[1:]:
        for name, value in found[0].items():
            torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("turn", [1, -1])
def test_in_a_sum_it_measures_the_gradient_of_the_data_alone(turn: int) -> None:
    """Beside a penalty a thousand times as large as the data's gradient."""
    factors = []
    for others in ([], [L2(1e3)], [Relative(L1(1.0), 100.0, after=0.0, steps=1)]):
        ears = Ears()
        module = fixed_module(Sum([Relative(L2(1.0), 0.1, after=0.0, steps=1), *others][::turn]), lambda p: torch.optim.SGD(p, lr=1e-9))
        trained(module, callbacks=[ears])
        factors.append(ears.factors[1][0 if turn == 1 else -1])
    assert factors == pytest.approx([factors[0]] * 3, rel=1e-6)


def test_a_joint_penalty_has_one_factor_and_its_gradients_add_up() -> None:
    """L1 and L2 on one weight: the norm of the sum of gradients, not the sum of norms."""
    ears = Ears()
    module = fixed_module(Relative(Sum([L1(0.3), L2(2.0)]), 0.1, after=0.0, steps=1), slow)
    trained(module, callbacks=[ears])
    joint = norm([0.3 * weight.sign() + 2.0 * weight for weight in ears.weights[0].values() if weight.ndim > 1])
    data = norm([ears.gradients[0][name] for name, weight in ears.weights[0].items() if weight.ndim > 1])
    assert ears.factors[0] == pytest.approx([0.1 * data / joint] * 2, rel=1e-5)


def test_only_the_penalized_weights_are_measured() -> None:
    ears = Ears()
    trained(fixed_module(Relative(PerStage({"head": L2(1.0)}), 0.1, after=0.0, steps=1), slow, net=Staged), callbacks=[ears])
    name = "segmentation_head.weight"
    expected = 0.1 * norm([ears.gradients[0][name]]) / norm([ears.weights[0][name]])
    assert ears.factors[0] == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize("penalty", [L1(1.0), ElasticNet(0.1, 1.0), SmoothL1(1.0, kappa=0.5), GroupLasso(1.0), Spectral(1.0)], ids=repr)
def test_a_frozen_stage_is_not_measured(penalty: Regularizer) -> None:
    ears = Ears()
    regularizer = Relative(PerStage({"encoder": penalty, "head": L2(1.0)}), 0.1, after=0.0, steps=1)
    trained(fixed_module(regularizer, slow, net=Staged, freeze=FrozenEncoder()), callbacks=[ears])
    name = "segmentation_head.weight"
    assert ears.factors[0] == pytest.approx([0.1 * norm([ears.gradients[0][name]]) / norm([ears.weights[0][name]])] * 2, rel=1e-5)


def test_a_ratio_of_zero_is_no_penalty() -> None:
    ours, none = (trained(fixed_module(regularizer)) for regularizer in (Relative(L2(1.0), 0.0, after=0.0, steps=1), None))
    for name in ours:
        assert torch.equal(ours[name], none[name])


@pytest.mark.parametrize("settings", [{"after": 0.5, "steps": 3}, {"after": 0.0, "steps": 6}, {"after": 0.99, "steps": 1}], ids=str)
def test_a_training_too_short_to_penalize_anything_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nothing would be penalized"):
        trained(fixed_module(Relative(L2(1.0), 0.1, **settings)))  # six steps


def test_a_penalty_without_a_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match="no strength gives the ratio"):
        trained(fixed_module(Relative(L2(0.0), 0.1, after=0.0, steps=1)))


@pytest.mark.parametrize(
    "settings",
    [{"ratio": -0.1}, {"ratio": float("nan")}, {"ratio": 0.1, "after": 1.0}, {"ratio": 0.1, "after": -0.1}, {"ratio": 0.1, "steps": 0}],
    ids=str,
)
def test_settings_without_a_meaning_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Relative: "):
        Relative(L2(1.0), **settings)
