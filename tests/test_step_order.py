"""The order of a training step, and what follows from it: a penalty beside the loss is the penalty in the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from torch import Tensor, nn

from seglab.callbacks import FiniteLoss, NonFiniteLossError, StepOrder
from seglab.callbacks.trainable import TrainableStages
from seglab.data import SegmentationDataModule
from seglab.freezing import FreezeSchedule, FrozenEncoder, FullFineTuning
from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.networks import unet
from seglab.regularizers import L1, L2, Applied, ElasticNet, Proximal, Regularizer, Route, SmoothL1, StepSizes, Term, Weight
from seglab.regularizers.weight import full_precision
from seglab.sample import Batch
from seglab.stage import Progress, Stage
from tests.trainers import quiet_trainer

ENCODER = "tu-test_resnet"
REGULARIZERS = [L1(1e-2), L2(1e-1), ElasticNet(1e-2, 1e-1), SmoothL1(1e-2, kappa=0.5), SmoothL1(1e-2, beta=0.02)]


class Small(nn.Module):
    """Two convolutions with a norm between: quick, and all that a penalty can tell apart."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.last(self.norm(self.first(image)).relu())
        return logits


class PenaltyInTheLoss(SegmentationModule):
    """The independent route: λR added to the loss, differentiated with it."""

    penalty: Regularizer

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        weights = [weight.tensor for weight in self.weights().values() if weight.kind == "weight"]
        if not hasattr(self, "fixed"):
            self.fixed = self.penalty.fixed(weights)
        return super().training_step(batch, batch_idx) + self.fixed.penalty(weights)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, eps=1e-3)  # an ε that does not amplify rounding into steps


def train(module: SegmentationModule, data: SegmentationDataModule, **settings: object) -> dict[str, Tensor]:
    torch.manual_seed(1)
    quiet_trainer(**settings).fit(module, datamodule=data)
    return {name: value.clone() for name, value in module.network.state_dict().items()}


def built(kind: type[SegmentationModule] = SegmentationModule, **settings: Any) -> Any:
    torch.manual_seed(0)
    return kind(Small(), CrossEntropy(), num_classes=4, **settings)


@pytest.mark.parametrize("optimizer", [sgd, adam], ids=["momentum", "adamw"])
@pytest.mark.parametrize(
    "settings", [{}, {"gradient_clip_val": 0.5}, {"accumulate_grad_batches": 3}], ids=["plain", "clipped", "accumulated"]
)
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_the_gradient_route_is_the_loss_route(
    regularizer: Regularizer, settings: dict[str, Any], optimizer: Any, shapes: SegmentationDataModule
) -> None:
    beside = built(regularizer=regularizer, optimizer=optimizer)
    inside = built(PenaltyInTheLoss, optimizer=optimizer)
    inside.penalty = regularizer
    without = built(optimizer=optimizer)
    settings = settings | {"max_epochs": 3}  # 3 batches an epoch: accumulating 3 divides it
    ours, theirs, none = train(beside, shapes, **settings), train(inside, shapes, **settings), train(without, shapes, **settings)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=2e-6)
    assert max(float((ours[name] - none[name]).abs().max()) for name in ours) > 1e-4, "the penalty had no effect to compare"


@dataclass(frozen=True)
class Slope(Regularizer):
    """Σw: its gradient is 1 everywhere, so that weights count the penalties they got."""

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return torch.stack([weight.sum() for weight in weights]).sum()


class NoLoss(nn.Module):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return 0.0 * logits.sum()


def test_in_a_ragged_window_the_penalty_keeps_its_weight(shapes: SegmentationDataModule) -> None:
    """Accumulating 2 over 3 batches leaves a window of one: half a penalty by the loss route, a whole one by ours."""

    def plain_sgd(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=1.0)

    moved = {}
    for kind in (SegmentationModule, PenaltyInTheLoss):
        torch.manual_seed(0)
        module = kind(Small(), NoLoss(), num_classes=4, regularizer=Slope() if kind is SegmentationModule else None, optimizer=plain_sgd)
        module.penalty = Slope()  # type: ignore[assignment]
        before = module.network.first.weight.detach().clone()  # type: ignore[operator, union-attr]
        after = train(module, shapes, max_epochs=1, accumulate_grad_batches=2)["first.weight"]
        moved[kind] = float((before - after).mean())
    assert moved[SegmentationModule] == pytest.approx(2.0, abs=1e-5)
    assert moved[PenaltyInTheLoss] == pytest.approx(1.5, abs=1e-5)


