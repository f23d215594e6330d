"""Identity: two runs are the same run if their settings are equal.

This module describes a study's settings and compares descriptions.

`settings.py` decides which values are settings, and `code.py` hashes the user's code. The user can accept an edit of
code that changes no number: the record then lists the edit, and its description of the runs stays as it was.
"""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

import seglab
from seglab.callbacks.step_order import check_optimizer, phase_rows
from seglab.checkpoints import check_resumable
from seglab.data import SegmentationDataModule
from seglab.data.check import check_channels
from seglab.data.contents import Format
from seglab.data.shifts import Shift
from seglab.freezing import scales
from seglab.module import SegmentationModule
from seglab.networks import description
from seglab.records import NUMERICS, AcceptedEdit, Run, StudyRecord, changed_since, settings_of
from seglab.schedulers import followed, make_scheduler
from seglab.stage import Progress
from seglab.study.arms import Arm, Chosen, Proposed
from seglab.study.failures import raise_failures
from seglab.study.names import public_name
from seglab.study.settings import Settings, hash_plain, hash_tensor, hash_text
from seglab.study.space import describe_space
from seglab.study.study import Study

SIMULATED_FACTORS = 200
"""Number of steps at which a freezing schedule is evaluated to describe it."""

_OF_THE_PLATEAU = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lrs", "eps", "monitor")


def record(study: Study, arms: Sequence[str], batch_norm_parts: int = 1, other: SegmentationModule | None = None) -> StudyRecord:
    """Return the record of a study with these of its `each_arm`. Builds each arm twice.

    Args:
        study: the study.
        arms: names of arms.
        batch_norm_parts: number of parts of a batch that each have batch norm statistics of their own.
        other: the module of the only arm, built under another seed than 0. The arm is then built once.

    Raises:
        Exception: arms cannot be built or described, see `raise_failures`.
    """
    start = planned(study) if arms else Progress(0, 1, 1)
    described, failures = dict[str, Any](), dict[str, Exception]()
    for arm in arms:
        try:
            described[arm] = describe(study.factory(arm), start, other)
        except Exception as error:  # noqa: BLE001 - whatever an arm raises, the other arms are tried
            failures[arm] = error
    raise_failures(failures)
    return StudyRecord(
        study=study.name,
        baseline=study.baseline,
        metric=study.metric,
        shared=shared(study, batch_norm_parts),
        arms=described,
        factors=tuple(study.factors),
        shifts={name: described_shift(shift, study.data) for name, shift in study.shifts.items()},
        version=seglab.__version__,
    )


def shared(study: Study, batch_norm_parts: int = 1) -> dict[str, Any]:
    """Return the settings that all runs of a study have in common.

    The number of devices is a setting only if each device computes batch norm statistics over its own part of a batch.
    """
    settings = Settings()
    return {
        "numerics": NUMERICS,
        "data": settings.plain(study.data.identity()),
        "epochs": study.epochs,
        "precision": study.precision,
        **{name: True for name in ("channels_last", "compile") if getattr(study, name)},
        "accumulate": study.accumulate,
        "gradient_clip": study.gradient_clip,
        "batch_norm_parts": batch_norm_parts,
        **({"tuning": _tuning(study)} if study.budget else {}),
        "code": dict(sorted(settings.code.items())),
    }


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


def _display(arm: Arm, module: SegmentationModule, start: Progress) -> dict[str, Any]:
    """Return what an arm's record only displays: schedule phases, search space, values of a proposed setting."""
    phases = {"phases": phase_rows(module, start)} if module.freeze_schedule is not None else {}
    space = {"space": describe_space(arm.tuned.space)} if isinstance(arm, Chosen) and arm.tuned.space else {}
    return {**phases, **space, **({"values": dict(arm.values)} if isinstance(arm, Proposed) else {})}


def describe_module(module: SegmentationModule, start: Progress) -> dict[str, Any]:
    """Return the description of a module before its training, without the weights that it starts from.

    Raises:
        ValueError: the regularizer cannot act in a training of this length, or beside this optimizer.
    """
    optimizer = module.optimizer(module.parameter_groups())
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


