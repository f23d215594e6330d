"""Log how the weights of each stage change during training."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from seglab.callbacks.step_order import StepOrder
from seglab.callbacks.trainee import Trainee
from seglab.regularizers import Applied, Part, Penalty, Term, Weight, filters, fraction_below_beta


class WeightDiagnostics(Callback):
    """Logs numbers on each stage's weights (kind "weight") every `every_n_steps` steps, and at the first and last step:

    - `stage/<stage>/norm`: ‖w‖;
    - `stage/<stage>/zeros`, `/zero_filters`: fraction of weights, and number of output filters, that are exactly zero;
    - `stage/<stage>/drift`: ‖w − w⁰‖/‖w⁰‖, w⁰ being the weights before the training;
    - `stage/<stage>/update`: ‖Δw‖/‖w‖ of this step;
    - `stage/<stage>/effective_lr`: η/‖w_f‖², averaged over the filters f whose scale a norm layer cancels (van
      Laarhoven 2017);
    - `stage/<stage>/penalty`: λR of the stage; `/ratio`: ‖∇λR‖/‖∇L‖ over its penalized weights;
    - `stage/<stage>/below_beta`: fraction of weights on the quadratic part of a Smooth-L1 penalty.

    Each of these steps costs a few passes over the weights, the others nothing. The callback keeps a copy of w⁰.

    Args:
        every_n_steps: number of optimizer steps between two logs, 1 or more.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ValueError(
                f"WeightDiagnostics: every_n_steps must be 1 or more, got {every_n_steps}; to log nothing, leave the callback out"
            )
        self.every_n_steps = every_n_steps
        self._start: dict[str, Tensor] = {}
        self._weights: dict[str, Weight] = {}
        self._before: dict[str, Tensor] = {}
        self._measured: _PenaltyMeasurement | None = None
        self._last = 0

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Copy w⁰. Lightning loads a checkpoint after this hook, so a resumed training has the same w⁰."""
        if stage == "fit":
            self._weights = {name: weight for name, weight in cast(Trainee, pl_module).weights().items() if weight.kind == "weight"}
            self._start = {name: weight.tensor.detach().clone() for name, weight in self._weights.items()}

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        kinds = [type(callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]
        if StepOrder not in kinds or kinds.index(StepOrder) < kinds.index(type(self)):
            raise ValueError(
                "WeightDiagnostics must run before the module's StepOrder adds a penalty to the gradients: give it to the Trainer's callbacks, and "
                "do not add a StepOrder there"
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
            self._measured = None if applied is None else _PenaltyMeasurement(applied)

    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self._before:
            return
        with torch.no_grad():
            found = {} if self._measured is None else self._measured.found()
            found |= _weight_numbers(self._weights, self._start, self._before, _step_order(trainer).rates)
        self._before, self._measured = {}, None
        if trainer.is_global_zero and found:
            values = dict(zip(found, torch.stack([value.float() for value in found.values()]).tolist(), strict=True))
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step - 1)


def _step_order(trainer: L.Trainer) -> StepOrder:
    found: StepOrder = next(callback for callback in trainer.callbacks if isinstance(callback, StepOrder))  # type: ignore[attr-defined]
    return found


class _PenaltyMeasurement:
    """Measures penalties before a step, without the factors on λ.

    The step sets these factors, and `found` multiplies them in.
    """

    def __init__(self, applied: Applied) -> None:
        self.terms: list[tuple[Term, list[Part], Sequence[Tensor]]] = []
        self.penalties: list[tuple[str, Term, Tensor]] = []
        self.below: dict[str, Tensor] = {}
        self.data: dict[tuple[str, int], Tensor] = {}
        for term in applied.terms():
            chosen, parts = term.whole([weight.tensor.grad is not None for weight in term.weights.values()])
            if parts:
                self._take(term, copy.deepcopy(chosen), parts)  # a copy, because measuring may change an estimate inside

    def found(self) -> dict[str, Tensor]:
        """Return `penalty`, `ratio` and `below_beta` of each stage, 0-dim tensors by metric name."""
        found = dict(self.below)
        for name, term, value in self.penalties:
            found[name] = term.factor * value + found.get(name, 0)
        added: dict[tuple[str, int], Tensor] = {}
        for term, parts, gradients in self.terms:
            for part, gradient in zip(parts, gradients, strict=True):
                key = _key(part)
                added[key] = term.factor * gradient + added.get(key, 0)
        for stage in dict.fromkeys(stage for stage, _ in self.data):
            data = torch.stack([norm for key, norm in self.data.items() if key[0] == stage])
            found[f"stage/{stage}/ratio"] = _norm([gradient for key, gradient in added.items() if key[0] == stage]) / _norm([data])
        return found

    def _take(self, term: Term, regularizer: Penalty, parts: list[Part]) -> None:
        values = [part.values().clone() for part in parts]
        self.terms.append((term, parts, regularizer.gradient(values)))
        self.data |= {_key(part): torch.linalg.vector_norm(part.gradient()) for part in parts}
        for stage in dict.fromkeys(part.weight.stage for part in parts):
            index = [place for place, part in enumerate(parts) if part.weight.stage == stage]
            own = regularizer.select(index)
            self.penalties.append((f"stage/{stage}/penalty", term, own.penalty([values[place] for place in index])))
            below = fraction_below_beta(own, [parts[place] for place in index])
            if below is not None:
                self.below[f"stage/{stage}/below_beta"] = below


def _key(part: Part) -> tuple[str, int]:
    return part.weight.stage, id(part.weight.tensor)


def _weight_numbers(
    weights: Mapping[str, Weight], start: Mapping[str, Tensor], before: Mapping[str, Tensor], rates: Mapping[str, float]
) -> dict[str, Tensor]:
    """Return the quantities of each stage that depend only on the weights: 0-dim tensors by metric name."""
    found: dict[str, Tensor] = {}
    for stage in dict.fromkeys(weight.stage for weight in weights.values()):
        names = [name for name, weight in weights.items() if weight.stage == stage]
        tensors = [weights[name].tensor.detach() for name in names]
        rows = [filters(Part(weights[name]._replace(anchor=None), slice(None)).values()) for name in names]
        found[f"stage/{stage}/norm"] = _norm(tensors)
        size = sum(tensor.numel() for tensor in tensors)
        found[f"stage/{stage}/zeros"] = (size - _total([tensor.count_nonzero() for tensor in tensors])) / size
        found[f"stage/{stage}/zero_filters"] = _total([(row.abs().amax(1) == 0).sum() for row in rows])
        found[f"stage/{stage}/drift"] = _moved(tensors, [start[name] for name in names])
        found[f"stage/{stage}/update"] = _moved(tensors, [before[name] for name in names])
        free = [row for row, name in zip(rows, names, strict=True) if weights[name].scale_free == "filter"]
        if free and stage in rates:
            inverse = torch.cat([torch.linalg.vector_norm(row, dim=1) for row in free]).square().reciprocal()
            found[f"stage/{stage}/effective_lr"] = rates[stage] * inverse[inverse.isfinite()].mean()
    return found


def _moved(now: Sequence[Tensor], then: Sequence[Tensor]) -> Tensor:
    """Return ‖w − w'‖/‖w'‖ over several tensors, without a tensor for the whole difference."""
    distances = [torch.dist(one, other) for one, other in zip(now, then, strict=True)]
    return _norm(distances) / _norm(then)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(list(tensors))


def _total(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum()
