"""Schedules in real trainings: frozen weights stay, a resume changes nothing, rates scale those of any scheduler."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, OnExceptionCheckpoint
from torch import Tensor, nn

from seglab.callbacks import StepOrder, StepRandomness
from seglab.callbacks.trainable import TrainableStages
from seglab.freezing import LPFT, FreezeSchedule, Surgical
from seglab.networks import unet
from seglab.regularizers import L2, Decoupled, Proximal, Regularizer, SmoothL1
from seglab.stage import Progress
from tests.freezing.deep import EPOCHS, SCHEDULERS, SCHEDULES, Deep
from tests.nets import adamw, batches, fixed_module, loader, momentum
from tests.trainers import quiet_trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore:The dirpath has changed", "ignore:Found .* module.s. in eval mode at the start", "ignore:Be aware that when using `ckpt_path`"
)

STEPS_PER_EPOCH = 3


class Watch(Callback):
    """Keeps, for each step, the state of all that a frozen stage must not change, and the rates that were applied."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.trained: list[set[str]] = []
        self.in_train_mode: list[set[str]] = []
        self.with_state: list[set[str]] = []
        self.rates: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: object) -> None:
        network, (optimizer,) = pl_module.network, trainer.optimizers
        order = next(callback for callback in trainer.callbacks if isinstance(callback, StepOrder))  # type: ignore[attr-defined]
        self.states.append({name: value.clone() for name, value in network.state_dict().items()})
        self.trained.append({name for name, parameter in network.named_parameters() if parameter.requires_grad})
        self.in_train_mode.append({path for path, module in network.named_modules() if module.training and not list(module.children())})
        self.with_state.append({name for name, parameter in network.named_parameters() if optimizer.state.get(parameter)})
        self.rates.append(dict(order.rates))


def fitted(
    schedule: FreezeSchedule,
    folder: Path | None = None,
    optimizer: Any = adamw,
    regularizer: Regularizer | None = None,
    scheduler: Any = None,
    **settings: Any,
) -> tuple[Any, L.Trainer, Watch]:
    """Train four epochs of three steps with dropout, and save a checkpoint after each epoch if `folder` is given."""
    module = fixed_module(regularizer, optimizer, net=partial(Deep, dropout=0.3), freeze=schedule, scheduler=scheduler)
    watch = Watch()
    checkpoints = [] if folder is None else [ModelCheckpoint(folder, "{epoch}", save_top_k=-1, every_n_epochs=1)]
    trainer = quiet_trainer(
        max_epochs=EPOCHS, limit_val_batches=1, enable_checkpointing=folder is not None, callbacks=[StepRandomness(3), watch, *checkpoints]
    )
    trainer.fit(module, loader(), loader(), **settings)
    return module, trainer, watch


def expected_to_train(schedule: FreezeSchedule, module: Any, step: int) -> set[str]:
    """The parameters that a schedule lets train at a step, out of its definition."""
    progress = Progress(step, EPOCHS * STEPS_PER_EPOCH, STEPS_PER_EPOCH)
    return {name for stage, names in module.stages.stages.items() if schedule.lr_scale(stage, progress) > 0 for name in names}


@pytest.mark.parametrize("optimizer", [momentum, adamw])
@pytest.mark.parametrize("regularizer", [None, Proximal(SmoothL1(0.1, beta=0.05)), Decoupled(L2(0.5))], ids=repr)
@pytest.mark.parametrize("name", SCHEDULES)
def test_what_is_frozen_stays_as_it_is(name: str, regularizer: Regularizer | None, optimizer: Any) -> None:
    """Weights, biases, norm parameters and norm statistics, bit by bit, at every step; and what trains does move."""
    module, _, watch = fitted(SCHEDULES[name], optimizer=optimizer, regularizer=regularizer)
    first = fixed_module(None, net=partial(Deep, dropout=0.3)).network.state_dict()
    for step, (before, after) in enumerate(zip([first, *watch.states], watch.states, strict=False)):
        trains = expected_to_train(SCHEDULES[name], module, step)
        assert watch.trained[step] == trains
        frozen_parts = {path.rpartition(".")[0] for path in before} - {path.rpartition(".")[0] for path in trains}
        for path, value in before.items():
            if path.rpartition(".")[0] in frozen_parts:
                assert torch.equal(after[path], value), (step, path)
            elif path in trains and path.endswith("weight"):
                assert not torch.equal(after[path], value), (step, path)