@dataclass(frozen=True)
class Spy(Regularizer):
    """Writes down what happens when, and adds a large gradient."""

    events: list[tuple[str, float]]

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return 100 * torch.stack([weight.sum() for weight in weights]).sum()

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        return SpyApplied(self, weights)


class SpyApplied(Term):
    @property
    def tensors(self) -> list[Tensor]:
        return [weight.tensor for weight in self.weights.values()]

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        events = self.regularizer.events  # type: ignore[attr-defined]
        norm = torch.nn.utils.get_total_norm([tensor.grad for tensor in self.tensors if tensor.grad is not None])
        events.append(("penalty sees the gradient of the data", float(norm)))
        for tensor, gradient in zip(self.tensors, self.regularizer.gradient([full_precision(t) for t in self.tensors]), strict=True):
            assert tensor.grad is not None
            tensor.grad += gradient

    def after_update(self, steps: StepSizes) -> None:
        self.regularizer.events.append(("prox with rate", steps.uniform(self.tensors)[0]))  # type: ignore[attr-defined]


class Doubled(FreezeSchedule):
    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 2.0


def test_the_order_of_a_step(shapes: SegmentationDataModule) -> None:
    events: list[tuple[str, float]] = []
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)  # after this torch runs hooks for SGD.step and for a subclass's step

    class Recording(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            def recorded() -> Any:
                events.append(("backward", 0.0))
                loss = closure()
                gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
                events.append(("clipped gradient", float(torch.nn.utils.get_total_norm(gradients))))
                events.append(("update with rate", self.param_groups[0]["lr"]))
                return loss

            return super().step(recorded)

    module = built(regularizer=Spy(events), freeze=Doubled(), optimizer=lambda parameters: Recording(parameters, lr=0.01))
    train(module, shapes, max_epochs=1, limit_train_batches=1, gradient_clip_val=1.0)
    assert [name for name, _ in events] == [
        "backward",
        "penalty sees the gradient of the data",
        "clipped gradient",
        "update with rate",
        "prox with rate",
    ]
    values = dict(events)
    assert values["penalty sees the gradient of the data"] < 50
    assert values["clipped gradient"] == pytest.approx(1.0, rel=1e-3)  # 100 per weight would be far more: clipping came after the penalty
    assert values["update with rate"] == values["prox with rate"] == pytest.approx(0.02)


def test_the_rate_is_restored_for_the_scheduler(shapes: SegmentationDataModule) -> None:
    module = built(
        freeze=Doubled(),
        optimizer=sgd,
        scheduler=lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=steps),
    )
    plain = built(
        optimizer=sgd, scheduler=lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=steps)
    )
    rates = []
    for this in (module, plain):
        trainer = quiet_trainer(max_epochs=2, limit_train_batches=2)
        trainer.fit(this, datamodule=shapes)
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])
    assert rates[0] == rates[1]


def test_a_subclass_that_forgets_super_loses_nothing(shapes: SegmentationDataModule) -> None:
    class Forgetful(SegmentationModule):
        def on_train_start(self) -> None: ...
        def on_train_epoch_start(self) -> None: ...
        def on_before_optimizer_step(self, optimizer: Any) -> None: ...
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None: ...
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer.step(closure=optimizer_closure)

    ours = train(built(Forgetful, regularizer=L2(0.1), optimizer=sgd), shapes)
    expected = train(built(regularizer=L2(0.1), optimizer=sgd), shapes)
    for name in expected:
        assert torch.equal(ours[name], expected[name])


@pytest.mark.parametrize("regularizer", [L2(0.1), Proximal(L1(0.1))], ids=repr)
def test_a_frozen_encoder_is_bit_identical_afterwards(regularizer: Regularizer, shapes: SegmentationDataModule) -> None:
    torch.manual_seed(0)
    module = SegmentationModule(unet(ENCODER, 4), CrossEntropy(), num_classes=4, regularizer=regularizer, freeze=FrozenEncoder())
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    after = train(module, shapes, limit_val_batches=1)
    for name, value in after.items():
        if name.startswith("encoder."):
            assert torch.equal(value, before[name]), name  # running statistics of the norm layers included
    assert any(not torch.equal(value, before[name]) for name, value in after.items() if name.startswith("decoder."))
    assert all(parameter.grad is None for parameter in module.network.get_submodule("encoder").parameters())


