"""Nested penalties: by stage, on other parameters, in sums, on schedules, and the orders that make no sense."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seglab.regularizers import (
    L1,
    L2,
    Anchored,
    Constant,
    Cosine,
    Decoupled,
    ElasticNet,
    FixedNorm,
    GroupLasso,
    HoyerSquare,
    LinearWarmup,
    Orthogonality,
    PerStage,
    Proximal,
    Regularizer,
    Relative,
    Scheduled,
    Spectral,
    Sum,
    Weight,
    Where,
)
from seglab.stage import Progress
from tests.nets import Staged, adamw, fixed_module, momentum, trained
from tests.regularizers.toys import begin, moved, some_weights


def gradients(regularizer: Regularizer, weights: dict[str, Weight], progress: Progress | None = None) -> dict[str, Tensor]:
    """Return what a penalty adds to gradients of zero."""
    applied = begin(regularizer, weights, 10)
    for weight in weights.values():
        weight.tensor.grad = torch.zeros_like(weight.tensor)
    applied.before_update(Progress(0, 1, 1) if progress is None else progress)
    return {name: weight.tensor.grad.clone() for name, weight in weights.items() if weight.tensor.grad is not None}


def strengths(found: dict[str, Tensor], weights: dict[str, Weight]) -> dict[str, float]:
    """λ of an L2 penalty, from the gradient it left."""
    return {name: round(float((gradient / weights[name].tensor.detach()).mean()), 5) for name, gradient in found.items()}


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ({"encoder": 0.1, "head": 0.2}, {"conv": 0.1, "last": 0.1, "up": 0.0, "linear": 0.2}),
        ({"encoder": 0.1, "encoder.1": 0.3}, {"conv": 0.1, "last": 0.3, "up": 0.0, "linear": 0.0}),
        ({"encoder.1": 0.3, "encoder": 0.1, "decoder": 0.2}, {"conv": 0.1, "last": 0.3, "up": 0.2, "linear": 0.0}),
        ({"encoder": 0.1, "encoder.1": 0.0}, {"conv": 0.1, "last": 0.0, "up": 0.0, "linear": 0.0}),
    ],
)
def test_the_longest_name_counts_and_other_stages_are_free(stages: dict[str, float], expected: dict[str, float]) -> None:
    weights = some_weights()
    assert strengths(gradients(PerStage({name: L2(strength) for name, strength in stages.items()}), weights), weights) == expected


@pytest.mark.parametrize("name", ["encoder.7", "Encoder", "dec", "encoder.", "encod"])
def test_an_unknown_stage_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"no stage.*the stages are encoder\.0, encoder\.1, decoder, head") as caught:
        begin(PerStage({"head": L2(0.1), name: L2(0.1)}), some_weights(), 1)
    assert repr(name) in str(caught.value)


def test_stages_may_be_penalized_each_in_its_way() -> None:
    mixed = PerStage({"encoder": Decoupled(L2(0.3)), "decoder": Proximal(L1(0.1)), "head": GroupLasso(0.1)})
    alone = {
        name: moved(regularizer, some_weights(), adamw)
        for name, regularizer in {"conv": Decoupled(L2(0.3)), "up": Proximal(L1(0.1)), "linear": GroupLasso(0.1)}.items()
    }
    together = moved(mixed, some_weights(), adamw)
    for name, expected in alone.items():
        assert torch.equal(together[name], expected[name]), name


def with_biases() -> dict[str, Weight]:
    vector = torch.linspace(0.5, 1.5, 6)
    return {
        "free": some_weights()["conv"]._replace(scale_free="filter"),
        "bound": some_weights()["linear"]._replace(scale_free="no"),
        "bias": Weight(nn.Parameter(vector.clone()), "head", False, "bias", "no", penalized=False),
        "norm": Weight(nn.Parameter(vector.clone()), "head", False, "norm", "no", penalized=False),
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["bound", "free"]),
        ({"biases": True}, ["bias", "bound", "free"]),
        ({"norms": True}, ["bound", "free", "norm"]),
        ({"before_norm": False}, ["bound"]),
        ({"before_norm": False, "biases": True, "norms": True}, ["bias", "bound", "norm"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("around", [lambda r: r, lambda r: Scheduled(r, Constant()), lambda r: Sum([r])])
def test_where_chooses_the_parameters(settings: dict[str, bool], expected: list[str], around: Any) -> None:
    weights = with_biases()
    found = gradients(around(Where(L2(0.1), **settings)), weights)
    assert sorted(name for name, gradient in found.items() if gradient.any()) == expected
    assert gradients(around(L2(0.1)), with_biases())["bias"].any() == torch.tensor(False)


def test_what_is_not_known_to_precede_a_norm_is_not_guessed() -> None:
    weights = with_biases()
    weights["free"] = weights["free"]._replace(scale_free="unknown")
    with pytest.raises(ValueError, match="this network cannot tell"):
        begin(Where(L2(0.1), before_norm=False), weights, 1)


def test_where_finds_the_parameters_of_a_network() -> None:
    found = {}
    for settings in ({}, {"biases": True}, {"norms": True}, {"before_norm": False}):
        (term,) = Where(L2(0.1), **settings).bind(fixed_module(None).weights()).terms()
        found[str(settings)] = set(term.weights)
    assert list(found.values()) == [
        {"first.weight", "last.weight"},
        {"first.weight", "last.weight", "first.bias", "last.bias"},
        {"first.weight", "last.weight", "norm.weight", "norm.bias"},
        {"last.weight"},
    ]


@pytest.mark.parametrize(
    ("factor", "fraction", "expected"),
    [
        (Constant(0.3), 0.5, 0.3),
        (LinearWarmup(0.2), 0.0, 0.0),
        (LinearWarmup(0.2), 0.05, 0.25),
        (LinearWarmup(0.2), 0.7, 1.0),
        (Cosine(), 0.0, 1.0),
        (Cosine(2.0, 1.0), 0.5, 1.5),
        (Cosine(0.0, 1.0), 1 / 3, 0.25),
        (lambda progress: progress.step / 6 + 1.0, 0.4, 5.0),
    ],
)
def test_a_schedule_multiplies_the_strength(factor: Any, fraction: float, expected: float) -> None:
    weights, progress = some_weights(), Progress(round(60 * fraction), 60, 10)
    found = strengths(gradients(Scheduled(L2(0.1), factor), weights, progress), weights)
    assert found == pytest.approx(dict.fromkeys(weights, 0.1 * expected), abs=1e-5)
    twice = strengths(gradients(Scheduled(Scheduled(L2(0.1), factor), Constant(2.0)), weights, progress), weights)
    assert twice == pytest.approx(dict.fromkeys(weights, 0.2 * expected), abs=1e-5)


@pytest.mark.parametrize("route", [lambda r: r, Decoupled, Proximal, Anchored])
def test_a_constant_factor_is_a_factor_on_the_strength(route: Any) -> None:
    scheduled = moved(Scheduled(route(ElasticNet(0.2, 0.4)), Constant(0.25)), some_weights(), adamw)
    inside = moved(route(Scheduled(ElasticNet(0.2, 0.4), Constant(0.25))), some_weights(), adamw)
    for name, expected in moved(route(ElasticNet(0.05, 0.1)), some_weights(), adamw).items():
        torch.testing.assert_close(scheduled[name], expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(inside[name], scheduled[name])


@pytest.mark.parametrize("bad", [math.nan, -0.1, math.inf])
@pytest.mark.parametrize("route", [lambda r: r, Decoupled, Proximal])
def test_a_factor_that_is_none_ends_the_training(bad: float, route: Any) -> None:
    module = fixed_module(Scheduled(route(L1(0.1)), lambda progress: bad if progress.step == 2 else 1.0))
    with pytest.raises(ValueError, match=r"factor.*finite number, 0 or more; got .*step=2"):
        trained(module)


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5, math.nan])
def test_a_warmup_over_no_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="LinearWarmup: fraction"):
        LinearWarmup(fraction)


def test_a_warmup_changes_the_training_as_its_steps_say() -> None:
    """Six steps, the first three at 0, 1/3 and 2/3 of the strength: by hand, with the penalty's gradients alone."""
    module = fixed_module(Scheduled(L2(0.5), LinearWarmup(0.5)), lambda p: torch.optim.SGD(p, lr=0.1))
    module.loss.forward = lambda logits, mask: 0.0 * logits.sum()
    start = module.network.first.weight.detach().clone()
    shrunk = math.prod(1 - 0.05 * min(1.0, step / 3) for step in range(6))
    torch.testing.assert_close(trained(module)["first.weight"], shrunk * start)


