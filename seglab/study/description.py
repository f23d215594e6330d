"""Describe an arm before its training: its parts, with their settings and the user's code.

`settings.py` decides which values are settings, and `code.py` hashes the user's code.
"""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from seglab.callbacks.step_order import check_optimizer, phase_rows
from seglab.checkpoints import check_resumable
from seglab.freezing import scales
from seglab.module import SegmentationModule
from seglab.networks import description
from seglab.schedulers import followed, make_scheduler
from seglab.stage import Progress
from seglab.study.arms import Arm, Chosen, Proposed
from seglab.study.settings import Settings, hash_plain, hash_tensor, hash_text
from seglab.study.space import describe_space

SIMULATED_FACTORS = 200
"""Number of steps at which a freezing schedule is evaluated to describe it."""

_OF_THE_PLATEAU = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lrs", "eps", "monitor")


def describe(arm: Arm, start: Progress, other: SegmentationModule | None = None) -> dict[str, Any]:
    """Return the description of an arm: its parts, with their settings and the user's code.

    The parts are network, loss, penalty, schedule, optimizer and scheduler.

    The arm is built under two seeds. A tensor that is equal in both builds, such as a pretrained weight, does not
    depend on the seed. It belongs to the arm's description. All random generators stay as they are.

    Args:
        arm: makes the module.
        start: the training's numbers of steps.
        other: the arm's module, built under another seed than 0; None builds it.

    Raises:
        ValueError: both builds return the same network object, so that each run would continue the training of the
            previous run; or the scheduler cannot be made, fails within the training, or has a state that no checkpoint
            can hold.
    """
    with isolate_rng(include_cuda=False):
        module = built(arm, 0)
        if other is None:
            other = built(arm, 1)
    if {id(parameter) for parameter in module.parameters()} & {id(parameter) for parameter in other.parameters()}:
        raise ValueError("an arm gives the same network each time it is called: build the network inside the arm")
    described = describe_module(module, start)
    return {
        **described,
        "start": _equal_tensors(module.network, other.network),
        **({"loss_start": _equal_tensors(module.loss, other.loss)} if any(True for _ in module.loss.parameters()) else {}),
        **({"tuning": {"chosen": arm.setting, "settings": list(arm.tuned.settings)}} if isinstance(arm, Chosen) else {}),
        **({"display": shown} if (shown := _display(arm, module, start)) else {}),
    }


def describe_module(module: SegmentationModule, start: Progress) -> dict[str, Any]:
    """Return the description of a module before its training, without the weights that it starts from.

    Raises:
        ValueError: the regularizer cannot act in a training of this length, or beside this optimizer.
    """
    optimizer = module.make_optimizer()
    check_resumable(optimizer)
    _check_regularizer(module, optimizer, start.steps)
    _check_losses(module)
    settings = Settings()
    described = {
        "module": {"class": settings.named(type(module)), **settings.plain(module.settings())},
        "network": _network(module.network, settings),
        "loss": settings.plain(module.loss),
        "regularizer": settings.plain(module.regularizer),
        "freeze": _freezing(module, start, settings),
        "optimizer": _optimizer(optimizer, module, settings),
        "scheduler": _scheduler(module, optimizer, start, settings),
    }
    return {**described, "code": dict(sorted(settings.code.items()))}


def built(arm: Arm, seed: int) -> SegmentationModule:
    """Return the module of an arm, built under a seed of the generators of the CPU.

    Raises:
        ValueError: the arm's function returns something else.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that an arm's function may use
    torch.default_generator.manual_seed(seed)
    module = arm()
    if not isinstance(module, SegmentationModule):
        lacks = "; does the function lack a return?" if module is None else ""
        raise ValueError(f"its function returned {_kind(module)}; expected a SegmentationModule{lacks}")
    return module


def _display(arm: Arm, module: SegmentationModule, start: Progress) -> dict[str, Any]:
    """Return what an arm's record only displays: schedule phases, search space, values of a proposed setting."""
    phases = {"phases": phase_rows(module, start)} if module.freeze_schedule is not None else {}
    space = {"space": describe_space(arm.tuned.space)} if isinstance(arm, Chosen) and arm.tuned.space else {}
    return {**phases, **space, **({"values": dict(arm.values)} if isinstance(arm, Proposed) else {})}


def _network(network: nn.Module, settings: Settings) -> dict[str, Any]:
    """Return a network's class and configuration, and a hash of its structure: layers, settings, parameter shapes."""
    config = {name: value for name, value in description(network).get("config", {}).items() if value is not None and value is not False}
    structure = hash_plain(settings.plain(network))
    return {"class": settings.named(type(network)), **({"config": config} if config else {}), "structure": structure}