def test_full_fine_tuning_scales_the_encoder_alone(shapes: SegmentationDataModule) -> None:
    torch.manual_seed(0)
    start = unet(ENCODER, 4)
    moved = []
    for freeze in (FullFineTuning(encoder=0.1), None):
        network = unet(ENCODER, 4)
        network.load_state_dict(start.state_dict())
        module = SegmentationModule(
            network, CrossEntropy(), num_classes=4, freeze=freeze, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01)
        )
        after = train(module, shapes, max_epochs=1, limit_train_batches=1)
        moved.append({name: after[name] - value for name, value in start.named_parameters()})
    for name in moved[0]:
        factor = 0.1 if name.startswith("encoder.") else 1.0
        torch.testing.assert_close(moved[0][name], factor * moved[1][name], rtol=1e-3, atol=1e-7)


def test_proximal_l1_leaves_exact_zeros_in_a_network(shapes: SegmentationDataModule) -> None:
    weights = train(built(regularizer=Proximal(L1(0.05)), optimizer=adam), shapes, max_epochs=5)["first.weight"]
    assert 0.05 < float((weights == 0).float().mean()) < 1
    subgradient = train(built(regularizer=L1(0.05), optimizer=adam), shapes, max_epochs=5)["first.weight"]
    assert int((subgradient == 0).sum()) == 0


def test_a_schedule_that_trains_nothing_is_refused(shapes: SegmentationDataModule) -> None:
    class Nothing(FreezeSchedule):
        def lr_scale(self, stage: Stage, progress: Progress) -> float:
            return 0.0

    with pytest.raises(ValueError, match="trains no stage at step 0"):
        train(built(freeze=Nothing()), shapes)


def test_every_module_brings_its_step_order() -> None:
    assert any(isinstance(callback, StepOrder) for callback in built().configure_callbacks())


def test_what_somebody_froze_by_hand_stays_frozen(shapes: SegmentationDataModule) -> None:
    torch.manual_seed(0)
    network = unet(ENCODER, 4)
    for parameter in network.encoder.parameters():  # type: ignore[union-attr]
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in network.named_parameters()}
    train(SegmentationModule(network, CrossEntropy(), num_classes=4, regularizer=L2(0.1)), shapes)
    for name, value in network.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name


def test_a_fused_optimizer_under_a_gradient_scaler_is_refused(shapes: SegmentationDataModule) -> None:
    """Its gradients stay scaled until the update: a penalty beside them would vanish."""
    from lightning.pytorch.plugins.precision import MixedPrecision

    def fused(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.01, fused=True)

    scaled = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))
    with pytest.raises(ValueError, match="fused=False"):
        train(built(regularizer=L2(0.1), optimizer=fused), shapes, plugins=[scaled])


def test_parameters_that_would_never_train_are_refused(shapes: SegmentationDataModule) -> None:
    class WithLayer(SegmentationModule):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self.extra = nn.Linear(2, 2)

    with pytest.raises(ValueError, match=r"extra\.weight"):
        train(built(WithLayer), shapes)


def test_a_plateau_is_stepped_when_there_is_a_validation(shapes: SegmentationDataModule) -> None:
    module = built(
        optimizer=sgd, scheduler=lambda optimizer, steps: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0)
    )
    train(module, shapes, max_epochs=4, limit_val_batches=1, check_val_every_n_epoch=2)


def test_weights_that_are_not_finite_are_not_scored(shapes: SegmentationDataModule) -> None:
    """The last update may spoil them, and no training loss sees it."""
    module = built()
    with torch.no_grad():
        module.network.first.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteLossError, match="not finite"):
        quiet_trainer(callbacks=[FiniteLoss()]).test(module, datamodule=shapes)


def test_norms_that_were_replaced_are_frozen_too(shapes: SegmentationDataModule) -> None:
    """Lightning puts synchronised batch norms in the place of the others after the module was built."""
    module = SegmentationModule(unet(ENCODER, 4), CrossEntropy(), num_classes=4, freeze=FrozenEncoder())
    module.network = nn.SyncBatchNorm.convert_sync_batchnorm(module.network)
    trainable = TrainableStages(module)
    module.network.train()
    trainable.set(frozenset({"decoder", "head"}), torch.optim.SGD(module.parameters(), lr=0.1))
    norms = {name: norm.training for name, norm in module.network.named_modules() if isinstance(norm, nn.SyncBatchNorm)}
    assert norms
    assert all(training != name.startswith("encoder.") for name, training in norms.items())


