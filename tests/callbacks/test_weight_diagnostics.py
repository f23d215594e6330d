"""Each number that WeightDiagnostics logs, computed again from the weights and gradients of the training itself."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger
from torch import Tensor

from seglab.callbacks import StepOrder
from seglab.callbacks.diagnostics import WeightDiagnostics
from seglab.freezing import FrozenEncoder, FullFineTuning
from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.networks import unet
from seglab.regularizers import (
    L1,
    L2,
    Constant,
    Decoupled,
    LinearWarmup,
    PerStage,
    Proximal,
    Regularizer,
    Relative,
    Scheduled,
    SmoothL1,
    Spectral,
    Sum,
)
from tests.nets import Staged, batches, fixed_module, loader, momentum
from tests.trainers import quiet_trainer

LEARNING_RATE = 0.05
STAGES = {
    "encoder.0": "encoder.stem.weight",
    "encoder.1": "encoder.block.weight",
    "decoder": "decoder.up.weight",
    "head": "segmentation_head.weight",
}


class Notes(Logger):
    """Keeps what is logged, by step."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, dict[str, float]] = {}

    name = version = "notes"

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.rows.setdefault(int(step or 0), {}).update(metrics)

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...

    def stages(self) -> dict[int, dict[str, float]]:
        """Return what WeightDiagnostics wrote; the rates are StepOrder's."""
        found = {
            step: {n: v for n, v in row.items() if n.startswith("stage/") and not n.endswith("/lr")} for step, row in self.rows.items()
        }
        return {step: row for step, row in found.items() if row}


class Keep(Callback):
    """Weights before and after each step, and the gradients of the data."""

    def __init__(self) -> None:
        self.start: dict[str, Tensor] = {}
        self.steps: list[dict[str, dict[str, Tensor]]] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.start = weights_of(pl_module)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        gradients = {n: p.grad.clone() for n, p in pl_module.network.named_parameters() if p.grad is not None}
        self.steps.append({"before": weights_of(pl_module), "gradient": gradients})

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if self.steps:
            self.steps[-1]["after"] = weights_of(pl_module)


def weights_of(module: Any) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.network.named_parameters()}


def watched(module: Any, every: int = 1, *, given: Any = None, **settings: Any) -> tuple[Notes, Keep]:
    notes, keep = Notes(), Keep()
    given = batches(5) if given is None else given
    defaults: dict[str, Any] = {"logger": notes, "callbacks": [keep, WeightDiagnostics(every)], "max_epochs": 1, "log_every_n_steps": 1}
    quiet_trainer(**(defaults | settings)).fit(module, loader(given), loader(given))
    return notes, keep


def staged(regularizer: Regularizer | None, **settings: Any) -> Any:
    return fixed_module(regularizer, lambda parameters: torch.optim.SGD(parameters, lr=LEARNING_RATE), net=Staged, **settings)


def norm(tensor: Tensor) -> float:
    return float(tensor.double().norm())


def test_norm_drift_and_update_are_those_of_the_weights() -> None:
    notes, keep = watched(staged(L2(0.1)))
    assert list(notes.stages()) == [0, 1, 2, 3, 4]
    for step, row in notes.stages().items():
        now, before = keep.steps[step]["after"], keep.steps[step]["before"]
        for stage, name in STAGES.items():
            assert row[f"stage/{stage}/norm"] == pytest.approx(norm(now[name]), rel=1e-5)
            assert row[f"stage/{stage}/drift"] == pytest.approx(norm(now[name] - keep.start[name]) / norm(keep.start[name]), rel=1e-4)
            assert row[f"stage/{stage}/update"] == pytest.approx(norm(now[name] - before[name]) / norm(before[name]), rel=1e-4)
    assert not any(name.endswith(("effective_lr", "below_beta")) for row in notes.stages().values() for name in row)


def test_zeros_are_counted_by_element_and_by_output_filter() -> None:
    module = staged(Proximal(L1(0.8)))
    with torch.no_grad():
        module.network.encoder.stem.weight[2] = 0
        module.network.decoder.up.weight[:, 1] = 0  # an output filter of a transposed convolution
    notes, keep = watched(module)
    found = 0
    for step, row in notes.stages().items():
        for stage, name in STAGES.items():
            weight = keep.steps[step]["after"][name]
            rows = (weight.transpose(0, 1) if stage == "decoder" else weight).flatten(1)
            assert row[f"stage/{stage}/zeros"] == pytest.approx(float((weight == 0).float().mean()))
            assert row[f"stage/{stage}/zero_filters"] == int((rows == 0).all(1).sum())
            found += int(row[f"stage/{stage}/zero_filters"])
    assert found > 0