TWO_PROX = [
    Sum([Proximal(L1(0.1)), Proximal(L2(0.1))]),
    Sum([Proximal(L1(0.1)), Sum([Scheduled(Proximal(L2(0.1)), Constant())])]),
    Sum([PerStage({"encoder": Proximal(L1(0.1))}), PerStage({"encoder.0": Proximal(L2(0.1))})]),
    PerStage({"encoder": Sum([Proximal(L1(0.1)), Anchored(Proximal(L2(0.1)))])}),
]


@pytest.mark.parametrize("regularizer", TWO_PROX, ids=repr)
def test_two_proximal_operators_on_one_weight_are_refused(regularizer: Regularizer) -> None:
    with pytest.raises(ValueError, match="proximal operators in a row"):
        begin(regularizer, some_weights(), 1)


def test_proximal_operators_on_weights_of_their_own_are_allowed() -> None:
    together = moved(Sum([PerStage({"encoder": Proximal(L1(0.1))}), PerStage({"decoder": Proximal(L2(0.5))})]), some_weights(), adamw)
    assert torch.equal(together["conv"], moved(Proximal(L1(0.1)), some_weights(), adamw)["conv"])
    assert torch.equal(together["up"], moved(Proximal(L2(0.5)), some_weights(), adamw)["up"])