def _check_regularizer(module: SegmentationModule, optimizer: Optimizer, steps: int) -> None:
    """Check the regularizer before any training: raise the errors that it would raise when its training starts.

    Examples: a stage that does not exist, `Anchored` without pretrained weights, a training too short for the
    measurement of `Relative`, an optimizer with weight decay beside a penalty.
    """
    check_optimizer(module, optimizer)
    if module.regularizer is not None:
        module.regularizer.bind(module.weights()).start(steps)


def _check_losses(module: SegmentationModule) -> None:
    """Check seglab's losses before any training: raise the errors that they would raise for this number of classes.

    Examples: another number of class weights, `foreground_only`. For two classes, the network may give one logit or
    two; which one is known only when it runs.
    """
    if module.num_classes > 2:
        logits, mask = torch.zeros(1, module.num_classes, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)
        for loss in module.loss.modules():
            if type(loss).__module__.startswith("seglab.losses.") and not any(True for _ in loss.children()):
                loss(logits, mask)


def _freezing(module: SegmentationModule, start: Progress, settings: Settings) -> dict[str, Any] | None:
    """Return the freezing schedule's settings, and a hash of its factors over the training; None without a schedule."""
    if module.freeze_schedule is None:
        return None
    followed = range(0, start.steps, max(1, start.steps // SIMULATED_FACTORS))
    factors = [scales(module.freeze_schedule, module.stages.stages, start.at(step)) for step in followed]
    return {"schedule": settings.plain(module.freeze_schedule), "factors": hash_plain(factors)}


def _equal_tensors(one: nn.Module, other: nn.Module) -> str:
    """Return a hash of the weights and buffers equal in both networks, such as pretrained weights and constants."""
    twin = other.state_dict()
    tensors = {name: value for name, value in one.state_dict().items() if isinstance(value, torch.Tensor) and name in twin}
    parts = [f"{name} {hash_tensor(value)}" for name, value in tensors.items() if torch.equal(value, twin[name])]
    return hash_text("\n".join(parts))


def _optimizer(optimizer: Optimizer, module: SegmentationModule, settings: Settings) -> dict[str, Any]:
    """Return the optimizer's options that all parameter groups share, and the other options of each group.

    Options that are None or False are left out. The names of the parameters count only if they are not grouped by
    stage, for example if biases have a group without weight decay.
    """
    groups = [
        {name: settings.plain(value) for name, value in group.items() if name != "params" and value is not None and value is not False}
        for group in optimizer.param_groups
    ]
    common = {name: value for name, value in groups[0].items() if name != "name" and all(group.get(name) == value for group in groups)}
    own = {
        str(group.get("name", place)): {name: value for name, value in group.items() if name not in {*common, "name"}}
        for place, group in enumerate(groups)
    }
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    grouped, by_stage = (
        [sorted(names.get(id(parameter), "?") for parameter in group["params"]) for group in groups]
        for groups in (optimizer.param_groups, module.parameter_groups())
    )
    return {
        "class": settings.named(type(optimizer)),
        **common,
        **settings.own(optimizer),
        "groups": {name: values for name, values in own.items() if values},
        **({"parameters": hash_plain(grouped)} if grouped != by_stage else {}),
    }


def _scheduler(module: SegmentationModule, optimizer: Optimizer, start: Progress, settings: Settings) -> dict[str, Any] | None:
    """Return the scheduler's class, and a hash of its learning rates and momenta for each group over the training.

    Return the options of a `ReduceLROnPlateau` in place of the hash.
    """
    if module.scheduler is None:
        return None
    span = module.scheduler_span(start)
    scheduler = make_scheduler(module.scheduler, optimizer, span)
    check_resumable(scheduler)
    name = settings.named(type(scheduler))
    if isinstance(scheduler, ReduceLROnPlateau):
        return {
            "class": name,
            **settings.own(scheduler),
            **{option: settings.plain(getattr(scheduler, option)) for option in _OF_THE_PLATEAU if hasattr(scheduler, option)},
        }
    states = [
        [[round(float(group["lr"]), 12), settings.plain(group.get("momentum")), settings.plain(group.get("betas"))] for group in groups]
        for groups in followed(scheduler, optimizer, span)
    ]
    rates = [groups[0][0] for groups in states]
    return {"class": name, **settings.own(scheduler), "rates": rates[:: max(1, len(rates) // 4)], "all": hash_plain(states)}


def _kind(thing: object) -> str:
    return "None" if thing is None else f"a {type(thing).__name__}"