def test_penalty_and_ratio_are_those_of_the_gradients() -> None:
    notes, keep = watched(staged(Sum([L2(0.3), PerStage({"encoder": L1(0.02)}), Decoupled(L2(0.2))])))
    for step, row in notes.stages().items():
        for stage, name in STAGES.items():
            w, gradient = keep.steps[step]["before"][name], keep.steps[step]["gradient"][name]
            l1 = 0.02 if stage.startswith("encoder") else 0.0
            penalty = 0.25 * float(w.square().sum()) + l1 * float(w.abs().sum())
            assert row[f"stage/{stage}/penalty"] == pytest.approx(penalty, rel=1e-4)
            assert row[f"stage/{stage}/ratio"] == pytest.approx(norm(0.5 * w + l1 * w.sign()) / norm(gradient), rel=1e-4)


def test_the_fraction_below_beta_is_that_of_each_stage() -> None:
    notes, keep = watched(staged(SmoothL1(0.1, kappa=0.7)))
    for step, row in notes.stages().items():
        for stage, name in STAGES.items():
            w, beta = keep.steps[step]["before"][name], 0.7 * float(keep.start[name].std(correction=0))
            assert row[f"stage/{stage}/below_beta"] == pytest.approx(float((w.abs() < beta).float().mean()), abs=1e-6)
            assert 0 < row[f"stage/{stage}/below_beta"] < 1


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_effective_rate_is_the_rate_over_the_squared_norm_of_free_filters(scale: float) -> None:
    torch.manual_seed(0)
    network = unet("tu-test_resnet", 4)
    module = SegmentationModule(
        network, CrossEntropy(), num_classes=4, freeze=FullFineTuning(scale), optimizer=lambda p: torch.optim.SGD(p, lr=LEARNING_RATE)
    )
    free = {name: weight.stage for name, weight in module.weights().items() if weight.scale_free == "filter"}
    notes, keep = watched(module, given=batches(2, images=2, side=32))
    for step, row in notes.stages().items():
        for stage in set(free.values()):
            squared = torch.cat([keep.steps[step]["after"][n].flatten(1).square().sum(1) for n, s in free.items() if s == stage])
            rate = LEARNING_RATE * (scale if stage.startswith("encoder") else 1.0)
            assert row[f"stage/{stage}/effective_lr"] == pytest.approx(rate * float((1 / squared).mean()), rel=1e-4)
        assert "stage/head/effective_lr" not in row


@pytest.mark.parametrize(("every", "expected"), [(2, [0, 2, 4]), (3, [0, 3, 4]), (100, [0, 4]), (1, [0, 1, 2, 3, 4])])
def test_the_first_and_the_last_step_are_among_those_logged(every: int, expected: list[int]) -> None:
    notes, _ = watched(staged(None), every)
    assert list(notes.stages()) == expected


def test_with_accumulation_it_looks_at_whole_steps() -> None:
    """Five batches in twos make three steps an epoch; two epochs."""
    notes, keep = watched(staged(L2(0.3)), 2, accumulate_grad_batches=2, max_epochs=2)
    assert list(notes.stages()) == [0, 2, 4, 5]
    for step, row in notes.stages().items():
        for stage, name in STAGES.items():
            before, after = keep.steps[step]["before"][name], keep.steps[step]["after"][name]
            assert row[f"stage/{stage}/update"] == pytest.approx(norm(after - before) / norm(before), rel=1e-4)
            assert row[f"stage/{stage}/ratio"] == pytest.approx(0.3 * norm(before) / norm(keep.steps[step]["gradient"][name]), rel=1e-4)


def test_the_factor_on_the_strength_is_in_the_penalty() -> None:
    notes, keep = watched(staged(Scheduled(L2(0.4), Constant(0.5))))
    for step in (1, 2, 3, 4):
        w = keep.steps[step]["before"][STAGES["head"]]
        assert notes.stages()[step]["stage/head/penalty"] == pytest.approx(0.1 * float(w.square().sum()), rel=1e-4)


