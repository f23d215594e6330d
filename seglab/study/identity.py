"""Everything that determines a run's numbers, as plain data: what makes two runs the same run."""

import dataclasses
import functools
import hashlib
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

import seglab
from seglab.callbacks.step_order import check_optimizer, phase_rows
from seglab.freezing import scales
from seglab.module import SegmentationModule
from seglab.networks import description
from seglab.records import Run, StudyRecord
from seglab.stage import Progress
from seglab.study.arms import Arm, Chosen
from seglab.study.study import Study

SIMULATED_STEPS = 10_000
"""How far a schedule of learning rates is followed to describe it."""

SIMULATED_FACTORS = 200
"""At how many steps a freezing schedule is followed to describe it."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_EMPTY_MODULE = frozenset(vars(nn.Module()))
_OF_THE_PLATEAU = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lrs", "eps")


def record(study: Study, arms: Sequence[str], batch_norm_parts: int = 1) -> StudyRecord:
    """`study.json` for these arms. Builds each arm twice."""
    described = {arm: _described(study, arm) for arm in arms}
    return StudyRecord(study.name, study.baseline, study.metric, shared(study, batch_norm_parts), described, factors=tuple(study.factors))


def shared(study: Study, batch_norm_parts: int = 1) -> dict[str, Any]:
    """What all runs of a study have in common.

    The number of devices is not among it, unless each takes the batch norms' statistics of its own part of a batch.
    """
    return {
        "seglab": seglab.__version__,
        "data": plain(study.data.identity()),
        "epochs": study.epochs,
        "precision": study.precision,
        "accumulate": study.accumulate,
        "gradient_clip": study.gradient_clip,
        "batch_norm_parts": batch_norm_parts,
        **({"tuning": _tuning(study)} if study.budget else {}),
    }


def check_same(record: StudyRecord, study: Study, run: Run, batch_norm_parts: int = 1) -> None:
    """Refuse to train a run whose script or data have changed since its study was recorded."""
    now = {"shared": shared(study, batch_norm_parts), "arm": _described(study, run.arm)}
    lines = differences({"shared": record.shared, "arm": record.arms.get(run.arm)}, now)
    if lines:
        raise ValueError(f"{run.name}: script or data have changed since study.json was written: {'; '.join(lines)} (recorded → now)")


def planned(study: Study) -> Progress:
    """The beginning of a run: its optimizer steps in all, and in an epoch."""
    per_epoch = -(-len(study.data.train_dataloader()) // study.accumulate)
    return Progress(0, study.epochs * per_epoch, per_epoch)


def describe(arm: Arm, start: Progress) -> dict[str, Any]:
    """Network, loss, penalty, schedule, optimizer and scheduler of an arm, with all their settings.

    The arm is built under two seeds: what is equal in both does not come from the seed, such as pretrained weights, and belongs to
    the arm; and a network that is the same object in both would carry one run's training into the next.

    Raises:
        ValueError: if both are one network.
    """
    with torch.random.fork_rng(devices=[]):
        module, other = _seeded(arm, 0), _seeded(arm, 1)
    if {id(parameter) for parameter in module.parameters()} & {id(parameter) for parameter in other.parameters()}:
        raise ValueError("an arm gives the same network each time it is called: build the network inside the arm")
    optimizer = module.optimizer(module.parameter_groups())
    _check_regularizer(module, optimizer, start.steps)
    described: dict[str, Any] = plain(
        {
            "module": {"class": path_of(type(module)), **_own_settings(module)},
            "network": {**description(module.network), "structure": _hash(json.dumps(settings(module.network), sort_keys=True))},
            "start": _equal_tensors(module.network, other.network),
            "loss": settings(module.loss),
            "regularizer": module.regularizer,
            "freeze": _freezing(module, start),
            "optimizer": _optimizer(optimizer),
            "scheduler": _scheduler(module, optimizer, start.steps),
            "ignore_index": module.ignore_index,
            "mean": module.mean.flatten().tolist(),
            "std": module.std.flatten().tolist(),
            **({"tuning": {"chosen": arm.setting, "settings": list(arm.tuned.settings)}} if isinstance(arm, Chosen) else {}),
        }
    )
    return described


def settings(module: nn.Module) -> dict[str, Any]:
    """An `nn.Module`'s class, its own attributes, the shapes of its parameters and its children's, recursively."""
    own = {name: plain(value) for name, value in vars(module).items() if name not in _EMPTY_MODULE}
    shapes = {name: list(parameter.shape) for name, parameter in module.named_parameters(recurse=False)}
    buffers = {name: plain(value) for name, value in module.named_buffers(recurse=False)}
    children = {name: settings(child) for name, child in module.named_children()}
    return {"class": path_of(type(module)), **own, **shapes, **buffers, **children}


def plain(value: Any, depth: int = 0) -> Any:
    """Anything as JSON knows it, the same in every process: no addresses, functions by path and source, large tensors by hash."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth > 30:
        raise ValueError(f"a setting is nested more than 30 deep, at {path_of(type(value))}: does something hold itself?")
    into = functools.partial(plain, depth=depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"class": path_of(type(value)), **{field.name: into(getattr(value, field.name)) for field in dataclasses.fields(value)}}
    if isinstance(value, Mapping):
        return {str(key): into(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [into(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, Tensor | np.ndarray):
        array = torch.as_tensor(value).detach().cpu()
        return array.tolist() if array.numel() <= 64 else _hash_tensor(array)
    return _thing(value, into)


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """`path: old → new` for every leaf in which two descriptions differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    return [] if old == new else [f"{path}: {_short(old)} → {_short(new)}"]


def path_of(thing: Any) -> str:
    """The import path of a class or function."""
    return f"{thing.__module__}.{thing.__qualname__}"


def _tuning(study: Study) -> dict[str, Any]:
    """How each arm's setting is chosen, and among how many."""
    return {"metric": study.tuning_metric, "seeds": list(study.tuning_seeds), "settings": study.budget}


def _seeded(arm: Arm, seed: int) -> SegmentationModule:
    L.seed_everything(seed, verbose=False)
    return arm()


def _thing(value: Any, into: Callable[[Any], Any]) -> Any:
    """A module, a function, a class or an object."""
    if isinstance(value, nn.Module):
        return settings(value)
    if isinstance(value, functools.partial):
        return {"partial": into(value.func), "args": into(value.args), "keywords": into(value.keywords)}
    if inspect.isfunction(value) and "<" in value.__qualname__:  # a lambda, or made inside another function
        return {
            "function": path_of(value),
            "source": _source(value),
            "with": [into(cell.cell_contents) for cell in value.__closure__ or ()],
            "defaults": [into(value.__defaults__), into(value.__kwdefaults__)],
        }
    if hasattr(value, "__qualname__"):
        return path_of(value)
    text = repr(value)
    if _ADDRESS.search(text) and hasattr(value, "__dict__"):
        return {"class": path_of(type(value)), **into(vars(value))}
    return _ADDRESS.sub("", text)


def _source(function: Callable[..., Any]) -> str:
    try:
        return _hash(inspect.getsource(function))
    except OSError:
        return _hash(function.__code__.co_code.hex())


def _own_settings(module: SegmentationModule) -> dict[str, Any]:
    """What a subclass keeps for itself: attributes that `SegmentationModule` has not."""
    known = {
        "network",
        "loss",
        "num_classes",
        "regularizer",
        "freeze_schedule",
        "optimizer",
        "scheduler",
        "stages",
        "frozen_by_schedule",
        "ignore_index",
    }
    of_lightning = {"prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices"}
    own = {
        name: value for name, value in vars(module).items() if not name.startswith("_") and name not in known | of_lightning | _EMPTY_MODULE
    }
    return {name: plain(value) for name, value in own.items()}


def _check_regularizer(module: SegmentationModule, optimizer: Optimizer, steps: int) -> None:
    """What would be refused when the training begins is refused before any begins: stages that do not exist, anchors without pretrained
    weights, a measurement that never ends, decay on decay."""
    check_optimizer(module, optimizer)
    if module.regularizer is not None:
        module.regularizer.bind(module.weights()).start(steps)


def _described(study: Study, arm: str) -> dict[str, Any]:
    try:
        return describe(study.factory(arm), planned(study))
    except ValueError as error:
        raise ValueError(f"arm {arm}: {error}") from error


def _freezing(module: SegmentationModule, start: Progress) -> dict[str, Any] | None:
    """A schedule's settings, its phases for people to read, and a hash of its factors along the training.

    What would be refused when the training begins is refused here too: stages that do not exist, an unfreezing after the end.
    """
    if module.freeze_schedule is None:
        return None
    followed = range(0, start.steps, max(1, start.steps // SIMULATED_FACTORS))
    factors = [scales(module.freeze_schedule, module.stages.stages, start.at(step)) for step in followed]
    return {"schedule": module.freeze_schedule, "phases": phase_rows(module, start), "factors": _hash(json.dumps(factors))}


def _equal_tensors(one: nn.Module, other: nn.Module) -> str:
    """A hash of the weights and buffers that are the same whatever the seed: pretrained ones, and constants."""
    twin = other.state_dict()
    parts = [f"{name} {_hash_tensor(value)}" for name, value in one.state_dict().items() if torch.equal(value, twin[name])]
    return _hash("\n".join(parts))


def _optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """What all groups have in common, and what each has of its own."""
    groups = [{name: plain(value) for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    common = {name: value for name, value in groups[0].items() if all(group.get(name) == value for group in groups)}
    own = {
        str(group.get("name", place)): {name: value for name, value in group.items() if name not in {*common, "name"}}
        for place, group in enumerate(groups)
    }
    return {"class": path_of(type(optimizer)), **common, "groups": {name: values for name, values in own.items() if values}}


def _scheduler(module: SegmentationModule, optimizer: Optimizer, steps: int) -> dict[str, Any] | None:
    """A scheduler's class, and the rates and momenta that it sets along the training, of all groups."""
    if module.scheduler is None:
        return None
    scheduler = module.scheduler(optimizer, steps)
    if isinstance(scheduler, ReduceLROnPlateau):
        return {"class": path_of(type(scheduler)), **{name: plain(getattr(scheduler, name)) for name in _OF_THE_PLATEAU}}
    followed = []
    optimizer.step()  # without gradients it moves nothing; a scheduler complains if it never came
    for _ in range(min(steps, SIMULATED_STEPS)):
        followed.append(
            [[round(float(group["lr"]), 12), plain(group.get("momentum")), plain(group.get("betas"))] for group in optimizer.param_groups]
        )
        scheduler.step()
    rates = [place[0][0] for place in followed]
    return {"class": path_of(type(scheduler)), "rates": rates[:: max(1, len(rates) // 4)], "all": _hash(json.dumps(followed))}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash_tensor(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + values.tobytes()).hexdigest()[:16]


def _short(value: Any) -> str:
    text = value["class"].rpartition(".")[2] if isinstance(value, Mapping) and isinstance(value.get("class"), str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