def planned(study: Study) -> Progress:
    """Return the progress at the beginning of a run: step 0, total optimizer steps, and steps of an epoch."""
    per_epoch = -(-len(study.data.train_dataloader()) // study.accumulate)
    return Progress(0, study.epochs * per_epoch, per_epoch)


def check_same(recorded: StudyRecord, study: Study, run: Run, batch_norm_parts: int = 1, module: SegmentationModule | None = None) -> None:
    """Raise a ValueError if a run's settings differ from the record, because script, data or code have changed.

    Args:
        recorded: the record.
        study: the study as it is now.
        run: the run.
        batch_norm_parts: number of parts of a batch that each have batch norm statistics of their own.
        module: the module of the run, just built under its seed; it spares a build.
    """
    now = record(study, [study.entry(run)], batch_norm_parts, other=module if run.seed != 0 else None)
    lines = [*changes(recorded, now), *shift_changes(recorded, now)]
    if recorded.entry(run) not in recorded.arms:
        lines.append(f"study.json has no arm {recorded.entry(run)}")
    if lines:
        raise ValueError(f"{run.name}: script or data have changed since study.json was written: {'; '.join(lines)} (recorded → now)")


def refused_images(recorded: StudyRecord, images: Format) -> dict[str, Exception]:
    """Return an error for each arm whose network or normalisation expects another number of channels than the images'.

    Arms whose module is of the user's own class are not checked, because it may convert the images.
    """
    refused: dict[str, Exception] = {}
    for arm, settings in recorded.arms.items():
        module, network = settings["module"], settings["network"]
        if module["class"] == public_name(SegmentationModule):
            try:
                check_channels(images, network.get("config", {}).get("in_channels"), module["mean"], module["std"])
            except ValueError as error:
                refused[arm] = error
    return refused


def changes(recorded: StudyRecord, now: StudyRecord) -> list[str]:
    """Return a line for each difference in the shared settings and in the arms of both records.

    Accepted edits are not differences, and a newer version of the numbers is not if it changed the numbers of no arm of
    `now`.
    """
    shared = _as_recorded(now.shared, recorded.shared, recorded)
    if _same_numbers(recorded, now):
        shared = {**shared, "numerics": recorded.shared.get("numerics")}
    lines = differences({"study": recorded.study, **recorded.shared}, {"study": now.study, **shared})
    for arm, settings in now.arms.items():
        if arm in recorded.arms:
            there = settings_of(recorded.arms[arm])
            lines += [f"arm {arm}: {line}" for line in differences(there, settings_of(_as_recorded(settings, there, recorded)))]
    return lines


def described_shift(shift: Shift, data: SegmentationDataModule) -> dict[str, Any]:
    """Return the settings of a shift, the content of its domain, and the user's code that it uses.

    `kind` is the class of the shift, whose severities are averaged first in the mean over the corruptions; None for
    another domain.
    """
    settings = Settings()
    described = settings.plain(data.shift_identity(shift))
    kind = settings.named(type(shift)) if shift.domain() is None else None
    return {"kind": kind, **described, "code": dict(sorted(settings.code.items()))}


def shift_changes(recorded: StudyRecord, now: StudyRecord) -> list[str]:
    """Return a line for each difference in a shift that both records name.

    A shift that only one of them names is no difference.
    """
    common = [name for name in now.shifts if name in recorded.shifts]
    pairs = {name: (recorded.shifts[name], _as_recorded(now.shifts[name], recorded.shifts[name], recorded)) for name in common}
    return [f"shift {name}: {line}" for name, (there, here) in pairs.items() for line in differences(there, here)]


def accept(recorded: StudyRecord, now: StudyRecord, why: str) -> StudyRecord:
    """Return the record with every edit of the user's code from `recorded` to `now` accepted, for the reason `why`."""
    edits = dict[tuple[str, str | None, str | None], None]()
    pairs = [(recorded.shared, now.shared), *((recorded.arms[arm], now.arms[arm]) for arm in now.arms if arm in recorded.arms)]
    pairs += [(recorded.shifts[name], now.shifts[name]) for name in now.shifts if name in recorded.shifts]
    for there, here in pairs:
        old, new = there.get("code", {}), here.get("code", {})
        edits |= {(name, old.get(name), new.get(name)): None for name in [*old, *new] if old.get(name) != new.get(name)}
    known = {(edit.name, edit.recorded, edit.now) for edit in recorded.accepted}
    return dataclasses.replace(recorded, accepted=(*recorded.accepted, *(AcceptedEdit(*edit, why) for edit in edits if edit not in known)))


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return a line per value that differs between two descriptions: `path: old → new`, or an edited definition's name.

    An option that one description lacks equals an option that is off, None or False. Therefore a new option of a
    library's class does not change the description of a user's class that extends it.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if path.rpartition(".")[2] == "code":
            return [_edited(name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
        keys = [key for key in dict.fromkeys([*old, *new]) if not _is_off_and_new(key, old, new)]
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    return [] if old == new else [f"{path}: {_short(old)} → {_short(new)}"]


def _is_off_and_new(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    values = [description[key] for description in (old, new) if key in description]
    return len(values) == 1 and (values[0] is None or values[0] is False)


def _same_numbers(recorded: StudyRecord, now: StudyRecord) -> bool:
    """Return whether no version of the numbers since `recorded` changed the numbers of an arm of `now`.

    A class of the user's own may use a changed class that the description does not name. Its arm counts as changed,
    unless the class is the network.
    """
    changed = changed_since(recorded.shared.get("numerics"))
    if not changed:
        return changed is not None
    return not any(_named(arm) & {*changed, *arm.get("code", {})} for arm in now.arms.values())


def _named(arm: Mapping[str, Any]) -> set[str]:
    """Return all strings in an arm's settings, public class names included, except those in network and code."""
    return _texts([value for name, value in settings_of(arm).items() if name not in ("network", "code")])


def _texts(value: Any) -> set[str]:
    if isinstance(value, Mapping | list | tuple):
        return {text for item in (value.values() if isinstance(value, Mapping) else value) for text in _texts(item)}
    return {value} if isinstance(value, str) else set()


def _edited(name: str, old: str | None, new: str | None) -> str:
    how = "is used, and was not" if old is None else "is no longer used" if new is None else "has been edited"
    return f"the code of {name} {how}"


def _as_recorded(now: Mapping[str, Any], there: Mapping[str, Any], record: StudyRecord) -> Mapping[str, Any]:
    """Return the description `now`, with the recorded hash of each accepted edit of the user's code."""
    code, old = dict(now.get("code", {})), there.get("code", {})
    for edit in record.accepted:
        if code.get(edit.name) == edit.now and old.get(edit.name) == edit.recorded:
            code.pop(edit.name, None)
            if edit.recorded is not None:
                code[edit.name] = edit.recorded
    return {**now, "code": code} if "code" in now else now


def _tuning(study: Study) -> dict[str, Any]:
    """Return how the setting of each arm is chosen, and the number of candidates.

    A single tuning without a final round and folds is described as by seglab 0.3 and earlier, which had nothing else.
    """
    return {
        "metric": study.tuning_metric,
        "seeds": list(study.tuning_seeds),
        **({"final_seeds": list(study.final_round_seeds)} if study.final_round_seeds else {}),
        **({"folds": study.tuning_folds} if study.tuning_folds is not None else {}),
        **({"tunings": study.tunings} if study.tunings > 1 else {}),
        "settings": study.budget,
    }


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


def _kind(thing: object) -> str:
    return "None" if thing is None else f"a {type(thing).__name__}"


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


def _short(value: Any) -> str:
    text = value["class"].rpartition(".")[2] if isinstance(value, Mapping) and isinstance(value.get("class"), str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