class EncoderFrom(FreezeSchedule):
    """The encoder trains after a fraction of the training."""

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 1.0 if stage.part != "encoder" or progress.fraction >= 0.5 else 0.0


@pytest.mark.parametrize("settings", [{"max_steps": 12, "max_epochs": -1}, {"max_steps": 12, "max_epochs": 1000}, {"max_epochs": 4}])
def test_a_schedule_follows_the_planned_steps_however_they_are_planned(settings: dict[str, Any], shapes: SegmentationDataModule) -> None:
    seen: list[bool] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: object) -> None:
            training = {part.training for part in pl_module.network.encoder.modules() if isinstance(part, nn.BatchNorm2d)}
            trains = {parameter.requires_grad for parameter in pl_module.network.encoder.parameters()}
            assert training == trains
            seen.append(trains == {True})

    torch.manual_seed(0)
    module = SegmentationModule(unet(ENCODER, 4), CrossEntropy(), num_classes=4, freeze=EncoderFrom())
    quiet_trainer(callbacks=[Watch()], limit_val_batches=0, **settings).fit(module, datamodule=shapes)
    assert seen == [False] * 6 + [True] * 6  # 3 batches an epoch


def test_a_training_without_a_planned_end_is_refused(shapes: SegmentationDataModule) -> None:
    with pytest.raises(ValueError, match="give max_epochs or max_steps"):
        quiet_trainer(max_epochs=-1, max_time="00:00:01:00").fit(built(), datamodule=shapes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"callbacks": [GradientAccumulationScheduler({1: 2})]}, r"GradientAccumulationScheduler\({1: 2, 0: 1}\) changes the number"),
        ({"callbacks": [GradientAccumulationScheduler({0: 2})]}, "give the Trainer accumulate_grad_batches"),
        ({"precision": "bf16-true"}, "precision bf16-true holds the weights in half precision.*use bf16-mixed"),
        ({"precision": "16-true"}, "use 16-mixed"),
    ],
)
def test_a_training_that_would_not_be_what_its_settings_say_is_refused(
    settings: dict[str, Any], message: str, shapes: SegmentationDataModule
) -> None:
    with pytest.raises(ValueError, match=message):
        quiet_trainer(**settings).fit(built(), datamodule=shapes)


def test_an_accumulation_schedule_that_accumulates_nothing_is_accepted(shapes: SegmentationDataModule) -> None:
    trainer = quiet_trainer(callbacks=[GradientAccumulationScheduler({0: 1})], max_steps=1)
    trainer.fit(built(), datamodule=shapes)
    assert trainer.global_step == 1


def test_a_trainer_is_for_one_training(shapes: SegmentationDataModule, tmp_path: Path) -> None:
    """Lightning would leave the second module untrained, as the trainer is at its end, and only log a line."""
    trainer = quiet_trainer(max_epochs=1)
    module = built()
    trainer.validate(module, datamodule=shapes, verbose=False)
    trainer.fit(module, datamodule=shapes)
    steps = trainer.global_step
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    trainer.fit_loop.max_epochs = 2
    with pytest.raises(ValueError, match=f"has already trained {steps} steps: make a new Trainer for each training"):
        trainer.fit(built(), datamodule=shapes)
    trainer.fit(built(), datamodule=shapes, ckpt_path=tmp_path / "a.ckpt")
    assert trainer.global_step == 2 * steps


@pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode at the start")
def test_what_a_schedule_froze_can_train_again(shapes: SegmentationDataModule) -> None:
    torch.manual_seed(0)
    module = SegmentationModule(unet(ENCODER, 4), CrossEntropy(), num_classes=4, freeze=FrozenEncoder())
    train(module, shapes)
    assert not any(parameter.requires_grad for parameter in module.network.get_submodule("encoder").parameters())
    assert not any(part.training for part in module.network.encoder.modules() if isinstance(part, nn.BatchNorm2d))  # type: ignore[union-attr]
    module.freeze_schedule = None
    train(module, shapes)
    assert all(parameter.requires_grad for parameter in module.network.get_submodule("encoder").parameters())
    assert all(part.training for part in module.network.modules())
