"""A class, a function or None in place of what is expected is named in one line, before or in the first step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seglab import LPFT, AdamW, FreezeSchedule, FrozenEncoder, Product, WarmUp
from seglab.losses import CrossEntropy, WeightedSum
from seglab.module import SegmentationModule
from seglab.regularizers import L2, Cosine, Decoupled, PerStage, Proximal, Regularizer, Relative, Scheduled, Sum
from seglab.stage import Progress, Stage
from tests.nets import Staged, trained


@dataclass(frozen=True)
class Answers(FreezeSchedule):
    factor: Any

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 1.0 if stage.part == "head" or progress.step > 1 else self.factor


@dataclass(frozen=True)
class Own(Regularizer):
    """A penalty whose methods return what a test gives."""

    value: Callable[[Sequence[Tensor]], Any]

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return self.value(weights)  # type: ignore[no-any-return]


class Written(Own):
    """A penalty whose gradient is written by hand."""

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        return self.value(weights)  # type: ignore[no-any-return]


class OutOfPlace(Own):
    """A penalty whose prox returns new tensors."""

    def prox(self, weights: Sequence[Tensor], step: Any) -> None:
        return [weight / 2 for weight in weights]  # type: ignore[return-value]


class Gives(nn.Module):
    """A loss that returns what a test gives."""

    def __init__(self, value: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.value = value

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.value(logits)  # type: ignore[no-any-return]


class Forgetful(nn.Module):
    def __init__(self) -> None:
        self.gamma = 2

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return logits.mean()


def built(loss: Any = None, **given: Any) -> Any:
    return SegmentationModule(Staged(), CrossEntropy() if loss is None else loss, num_classes=4, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": CrossEntropy}, r"^loss is the class CrossEntropy; give an object of it, CrossEntropy\(\.\.\.\)$"),
        ({"loss": lambda logits, mask: logits.mean()}, "^loss is a function; expected an object of torch's Module$"),
        ({"loss": Forgetful()}, "Forgetful is not initialised: call super"),
        ({"freeze": FrozenEncoder}, "^freeze is the class FrozenEncoder"),
        ({"freeze": lambda stage, progress: 1.0}, "^freeze is a function; expected an object of seglab's FreezeSchedule"),
        ({"regularizer": L2}, "^a regularizer is the class L2"),
        ({"regularizer": Sum([PerStage({"encoder": L2})])}, "^a regularizer is the class L2"),  # type: ignore[dict-item]
        ({"regularizer": lambda weights: weights[0].sum()}, "^a regularizer is a function"),
        ({"optimizer": AdamW}, "^optimizer is the class AdamW"),
    ],
)
def test_a_module_of_other_parts(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(**given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Product(FrozenEncoder()), "give one schedule or more, in a list"),  # type: ignore[arg-type]
        (lambda: Product([FrozenEncoder]), r"schedules\[0\] is the class FrozenEncoder"),  # type: ignore[list-item]
        (lambda: WarmUp(LPFT), "schedule is the class LPFT"),  # type: ignore[arg-type]
        (lambda: Sum(L2(1e-3)), "give one regularizer or more, in a list"),  # type: ignore[arg-type]
        (lambda: Scheduled(L2(1e-3), 0.5), "factor is 0.5; expected a function"),  # type: ignore[arg-type]
    ],
)
def test_a_part_of_other_parts(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": lambda groups: None}, "`optimizer` returns is a NoneType; expected an object of torch's Optimizer"),
        ({"freeze": Answers(None)}, "encoder.0 the factor None at step 0; expected a finite number"),
        ({"freeze": Answers("0")}, "encoder.0 the factor 0 at step 0; expected a finite number"),
        ({"regularizer": Scheduled(L2(1e-3), lambda progress: None)}, "got None at"),  # type: ignore[arg-type, return-value]
        ({"regularizer": Scheduled(L2(1e-3), Cosine)}, "the factor on the strength must be a finite number"),  # type: ignore[arg-type]
        ({"regularizer": Own(lambda weights: None)}, "Own.penalty returns None; expected a tensor of one number"),
        (
            {"regularizer": Own(lambda weights: torch.stack([one.sum() for one in weights]))},
            r"Own.penalty returns a tensor of shape \(4,\)",
        ),
        ({"regularizer": Own(lambda weights: weights[0].detach().sum())}, r"of shape \(\) without a gradient"),
        ({"loss": Gives(lambda logits: None)}, "^Gives returns None; expected a 0-dim floating tensor"),
        ({"loss": Gives(lambda logits: logits.mean().item())}, "^Gives returns -?0.*without .item"),
        ({"loss": WeightedSum({"a": Gives(lambda logits: logits.mean(1))}, {"a": 1.0})}, r"^the loss 'a' returns \(4, 8, 8\)"),
        ({"loss": WeightedSum({"a": CrossEntropy()}, {"a": lambda progress: 1.0 if progress.step == 0 else None})}, "None} at step 1"),  # type: ignore[dict-item, return-value]
    ],
)
def test_what_is_returned(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(built(**given))


@pytest.mark.parametrize("route", [lambda inner: inner, Decoupled, partial(Relative, ratio=0.1, after=0.0, steps=1)])
@pytest.mark.parametrize(
    "gradient",
    [
        lambda weights: None,
        lambda weights: weights[:1],
        lambda weights: [weight.sum() for weight in weights],
        lambda weights: [weight.flatten() for weight in weights],
    ],
)
def test_a_gradient_of_another_shape_is_not_broadcast(route: Any, gradient: Any) -> None:
    with pytest.raises(ValueError, match=r"Written\.gradient: expected a list of one tensor per weight"):
        trained(built(regularizer=route(Written(gradient))))


def test_a_prox_that_changes_nothing_is_refused() -> None:
    """The training would be that without a penalty."""
    with pytest.raises(ValueError, match=r"OutOfPlace\.prox returns a list, which has no effect: change the weights in place"):
        trained(built(regularizer=Proximal(OutOfPlace(lambda weights: weights[0].sum())), optimizer=AdamW()))
