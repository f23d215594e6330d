"""What happens to the weights of each stage in the course of a training."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from seglab.callbacks.step_order import StepOrder, Trainee
from seglab.regularizers import Applied, Part, Weight, filters, fraction_below_beta


class WeightDiagnostics(Callback):
    """Logs for each stage, at the first step, every `every_n_steps` and at the last, of its weights (kind "weight"):

    - `stage/<stage>/norm`: ‖w‖;
    - `stage/<stage>/zeros`, `/zero_filters`: fraction of weights, and number of output filters, that are exactly zero;
    - `stage/<stage>/drift`: ‖w − w⁰‖/‖w⁰‖, w⁰ being the weights as they were before the training;
    - `stage/<stage>/update`: ‖Δw‖/‖w‖ of this step;
    - `stage/<stage>/effective_lr`: η/‖w_f‖², averaged over the filters f whose scale a norm layer takes out (van Laarhoven 2017);
    - `stage/<stage>/penalty`: λR of the stage; `/ratio`: ‖∇λR‖/‖∇L‖ over its penalized weights;
    - `stage/<stage>/below_beta`: fraction of weights on the quadratic part of a Smooth-L1 penalty.

    Between these steps it costs nothing; in them a few passes over the weights. It keeps a copy of w⁰.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ValueError(f"WeightDiagnostics: every_n_steps must be 1 or more, got {every_n_steps}; leave the callback out for none")
        self.every_n_steps = every_n_steps
        self._start: dict[str, Tensor] = {}
        self._weights: dict[str, Weight] = {}
        self._before: dict[str, Tensor] = {}
        self._found: dict[str, Tensor] = {}
        self._last = 0

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Before a checkpoint is loaded: the weights are those that every training of this seed begins with."""
        if stage == "fit":
            self._weights = {name: weight for name, weight in cast(Trainee, pl_module).weights().items() if weight.kind == "weight"}
            self._start = {name: weight.tensor.detach().clone() for name, weight in self._weights.items()}

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        kinds = [type(callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]
        if StepOrder not in kinds or kinds.index(StepOrder) < kinds.index(type(self)):
            raise ValueError(
                "WeightDiagnostics looks at gradients before a penalty is added: it must come before StepOrder, which the module brings"
            )

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._last = int(trainer.estimated_stepping_batches) - 1
        self._start = {name: start.to(self._weights[name].tensor.device) for name, start in self._start.items()}

    @override
    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        if trainer.global_step % self.every_n_steps and trainer.global_step != self._last:
            return
        with torch.no_grad():
            self._before = {name: weight.tensor.detach().clone() for name, weight in self._weights.items()}
            applied = _step_order(trainer).applied
            self._found = {} if applied is None else _of_the_penalty(applied)

    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self._before:
            return
        with torch.no_grad():
            found = self._found | _of_the_weights(self._weights, self._start, self._before, _step_order(trainer).rates)
        self._before, self._found = {}, {}
        if trainer.is_global_zero and found:
            values = dict(zip(found, torch.stack([value.float() for value in found.values()]).tolist(), strict=True))
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step - 1)


def _step_order(trainer: L.Trainer) -> StepOrder:
    found: StepOrder = next(callback for callback in trainer.callbacks if isinstance(callback, StepOrder))  # type: ignore[attr-defined]
    return found


def _of_the_penalty(applied: Applied) -> dict[str, Tensor]:
    """Penalty, its gradient against that of the data, and the fraction below β, by stage; 0-dim each."""
    found: dict[str, Tensor] = {}
    data: dict[tuple[str, int], Tensor] = {}
    added: dict[tuple[str, int], Tensor] = {}
    for term in applied.terms():
        regularizer, parts = term.whole([weight.tensor.grad is not None for weight in term.weights.values()])
        values = [part.values() for part in parts]
        for part, gradient in zip(parts, regularizer.gradient(values), strict=True):
            key = part.weight.stage, id(part.weight.tensor)
            data[key] = part.gradient()
            added[key] = term.factor * gradient + added.get(key, 0)
        for stage in dict.fromkeys(part.weight.stage for part in parts):
            index = [place for place, part in enumerate(parts) if part.weight.stage == stage]
            own, mine = regularizer.select(index), [parts[place] for place in index]
            name = f"stage/{stage}/penalty"
            found[name] = term.factor * own.penalty([values[place] for place in index]) + found.get(name, 0)
            below = fraction_below_beta(own, mine)
            if below is not None:
                found[f"stage/{stage}/below_beta"] = below
    for stage in dict.fromkeys(stage for stage, _ in data):
        found[f"stage/{stage}/ratio"] = _norm([added[key] for key in added if key[0] == stage]) / _norm(
            [data[key] for key in data if key[0] == stage]
        )
    return found


def _of_the_weights(
    weights: Mapping[str, Weight], start: Mapping[str, Tensor], before: Mapping[str, Tensor], rates: Mapping[str, float]
) -> dict[str, Tensor]:
    """Norms, zeros, drift and this step's update, by stage; 0-dim each."""
    found: dict[str, Tensor] = {}
    for stage in dict.fromkeys(weight.stage for weight in weights.values()):
        names = [name for name, weight in weights.items() if weight.stage == stage]
        tensors = [weights[name].tensor.detach() for name in names]
        rows = [filters(Part(weights[name]._replace(anchor=None), slice(None)).values()) for name in names]
        found[f"stage/{stage}/norm"] = _norm(tensors)
        found[f"stage/{stage}/zeros"] = _total([(tensor == 0).sum() for tensor in tensors]) / sum(tensor.numel() for tensor in tensors)
        found[f"stage/{stage}/zero_filters"] = _total([(row == 0).all(1).sum() for row in rows])
        found[f"stage/{stage}/drift"] = _norm([tensor - start[name] for tensor, name in zip(tensors, names, strict=True)]) / _norm(
            [start[name] for name in names]
        )
        found[f"stage/{stage}/update"] = _norm([tensor - before[name] for tensor, name in zip(tensors, names, strict=True)]) / _norm(
            [before[name] for name in names]
        )
        free = [row for row, name in zip(rows, names, strict=True) if weights[name].scale_free == "filter"]
        if free and stage in rates:
            inverse = torch.cat([row.square().sum(1) for row in free]).reciprocal()
            found[f"stage/{stage}/effective_lr"] = rates[stage] * inverse[inverse.isfinite()].mean()
    return found


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(list(tensors))


def _total(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum()
