"""Everything that determines a run's numbers, as plain data: what makes two runs the same run."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

import seglab
from seglab.module import SegmentationModule
from seglab.networks import description
from seglab.run import Run, StudyRecord, fingerprint
from seglab.study.study import Study


def record(study: Study, arms: Sequence[str]) -> StudyRecord:
    """`study.json` for these arms. Builds each arm once."""
    return StudyRecord(study.name, study.baseline, study.metric, shared(study), {arm: describe(study.arms[arm]()) for arm in arms})


def shared(study: Study) -> dict[str, Any]:
    """What all runs of a study have in common."""
    return {
        "seglab": seglab.__version__,
        "data": plain(study.data.identity()),
        "epochs": study.epochs,
        "precision": study.precision,
        "accumulate": study.accumulate,
        "gradient_clip": study.gradient_clip,
    }


def check_same(record: StudyRecord, study: Study, run: Run, module: SegmentationModule) -> None:
    """Refuse to train a run whose script or data have changed since its study was recorded."""
    lines = differences({"shared": record.shared, "arm": record.arms.get(run.arm)}, {"shared": shared(study), "arm": describe(module)})
    if lines:
        raise ValueError(f"{run.name}: script or data have changed since study.json was written: {'; '.join(lines)} (recorded → now)")


def identity(record: StudyRecord, run: Run) -> str:
    """The hash that a run's result carries: the shared settings and its arm's own."""
    return fingerprint({"shared": record.shared, "arm": record.arms[run.arm]})


def describe(module: SegmentationModule) -> dict[str, Any]:
    """Network, loss, penalty, schedule, optimizer and scheduler of a module, with all their settings."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = module.optimizer([{"params": [parameter], "name": "all"}])
    described: dict[str, Any] = plain(
        {
            "module": path_of(type(module)),
            "network": description(module.network) | _pretrained(module.network),
            "loss": settings(module.loss),
            "regularizer": module.regularizer,
            "freeze": module.freeze_schedule,
            "optimizer": {"class": path_of(type(optimizer)), **optimizer.defaults},
            "scheduler": _scheduler(module, optimizer),
            "ignore_index": module.ignore_index,
            "mean": module.mean.flatten().tolist(),
            "std": module.std.flatten().tolist(),
        }
    )
    return described


def settings(module: nn.Module) -> dict[str, Any]:
    """An `nn.Module`'s class, its public attributes, its buffers and its children's, recursively."""
    own = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "training"}
    tensors = {name: value.tolist() for name, value in module.named_buffers(recurse=False)}
    children = {name: settings(child) for name, child in module.named_children()}
    return {"class": path_of(type(module)), **{name: value for name, value in own.items() if _is_plain(value)}, **tensors, **children}


def plain(value: Any) -> Any:
    """Dataclasses, classes, functions and paths as JSON knows them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"class": path_of(type(value)), **{field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    if isinstance(value, Enum | Path):
        return str(value)
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return path_of(value if callable(value) and hasattr(value, "__qualname__") else type(value))


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """`path: old → new` for every leaf in which two descriptions differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    return [] if old == new else [f"{path}: {_short(old)} → {_short(new)}"]


def path_of(thing: Any) -> str:
    """The import path of a class or function."""
    return f"{thing.__module__}.{thing.__qualname__}"


def _short(value: Any) -> str:
    text = value["class"].rpartition(".")[2] if isinstance(value, Mapping) and "class" in value else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | bool | int | float | tuple | list | dict) or value is None or dataclasses.is_dataclass(value)


def _scheduler(module: SegmentationModule, optimizer: Optimizer) -> dict[str, Any] | None:
    """A scheduler's class and settings, and the rates it sets along a training of 100 steps, which tell two lambdas apart."""
    if module.scheduler is None:
        return None
    scheduler = module.scheduler(optimizer, 100)
    state = {name: value for name, value in scheduler.state_dict().items() if not name.startswith("_") and _is_plain(value)}
    if isinstance(scheduler, ReduceLROnPlateau):
        return {"class": path_of(type(scheduler)), **state}
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return {"class": path_of(type(scheduler)), **state, "rates": rates[::10]}


def _pretrained(network: nn.Module) -> dict[str, Any]:
    """Which pretrained values a network starts from, by their content, wherever they were loaded from."""
    names = sorted(getattr(network, "pretrained", frozenset()))
    if not names:
        return {}
    parameters, digest = dict(network.named_parameters()), hashlib.sha256()
    for name in names:
        digest.update(parameters[name].detach().cpu().contiguous().numpy().tobytes())
    return {"pretrained": digest.hexdigest()[:16], "pretrained_tensors": len(names)}
