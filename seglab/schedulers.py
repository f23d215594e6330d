"""Learning-rate schedulers: classes of torch with their own arguments by name, or functions."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR

SchedulerFactory = Callable[[Optimizer, int], LRScheduler] | Callable[[Optimizer], LRScheduler]
"""Maker of a scheduler: a class, `functools.partial` of a class with arguments by name, or a function.

A function gets the optimizer, and the total number of updates if it has a second parameter. As the annotation of a
parameter, this type makes every argument of a class a flag: the first alternative leaves the total open, and the second
knows the argument that comes second.
"""

TOTALS = ("T_max", "total_steps", "steps")
"""Names of the parameter that is the total number of updates, in any class. `PolynomialLR` calls it `total_iters`."""

REHEARSED = 100_000
"""Number of optimizer steps for which a scheduler is followed before a training."""


@dataclass(frozen=True)
class Span:
    """Number of optimizer steps of a training, and of steps between two scheduler updates: 1, or an epoch's steps."""

    steps: int
    every: int = 1

    @property
    def updates(self) -> int:
        """Total number of updates of the scheduler."""
        return -(-self.steps // self.every)


def make_scheduler(factory: SchedulerFactory, optimizer: Optimizer, span: Span) -> LRScheduler:
    """Make a scheduler of `optimizer`.

    A class gets the total number of updates by name, if it has a parameter for it and no value.

    Raises:
        ValueError: the class lacks an argument or refuses one, or the factory makes no scheduler.
    """
    make: Callable[..., LRScheduler] = factory
    kind = _class(factory)
    if kind is not None:
        total = _total(kind, _given(factory), span.updates)
        try:
            return make(optimizer, **total)
        except Exception as error:
            raise ValueError(f"{spoken(factory)}: {_reason(error)}") from error
    scheduler = make(optimizer, span.updates) if _takes_total(factory) else make(optimizer)
    if not (hasattr(scheduler, "step") and hasattr(scheduler, "state_dict")):
        raise ValueError(f"{spoken(factory)} returns {type(scheduler).__name__}; expected a scheduler of torch.optim.lr_scheduler")
    return scheduler


def followed(scheduler: LRScheduler, optimizer: Optimizer, span: Span) -> Iterator[list[dict[str, Any]]]:
    """Yield the optimizer's parameter groups at each optimizer step, and update the scheduler after it.

    No weight changes.

    At most the first `REHEARSED` steps are followed.

    Raises:
        ValueError: a learning rate is negative or not finite, or the scheduler fails within the training.
    """
    for step in range(min(span.steps, REHEARSED)):
        try:
            _check_rates(optimizer.param_groups)
            yield optimizer.param_groups
            if (step + 1) % span.every == 0:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")  # the optimizer makes no step here
                    scheduler.step()
        except Exception as error:
            raise ValueError(f"{type(scheduler).__name__} fails at optimizer step {step} of {span.steps}: {_reason(error)}") from error


def rehearse(scheduler: LRScheduler, optimizer: Optimizer, span: Span) -> str:
    """Return the learning rates and momenta of a training as text, each the largest of the groups.

    An example is `0.1 → 0.001 (from step 60)`.
    """
    rates, momenta = [], []
    for groups in followed(scheduler, optimizer, span):
        rates.append(max(float(group["lr"]) for group in groups))
        momenta.append(max(float(group["betas"][0] if "betas" in group else group.get("momentum", 0)) for group in groups))
    return _course(rates) + (f", momentum {_course(momenta)}" if len(set(momenta)) > 1 else "")


def named(factory: SchedulerFactory, scheduler: LRScheduler) -> str:
    """Return a scheduler as text: its class, and the arguments that its factory gives."""
    return type(scheduler).__name__ if _class(factory) is None else spoken(factory)


def spoken(factory: SchedulerFactory) -> str:
    """Return a factory as text: a function's name, or a class with non-default arguments, `StepLR(step_size=30)`."""
    kind = _class(factory)
    if kind is None:
        function = factory.func if isinstance(factory, partial) else factory
        return str(getattr(function, "__qualname__", type(function).__name__))
    parameters = inspect.signature(kind).parameters
    words = [f"{name}={value!r}" for name, value in _given(factory).items() if name not in parameters or value != parameters[name].default]
    return f"{kind.__name__}({', '.join(words)})" if words else kind.__name__


def _class(factory: SchedulerFactory) -> type[LRScheduler] | None:
    """Return the class that a factory is, or is a partial of. A parser's partial has the class among its arguments."""
    parts = (factory.func, *factory.args) if isinstance(factory, partial) else (factory,)
    return next((part for part in parts if isinstance(part, type) and issubclass(part, LRScheduler)), None)


def _given(factory: SchedulerFactory) -> dict[str, Any]:
    """Return the arguments of a partial that are given by name.

    A parser gives None for an argument that is left out.
    """
    keywords: Mapping[str, Any] = factory.keywords if isinstance(factory, partial) else {}
    return {name: value for name, value in keywords.items() if value is not None}


def _total(kind: type[LRScheduler], given: Mapping[str, Any], total: int) -> dict[str, int]:
    """Return the argument of `kind` that is the total number of updates, if it has one that is not given.

    Raises:
        ValueError: another argument is missing, or has no meaning here.
    """
    parameters = inspect.signature(kind).parameters
    if "schedulers" in parameters:
        raise ValueError(
            f"{kind.__name__} combines schedulers of one optimizer. Write a function `def my_scheduler(optimizer: Optimizer, steps: int) -> "
            "LRScheduler` that makes them, and give the function: scheduler=my_scheduler, --model.scheduler my_file.my_scheduler"
        )
    if given.get("last_epoch", -1) != -1:
        raise ValueError(f"{kind.__name__}: last_epoch is {given['last_epoch']}; leave it out, because a resumed training restores it")
    names = (*TOTALS, "total_iters") if issubclass(kind, PolynomialLR) else TOTALS
    known = given.keys() & {*names, "epochs"}  # OneCycleLR computes its total from epochs and steps_per_epoch
    filled = {} if known else {name: total for name in names if name in parameters}
    missing = [
        name
        for name, parameter in list(parameters.items())[1:]
        if parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if name not in given and name not in filled
    ]
    if missing:
        flags = " ".join(f"--model.scheduler.{name} VALUE" for name in missing)
        values = ", ".join(f"{name}=VALUE" for name in missing)
        raise ValueError(
            f"{kind.__name__} needs {' and '.join(missing)}: {flags}, or functools.partial({kind.__name__}, {values}) in Python"
        )
    return filled


def _takes_total(function: SchedulerFactory) -> bool:
    """Return whether a function gets the total number of updates.

    The second parameter of such a function has no default, or is called `steps` or the like.
    """
    positional = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    if positional and positional[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return True
    return len(positional) > 1 and (positional[1].default is inspect.Parameter.empty or positional[1].name in TOTALS)


def _check_rates(groups: list[dict[str, Any]]) -> None:
    for rate in (float(group["lr"]) for group in groups):
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"the learning rate is {rate}; expected a finite number, 0 or more")


def _reason(error: Exception) -> str:
    """Return an error as text, with its type unless the text stands alone."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}".removesuffix(": ")


def _course(values: list[float]) -> str:
    """Return as text the first, largest, smallest and last of some values, and the step from which the last stays."""
    last = values[-1]
    settled = next((step for step in range(len(values) - 1, 0, -1) if values[step - 1] != last), 0)
    between = sorted({values.index(extreme) for extreme in (max(values), min(values)) if extreme not in (values[0], last)})
    words = [f"{values[0]:.3g}", *(f"{values[step]:.3g} (at step {step})" for step in between), f"{last:.3g}"]
    if settled == 0:
        return f"{last:.3g} throughout"
    return " → ".join(words) + (f" (from step {settled})" if settled < len(values) - 1 else "")