@pytest.mark.parametrize("turn", [1, -1])
def test_in_a_sum_each_acts_at_its_moment(turn: int) -> None:
    """Gradient, then decay, then update, then prox, whatever the order they are named in: one step of SGD by hand."""
    weights = {"w": some_weights()["linear"]}
    start = weights["w"].tensor.detach().clone()
    summands = [Decoupled(L2(0.5)), L2(0.25), Proximal(L1(0.1))][::turn]

    def sgd(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.2)

    after = moved(Sum(summands), weights, sgd, steps=1)["w"]
    data = moved(L2(0.0), {"w": some_weights()["linear"]}, sgd, steps=1)["w"] - start  # −ηg
    stepped = (1 - 0.1) * start + data - 0.05 * start
    torch.testing.assert_close(after, stepped.sign() * (stepped.abs() - 0.02).clamp_min(0))


def test_a_sum_of_gradients_is_the_gradient_of_the_sum() -> None:
    weights = some_weights()
    both = gradients(Sum([L1(0.1), L2(0.3), GroupLasso(0.2)]), weights)
    for name, expected in gradients(Sum([Sum([GroupLasso(0.2)]), ElasticNet(0.1, 0.3)]), weights).items():
        torch.testing.assert_close(both[name], expected)
    tensors = [weight.tensor.detach() for weight in weights.values()]
    expected_value = sum(float(r.penalty(tensors)) for r in (L1(0.1), L2(0.3), GroupLasso(0.2)))
    assert float(Sum([L1(0.1), L2(0.3), GroupLasso(0.2)]).penalty(tensors)) == pytest.approx(expected_value)