@pytest.mark.parametrize(
    ("regularizer", "factors"),
    [
        (Scheduled(L2(0.4), LinearWarmup(0.8)), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (Relative(L2(1e6), 0.1, after=0.5, steps=1), [0.0, 0.0, 0.0]),
        (Scheduled(L2(0.4), Constant(0.5)), [0.5, 0.5]),
    ],
    ids=repr,
)
def test_the_penalty_logged_is_that_of_the_step(regularizer: Regularizer, factors: list[float]) -> None:
    notes, keep = watched(staged(regularizer))
    for step, factor in enumerate(factors):
        w = keep.steps[step]["before"][STAGES["head"]]
        strength = 1e6 if isinstance(regularizer, Relative) else 0.4
        expected = 0.5 * strength * factor * float(w.square().sum())
        assert notes.stages()[step]["stage/head/penalty"] == pytest.approx(expected, rel=1e-4, abs=1e-9)


UNCHANGED = [None, L2(0.1), Proximal(L1(0.05)), Relative(L2(1.0), 0.1, after=0.0, steps=2), Spectral(0.3), Decoupled(Spectral(0.3))]


@pytest.mark.parametrize("regularizer", UNCHANGED, ids=repr)
def test_looking_does_not_change_the_training(regularizer: Regularizer | None) -> None:
    """Nor the estimate of a spectral norm, which goes on from one step to the next."""
    found = []
    for callbacks in ([WeightDiagnostics(1)], []):
        module = staged(regularizer)
        quiet_trainer(callbacks=callbacks, max_epochs=2).fit(module, loader(), loader())
        found.append(weights_of(module))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_without_it_nothing_of_the_sort_is_logged() -> None:
    notes = Notes()
    quiet_trainer(logger=notes, log_every_n_steps=1).fit(staged(L2(0.1)), loader(), loader())
    assert notes.rows
    assert notes.stages() == {}


def test_without_a_penalty_there_is_no_ratio() -> None:
    notes, _ = watched(staged(None))
    names = {name.rpartition("/")[2] for row in notes.stages().values() for name in row}
    assert names == {"norm", "zeros", "zero_filters", "drift", "update"}


def test_what_nothing_trains_does_not_move() -> None:
    notes, _ = watched(staged(L2(0.3), freeze=FrozenEncoder()))
    for row in notes.stages().values():
        assert row["stage/encoder.0/drift"] == row["stage/encoder.0/update"] == 0
        assert "stage/encoder.0/penalty" not in row
        assert row["stage/head/penalty"] > 0


def test_a_penalty_of_a_frozen_stage_alone_is_left_out() -> None:
    notes, _ = watched(staged(PerStage({"encoder": L2(0.3), "head": L2(0.3)}), freeze=FrozenEncoder()))
    assert all("stage/encoder.0/penalty" not in row and row["stage/head/penalty"] > 0 for row in notes.stages().values())


def test_after_the_step_order_it_would_see_the_penalty_and_is_refused() -> None:
    class Reversed(SegmentationModule):
        def configure_callbacks(self) -> list[Callback]:
            return [StepOrder(), WeightDiagnostics()]

    with pytest.raises(ValueError, match="must run before the module's StepOrder"):
        quiet_trainer().fit(staged(L2(0.1), kind=Reversed), loader(), loader())


@pytest.mark.parametrize("every", [0, -3])
def test_an_interval_below_one_is_refused(every: int) -> None:
    with pytest.raises(ValueError, match="leave the callback out"):
        WeightDiagnostics(every)


def test_a_real_logger_gets_finite_numbers(tmp_path: Path) -> None:
    trainer = quiet_trainer(logger=CSVLogger(tmp_path, name="", version=""), callbacks=[WeightDiagnostics(2)], log_every_n_steps=1)
    trainer.fit(fixed_module(L2(0.1), momentum), loader(), loader())
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    place = header.split(",").index("stage/network/effective_lr")
    values = [float(row.split(",")[place]) for row in rows if row.split(",")[place]]
    assert len(values) == 4  # of six steps: 0, 2, 4 and the last
    assert all(math.isfinite(value) and value > 0 for value in values)