@pytest.mark.parametrize("name", SCHEDULES)
def test_frozen_modules_are_in_evaluation_mode_and_have_no_optimizer_state(name: str) -> None:
    """After every step, with a validation between the epochs, which puts modules into other modes and back."""
    module, _, watch = fitted(SCHEDULES[name])
    network = module.network
    for step, in_train_mode in enumerate(watch.in_train_mode):
        trains = expected_to_train(SCHEDULES[name], module, step)
        frozen = [f"encoder.blocks.{place}" for place in range(3) if f"encoder.blocks.{place}.conv.weight" not in trains]
        for path, part in network.named_modules():
            if not list(part.children()) and path:
                assert (path in in_train_mode) == (path.rpartition(".")[0] not in frozen) or not path.startswith("encoder"), (step, path)
        assert watch.with_state[step] == trains


def test_frozen_modules_survive_a_call_of_train() -> None:
    class Calling(Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
            pl_module.train()

    module = fixed_module(None, net=partial(Deep, dropout=0.3), freeze=SCHEDULES["frozen"])
    before = {name: value.clone() for name, value in module.network.encoder.state_dict().items()}
    quiet_trainer(callbacks=[Calling()]).fit(module, loader(), loader())
    for name, value in module.network.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def flat(state: Any) -> list[Any]:
    """The leaves of nested dicts and lists, in order, with the keys on the way."""
    if isinstance(state, dict):
        return [leaf for key, item in state.items() for leaf in (key, *flat(item))]
    return [leaf for item in state for leaf in flat(item)] if isinstance(state, list | tuple) else [state]


def same(one: Any, other: Any) -> bool:
    ours, theirs = flat(one), flat(other)
    return len(ours) == len(theirs) and all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_resumed_in_any_phase_is_uninterrupted(name: str, scheduler: str, tmp_path: Path) -> None:
    """Weights, norm statistics, optimizer, scheduler and applied rates, bit by bit, after each of the epochs."""
    whole, trainer, watch = fitted(SCHEDULES[name], tmp_path, scheduler=SCHEDULERS[scheduler])
    for epoch in range(EPOCHS - 1):
        settings: dict[str, Any] = {"ckpt_path": tmp_path / f"epoch={epoch}.ckpt", "weights_only": True}
        module, again, rest = fitted(SCHEDULES[name], scheduler=SCHEDULERS[scheduler], **settings)
        assert same(module.network.state_dict(), whole.network.state_dict()), epoch
        assert same(again.optimizers[0].state_dict(), trainer.optimizers[0].state_dict()), epoch
        assert rest.rates == watch.rates[(epoch + 1) * STEPS_PER_EPOCH :], epoch
        for ours, theirs in zip(again.lr_scheduler_configs, trainer.lr_scheduler_configs, strict=True):
            assert same(ours.scheduler.state_dict(), theirs.scheduler.state_dict()), epoch


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_rates_are_those_of_the_scheduler_times_the_factor(scheduler: str) -> None:
    """Compare with the same training without a schedule; rates that follow what was learned are left out."""
    if scheduler == "plateau":
        pytest.skip("its rates depend on what was learned")
    _, _, plain = fitted(Surgical(["encoder", "decoder", "head"]), scheduler=SCHEDULERS[scheduler])
    for name in ("layer-wise", "gradual × layer-wise, warmed up", "freeze out"):
        module, _, watch = fitted(SCHEDULES[name], scheduler=SCHEDULERS[scheduler])
        for step, (rates, unscaled) in enumerate(zip(watch.rates, plain.rates, strict=True)):
            progress = Progress(step, EPOCHS * STEPS_PER_EPOCH, STEPS_PER_EPOCH)
            for stage in module.stages.stages:
                expected = unscaled[stage.name] * SCHEDULES[name].lr_scale(stage, progress)
                assert rates[stage.name] == pytest.approx(expected, rel=1e-12, abs=0), (step, stage.name)


@pytest.mark.parametrize("every", [1, 2])
def test_a_plateau_is_stepped_once_a_validation_before_the_checkpoint(every: int, tmp_path: Path) -> None:
    module = fixed_module(None, adamw, net=Deep, scheduler=SCHEDULERS["plateau"])
    checkpoints = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    settings: dict[str, Any] = {"limit_val_batches": 1, "check_val_every_n_epoch": every, "enable_checkpointing": True}
    quiet_trainer(max_epochs=EPOCHS, callbacks=[checkpoints], **settings).fit(module, loader(), loader())
    saved = {path.stem: torch.load(path, weights_only=True) for path in tmp_path.glob("*.ckpt")}
    stepped = {name: content["lr_schedulers"][0]["last_epoch"] for name, content in saved.items()}
    assert stepped == {f"epoch={epoch}": (epoch + 1) // every for epoch in range(every - 1, EPOCHS, every)}


def test_a_plateau_ignores_the_sanity_check() -> None:
    module = fixed_module(None, adamw, net=Deep, scheduler=SCHEDULERS["plateau"])
    trainer = quiet_trainer(max_epochs=2, limit_val_batches=1, num_sanity_val_steps=1)
    trainer.fit(module, loader(), loader())
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 2


def test_epochs_are_counted_in_optimizer_steps_where_the_last_window_is_ragged() -> None:
    """Accumulating 2 over 3 batches makes two steps an epoch; the set of stages changes between windows alone."""
    watch = Watch()
    module = fixed_module(None, adamw, net=Deep, freeze=LPFT(1))
    quiet_trainer(max_epochs=3, accumulate_grad_batches=2, callbacks=[watch]).fit(module, loader(), loader())
    trains = ["encoder.blocks.0.conv.weight" in names for names in watch.trained]
    assert trains == [False] * 3 + [True] * 6


@pytest.mark.filterwarnings("ignore:.*ckpt_path=")
def test_a_checkpoint_of_a_broken_off_step_has_the_scheduler_s_rates(tmp_path: Path) -> None:
    """Lightning's own callback saves when the forward pass fails, within the step that the optimizer has begun."""

    class Failing(Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 4:
                pl_module.loss.forward = None

    module = fixed_module(None, adamw, net=Deep, freeze=SCHEDULES["layer-wise"])
    with pytest.raises(TypeError):
        quiet_trainer(enable_checkpointing=True, callbacks=[Failing(), OnExceptionCheckpoint(tmp_path, "broken")]).fit(
            module, loader(), loader()
        )
    (optimizer,) = torch.load(tmp_path / "broken.ckpt", weights_only=True)["optimizer_states"]
    assert [group["lr"] for group in optimizer["param_groups"]] == [1e-2] * 5


def test_what_a_hook_froze_by_hand_stays_frozen() -> None:
    """After the module was set up, and before the training."""

    class ByHand(Callback):
        def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
            pl_module.network.encoder.blocks[0].requires_grad_(False)

    module = fixed_module(None, adamw, net=Deep, freeze=SCHEDULES["gradual"])
    before = module.network.encoder.blocks[0].conv.weight.detach().clone()
    quiet_trainer(max_epochs=EPOCHS, callbacks=[ByHand()]).fit(module, loader(), loader())
    assert torch.equal(module.network.encoder.blocks[0].conv.weight, before)


def test_another_schedule_does_not_resume(tmp_path: Path) -> None:
    fitted(SCHEDULES["gradual"], tmp_path)
    with pytest.raises(ValueError, match=r"with the freeze schedule GradualUnfreeze\(every=1\) and this training has LPFT\(probe=1\)"):
        fitted(LPFT(1), ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True)


def counted(sizes: list[int], tensor: Tensor) -> Tensor:
    """Note the size of a tensor that autograd saves."""
    sizes.append(tensor.numel())
    return tensor


def test_frozen_shallow_stages_keep_no_activations_and_run_no_backward() -> None:
    """The graph of a step has no node of theirs, and autograd saves less of the forward pass."""
    saved: dict[str, int] = {}
    for name in ("full", "frozen"):
        module, _, _ = fitted(SCHEDULES[name])
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(partial(counted, sizes), lambda it: it):
            logits = module(batches()[0].image)
        saved[name] = sum(sizes)
        assert convolutions(logits) == (5 if name == "full" else 2)
    assert saved["frozen"] < 0.75 * saved["full"]  # decoder and head keep theirs


def convolutions(tensor: Tensor) -> int:
    """Count the convolutions of the backward pass."""
    seen, todo = set(), [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [following for following, _ in node.next_functions]
    return sum(node.name() == "ConvolutionBackward0" for node in seen)


def test_phases_are_among_the_settings_of_the_loggers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = L.pytorch.loggers.CSVLogger(tmp_path)
    module = fixed_module(None, net=Deep, freeze=SCHEDULES["gradual"])
    with caplog.at_level("INFO", "seglab"):
        quiet_trainer(logger=logger, max_epochs=EPOCHS, log_every_n_steps=1).fit(module, loader(), loader())
    settings = (Path(logger.log_dir) / "hparams.yaml").read_text()
    for told in (settings, caplog.text):
        assert "encoder.1-2, decoder, head" in told
        assert "2 to 3" in told
    lines = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    columns = dict(zip(lines[0].split(","), zip(*(line.split(",") for line in lines[1:]), strict=True), strict=True))
    trained = [int(float(value)) for value in columns["train/trainable_parameters"] if value]
    sizes = {name: parameter.numel() for name, parameter in module.network.named_parameters()}
    assert trained == [sum(sizes[name] for name in expected_to_train(SCHEDULES["gradual"], module, step)) for step in range(12)]
    assert [float(rate) > 0 for rate in columns["stage/encoder.0/lr"] if rate] == [False] * 9 + [True] * 3


def test_a_compiled_network_is_frozen_too() -> None:
    module = fixed_module(None, net=Deep, freeze=SCHEDULES["alternating"])
    module.network.compile(backend="aot_eager")
    plain = fixed_module(None, net=Deep, freeze=SCHEDULES["alternating"])
    for this in (module, plain):
        quiet_trainer(max_epochs=EPOCHS).fit(this, loader(), loader())
    for name, value in plain.network.state_dict().items():
        torch.testing.assert_close(module.network.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_a_norm_of_a_training_stage_keeps_its_statistics_where_asked() -> None:
    module = fixed_module(None, net=Deep, freeze=SCHEDULES["gradual"], batch_norm="frozen")
    before = {name: value.clone() for name, value in module.network.named_buffers()}
    quiet_trainer(max_epochs=EPOCHS).fit(module, loader(), loader())
    assert before
    assert all(torch.equal(value, before[name]) for name, value in module.network.named_buffers())
    norms = [part for part in module.network.modules() if isinstance(part, nn.BatchNorm2d)]
    assert any(not torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in norms), "scales and shifts train"


def test_what_was_loaded_is_told_before_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(unet("tu-test_resnet", 4).get_submodule("encoder").state_dict(), tmp_path / "encoder.pt")
    module = fixed_module(None, net=lambda: unet("tu-test_resnet", 4, weights=tmp_path / "encoder.pt"))
    with caplog.at_level("INFO", "seglab"):
        quiet_trainer(max_epochs=1).fit(module, loader(batches(1, side=32)), loader())
    assert "weights from encoder.pt: encoder" in caplog.text
    assert "new: decoder" in caplog.text


def test_a_gradient_that_is_left_over_goes_with_the_freezing() -> None:
    """Even one of zeros would let momentum and decay move the weight."""
    module = fixed_module(None, net=Deep)
    module(batches()[0].image).sum().backward()
    optimizer = momentum(module.parameters())
    optimizer.step()
    TrainableStages(module).set(frozenset(["decoder", "head"]), optimizer)
    for name, parameter in module.network.named_parameters():
        assert (parameter.grad is None) == (parameter not in optimizer.state) == name.startswith("encoder."), name