NONSENSE: list[Any] = [
    lambda: Proximal(Decoupled(L1(0.1))),
    lambda: Proximal(Proximal(L1(0.1))),
    lambda: Decoupled(Proximal(L1(0.1))),
    lambda: Decoupled(Decoupled(L1(0.1))),
    lambda: Decoupled(Sum([L2(0.1), Proximal(L1(0.1))])),
    lambda: Decoupled(FixedNorm()),
    lambda: Proximal(FixedNorm()),
    lambda: Proximal(HoyerSquare(0.1)),
    lambda: Proximal(Orthogonality(0.1)),
    lambda: Proximal(Spectral(0.1)),
    lambda: Proximal(Sum([L1(0.1), L2(0.1)])),
    lambda: Proximal(PerStage({"encoder": L1(0.1), "decoder": HoyerSquare(0.1)})),
    lambda: Proximal(Scheduled(Relative(Where(Spectral(0.1)), 0.1), Constant())),
    lambda: Anchored(Proximal(L1(0.1)), new=Proximal(HoyerSquare(0.1))),
    lambda: Proximal(Anchored(L1(0.1), new=HoyerSquare(0.1))),
    lambda: Sum([]),
    lambda: PerStage({}),
]


@pytest.mark.parametrize("place", range(len(NONSENSE)))
def test_orders_without_a_meaning_are_refused(place: int) -> None:
    with pytest.raises(ValueError, match=r"prox|decoupled|no penalty|one regularizer|one stage"):
        begin(NONSENSE[place](), some_weights(), 10)


SENSE: list[tuple[Any, Any]] = [
    (lambda r: Proximal(Where(r, biases=True)), lambda r: Where(Proximal(r), biases=True)),
    (lambda r: Proximal(Scheduled(r, Constant(0.5))), lambda r: Scheduled(Proximal(r), Constant(0.5))),
    (lambda r: Decoupled(Scheduled(r, Constant(0.5))), lambda r: Scheduled(Decoupled(r), Constant(0.5))),
    (lambda r: Proximal(PerStage({"encoder": r})), lambda r: PerStage({"encoder": Proximal(r)})),
    (lambda r: Decoupled(PerStage({"encoder": r})), lambda r: PerStage({"encoder": Decoupled(r)})),
    (lambda r: Proximal(Anchored(r, new=L2(0.3))), lambda r: Anchored(Proximal(r), new=Proximal(L2(0.3)))),
    (lambda r: Anchored(Scheduled(Proximal(r), Constant(2.0))), lambda r: Scheduled(Proximal(Anchored(r)), Constant(2.0))),
    (lambda r: Proximal(Relative(r, 0.5, after=0.0, steps=2)), lambda r: Relative(Proximal(r), 0.5, after=0.0, steps=2)),
    (lambda r: Decoupled(Relative(r, 0.5, after=0.0, steps=2)), lambda r: Relative(Decoupled(r), 0.5, after=0.0, steps=2)),
    (lambda r: Decoupled(Sum([r, L2(0.2)])), lambda r: Sum([Decoupled(r), Decoupled(L2(0.2))])),
]


@pytest.mark.parametrize("place", range(len(SENSE)))
@pytest.mark.parametrize("penalty", [L1(0.1), GroupLasso(0.05)], ids=repr)
def test_wrappers_mean_the_same_in_either_order(place: int, penalty: Regularizer) -> None:
    first, second = (moved(make(penalty), some_weights(), adamw) for make in SENSE[place])
    none = moved(L2(0.0), some_weights(), adamw)
    assert not torch.equal(first["conv"], none["conv"])
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-6, atol=1e-7)


def test_a_network_of_stages_is_penalized_by_their_names() -> None:
    module = fixed_module(PerStage({"encoder.1": L2(0.5), "decoder": Proximal(L1(0.05))}), momentum, net=Staged)
    free = fixed_module(None, momentum, net=Staged)
    ours, plain = trained(module, max_epochs=5), trained(free, max_epochs=5)
    assert float(ours["encoder.block.weight"].norm()) < 0.9 * float(plain["encoder.block.weight"].norm())
    assert float((ours["decoder.up.weight"] == 0).float().mean()) > 0.1
    assert not (ours["encoder.stem.weight"] == 0).any()
