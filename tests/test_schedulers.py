"""In a real training, each scheduler of torch gives torch's own learning rates and momenta.

A scheduler that cannot be made is refused by name.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import ReduceLROnPlateau as Monitoring
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from seglab import AdamW, CrossEntropy, FullFineTuning, SegmentationModule
from seglab.schedulers import SchedulerFactory, Span, make_scheduler, rehearse
from seglab.script.command_line import parse
from seglab.script.parser import changed_flags_of, flags_of, study_parser
from seglab.stage import Progress
from seglab.study.description import describe
from seglab.study.study import Study
from tests.nets import Staged, adamw, fixed_module, loader, momentum
from tests.schedulers import SCHEDULERS, Case
from tests.trainers import quiet_trainer

EPOCHS, STEPS = 4, 3  # optimizer steps in an epoch
State = list[tuple[float, float]]
"""Learning rate and momentum, or β₁, of each parameter group."""


def state(optimizer: Optimizer) -> State:
    return [(float(group["lr"]), group["betas"][0] if "betas" in group else group["momentum"]) for group in optimizer.param_groups]


class Watch(Callback):
    """Learning rates and momenta of each step, and the metric after each validation."""

    def __init__(self, metric: str = "val/loss") -> None:
        self.metric = metric
        self.states: list[State] = []
        self.metrics: dict[int, float] = {}

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        self.states.append(state(optimizer))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.metrics[trainer.global_step] = float(trainer.callback_metrics[self.metric])


def watched(factory: SchedulerFactory, optimizer: Any, metric: str = "val/loss", **settings: Any) -> Watch:
    """A real training of four epochs, three batches each."""
    watch = Watch(metric)
    trainer = {name: settings.pop(name) for name in ("accumulate_grad_batches", "max_steps") if name in settings}
    module = fixed_module(None, optimizer, net=Staged, scheduler=factory, **settings)
    quiet_trainer(max_epochs=EPOCHS, limit_val_batches=1, callbacks=[watch], **trainer).fit(module, loader(), loader())
    return watch


@pytest.fixture
def groups() -> list[dict[str, Any]]:
    """Parameter groups as a module gives them."""
    return [{"params": [nn.Parameter(torch.zeros(1))], "name": str(place)} for place in range(4)]  # the stages of Staged


def by_hand(case: Case, optimizer: Optimizer, span: Span, metrics: dict[int, float]) -> list[State]:
    """Learning rates and momenta of each step, by torch alone."""
    scheduler, states = case.by_hand(optimizer, span.updates), []
    for step in range(1, span.steps + 1):
        states.append(state(optimizer))
        optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            if step in metrics:
                scheduler.step(metrics[step])
        elif step % span.every == 0:
            scheduler.step()
    return states


def test_every_scheduler_of_torch_is_here() -> None:
    theirs = {name for name in lr_scheduler.__all__ if name != "LRScheduler"}
    assert {name.partition(",")[0].partition(" ")[0] for name in SCHEDULERS} == theirs


@pytest.mark.parametrize("optimizer", [momentum, adamw], ids=["momentum", "adamw"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_training_has_torch_s_own_rates_and_momenta(name: str, optimizer: Any, groups: list[dict[str, Any]]) -> None:
    watch = watched(SCHEDULERS[name].factory, optimizer)
    expected = by_hand(SCHEDULERS[name], optimizer(groups), Span(EPOCHS * STEPS), watch.metrics)
    assert watch.states == expected
    assert len({str(states) for states in expected}) > 1, "the rate never changes: nothing was compared"


@pytest.mark.filterwarnings("ignore:A `OneCycleLR` scheduler is using 'interval'")  # Lightning asks whether this is meant
@pytest.mark.parametrize("name", SCHEDULERS)
def test_by_epochs(name: str, groups: list[dict[str, Any]]) -> None:
    """The total is the number of epochs; the rates change after each epoch alone."""
    watch = watched(SCHEDULERS[name].factory, momentum, scheduler_interval="epoch")
    assert watch.states == by_hand(SCHEDULERS[name], momentum(groups), Span(EPOCHS * STEPS, STEPS), watch.metrics)


@pytest.mark.parametrize("name", ["PolynomialLR", "OneCycleLR", "SequentialLR", "StepLR"])
@pytest.mark.parametrize(
    ("settings", "steps"), [({"accumulate_grad_batches": 2}, 8), ({"max_steps": 7}, 7)], ids=["accumulated", "cut short"]
)
def test_the_total_is_that_of_the_optimizer_steps(name: str, settings: dict[str, Any], steps: int, groups: list[dict[str, Any]]) -> None:
    watch = watched(SCHEDULERS[name].factory, momentum, **settings)
    assert watch.states == by_hand(SCHEDULERS[name], momentum(groups), Span(steps), {})


@pytest.mark.parametrize("optimizer", [momentum, adamw], ids=["momentum", "adamw"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_freezing_schedule_scales_the_rates_and_leaves_them_to_the_scheduler(
    name: str, optimizer: Any, groups: list[dict[str, Any]]
) -> None:
    watch = watched(SCHEDULERS[name].factory, optimizer, freeze=FullFineTuning(0.5))
    expected = by_hand(SCHEDULERS[name], optimizer(groups), Span(EPOCHS * STEPS), watch.metrics)
    factors = (0.5, 0.5, 1.0, 1.0)  # two stages of the encoder, decoder, head
    assert watch.states == [[(rate * factor, beta) for (rate, beta), factor in zip(step, factors, strict=True)] for step in expected]


def study(scheduler: SchedulerFactory | None = None) -> Study:
    """A study of the user's with a flag for the scheduler."""
    raise AssertionError("its flags are parsed, and it is never called")


def factory_of(case: Case) -> SchedulerFactory:
    flags = study_parser(study)
    made: SchedulerFactory = flags.instantiate(flags.parse_args(list(case.flags("scheduler")))).scheduler
    return made


@pytest.mark.parametrize("name", SCHEDULERS)
def test_flags_mean_the_same(name: str, groups: list[dict[str, Any]]) -> None:
    case = SCHEDULERS[name]
    span, metrics = Span(12), dict.fromkeys(range(3, 13, 3), 1.0)
    from_flags = Case(case.factory, lambda optimizer, total: make_scheduler(factory_of(case), optimizer, Span(total)), ())
    assert by_hand(from_flags, momentum(groups), span, metrics) == by_hand(
        case, momentum([dict(group) for group in fresh(groups)]), span, metrics
    )


def fresh(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups without what an optimizer and a scheduler have written into them."""
    return [{"params": group["params"], "name": group["name"]} for group in groups]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_study_s_flag_is_reproduced(name: str) -> None:
    """By the words with which jobs and `run --dry_run` repeat a study's parameters."""
    flags = study_parser(study)
    given = parse(flags, list(SCHEDULERS[name].flags("scheduler")))
    for words in (flags_of(study, given), changed_flags_of(study, given)):
        assert flags.dump(parse(flags, words), format="json") == flags.dump(given, format="json")


def own(optimizer: Optimizer, warmup: int = 3) -> LRScheduler:
    return StepLR(optimizer, warmup)


def own_of_steps(optimizer: Optimizer, steps: int = 3) -> LRScheduler:
    return StepLR(optimizer, steps)


class OwnWarmUp(LRScheduler):
    """The total is not its second argument."""

    def __init__(self, optimizer: Optimizer, warmup: int = 2, total_steps: int = 100) -> None:
        self.warmup, self.total_steps = warmup, total_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        return [float(base) * min(1.0, (self.last_epoch + 1) / self.warmup) / self.total_steps for base in self.base_lrs]


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (own, 3),
        (partial(own, warmup=4), 4),
        (own_of_steps, 12),
        (partial(own_of_steps, steps=5), 5),
        (lambda optimizer, anything: StepLR(optimizer, anything), 12),
        (lambda *given: StepLR(*given), 12),
    ],
    ids=["default", "partial", "named", "named by hand", "required", "starred"],
)
def test_a_function_gets_the_total_where_it_has_a_place_for_it(factory: Any, expected: int, groups: list[dict[str, Any]]) -> None:
    scheduler = make_scheduler(factory, momentum(groups), Span(12))
    assert isinstance(scheduler, StepLR)
    assert scheduler.step_size == expected


def test_an_own_class_gets_the_total_by_name(groups: list[dict[str, Any]]) -> None:
    scheduler = make_scheduler(partial(OwnWarmUp, warmup=4), momentum(groups), Span(12))
    assert isinstance(scheduler, OwnWarmUp)
    assert (scheduler.warmup, scheduler.total_steps) == (4, 12)


class Unsavable(StepLR):
    """Keeps a function, which no checkpoint holds."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.rule = lambda update: update
        super().__init__(optimizer, 3)


REFUSED: dict[str, tuple[Any, str]] = {
    "no rate": (
        OneCycleLR,
        r"OneCycleLR needs max_lr: --model\.scheduler\.max_lr VALUE, or functools\.partial\(OneCycleLR, max_lr=VALUE\)",
    ),
    "no length": (StepLR, r"StepLR needs step_size: --model\.scheduler\.step_size VALUE"),
    "no factor": (ExponentialLR, r"ExponentialLR needs gamma: --model\.scheduler\.gamma VALUE"),
    "no rates": (CyclicLR, r"CyclicLR needs base_lr and max_lr: --model\.scheduler\.base_lr VALUE --model\.scheduler\.max_lr VALUE"),
    "no milestones": (MultiStepLR, "MultiStepLR needs milestones"),
    "no function": (LambdaLR, "LambdaLR needs lr_lambda"),
    "by position": (partial(StepLR, 3), "StepLR needs step_size"),  # type: ignore[arg-type]
    "sequence": (SequentialLR, r"SequentialLR combines schedulers of one optimizer\. Write a function `def my_scheduler"),
    "chain": (ChainedScheduler, "ChainedScheduler combines schedulers of one optimizer"),
    "epoch to begin with": (partial(StepLR, step_size=3, last_epoch=4), "StepLR: last_epoch is 4; leave it out"),
    "half of a length": (partial(OneCycleLR, max_lr=0.1, epochs=3), r"OneCycleLR\(max_lr=0\.1, epochs=3\): You must define either"),
    "rates of other groups": (partial(OneCycleLR, max_lr=[0.1, 0.2]), "max_lr has 2 values, param_groups has 4"),
    "unknown argument": (partial(ExponentialLR, gamma=0.9, gama=0.9), "unexpected keyword argument 'gama'"),  # type: ignore[call-arg]
    "too short": (partial(OneCycleLR, max_lr=0.1, total_steps=7), r"OneCycleLR fails at optimizer step 7 of 12: Tried to step 8 times"),
    "no number": (partial(ExponentialLR, gamma=float("nan")), "ExponentialLR fails at optimizer step 1 of 12: the learning rate is nan"),
    "uphill": (partial(ExponentialLR, gamma=-1.0), "the learning rate is -0.05; expected a finite number, 0 or more"),
    "no period": (partial(StepLR, step_size=0), "StepLR fails at optimizer step 0 of 12: ZeroDivisionError"),
    "abstract": (LRScheduler, "LRScheduler: NotImplementedError"),
    "nothing": (lambda optimizer, steps: None, "returns NoneType; expected a scheduler of torch.optim.lr_scheduler"),
    "function inside": (Unsavable, r"Unsavable keeps values that no checkpoint can hold \(builtins\.function\)"),
    "numpy inside": (
        partial(ExponentialLR, gamma=np.float64(0.9)),
        r"ExponentialLR keeps values that no checkpoint can hold \(numpy\.float64\)",
    ),
    "metric that is not logged": (
        partial(Monitoring, monitor="val/beauty"),
        "watches val/beauty, which is not logged; there are .*val/miou",
    ),
    "mode of the other kind": (
        partial(Monitoring, monitor="val/miou"),
        "val/miou in the mode 'min', but larger values are better: give mode='max'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_the_first_step(name: str) -> None:
    factory, message = REFUSED[name]
    watch = Watch()
    module = fixed_module(None, momentum, net=Staged, scheduler=factory)
    with pytest.raises(ValueError, match=message):
        quiet_trainer(max_epochs=EPOCHS, limit_val_batches=1, callbacks=[watch]).fit(module, loader(), loader())
    assert watch.states == []
    if not isinstance(factory, partial) or factory.func is not Monitoring:
        with pytest.raises(ValueError, match=message):
            describe(lambda: fixed_module(None, momentum, net=Staged, scheduler=factory), Progress(0, EPOCHS * STEPS, STEPS))


def test_a_plateau_without_a_validation_is_refused() -> None:
    module = fixed_module(None, scheduler=ReduceLROnPlateau)
    with pytest.raises(ValueError, match="ReduceLROnPlateau watches val/loss after each validation, and this training has none"):
        quiet_trainer(limit_val_batches=0).fit(module, loader(), loader())


def test_a_training_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no planned end.*give max_epochs or max_steps"):
        quiet_trainer(max_epochs=-1).fit(fixed_module(None, scheduler=PolynomialLR), loader(), loader())


def test_a_plateau_watches_the_metric_that_is_asked_for(groups: list[dict[str, Any]]) -> None:
    factory = partial(Monitoring, monitor="val/fwiou", mode="max", patience=0, threshold=0.9)
    watch = watched(factory, momentum, metric="val/fwiou")
    case = Case(factory, lambda optimizer, _: ReduceLROnPlateau(optimizer, "max", patience=0, threshold=0.9), ())
    assert watch.states == by_hand(case, momentum(groups), Span(EPOCHS * STEPS), watch.metrics)
    one, other = (
        describe(partial(fixed_module, None, scheduler=partial(factory, monitor=metric)), Progress(0, 12, 3))["scheduler"]
        for metric in ("val/fwiou", "val/miou")
    )
    assert one != other


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_an_optimizer_whose_state_no_checkpoint_holds_is_refused(kind: Callable[[float], Any]) -> None:
    def optimizer(parameters: Any) -> Optimizer:
        return torch.optim.SGD(parameters, lr=kind(0.1))

    with pytest.raises(ValueError, match=rf"SGD keeps values that no checkpoint can hold \(numpy\.{kind.__name__}\).*float\(value\)"):
        quiet_trainer().fit(fixed_module(None, optimizer), loader(), loader())
    quiet_trainer().fit(fixed_module(None, AdamW(kind(0.1))), loader(), loader())  # seglab's own takes any number


@pytest.mark.parametrize(
    ("factory", "every", "course"),
    [
        (partial(StepLR, step_size=30), 1, "0.05 → 5e-11 (from step 270)"),
        (partial(StepLR, step_size=30), 10, "0.05 throughout"),
        (partial(PolynomialLR, total_iters=5), 1, "0.05 → 0 (from step 5)"),
        (PolynomialLR, 1, "0.05 → 0.000167"),
        (partial(OneCycleLR, max_lr=0.1), 1, "0.004 → 0.1 (at step 89) → 4e-07, momentum 0.95 → 0.85 (at step 89) → 0.95"),
    ],
    ids=["step", "step by epochs", "ended early", "polynomial", "one cycle"],
)
def test_the_course_in_words(factory: Any, every: int, course: str, groups: list[dict[str, Any]]) -> None:
    optimizer, span = momentum(groups), Span(300, every)
    assert rehearse(make_scheduler(factory, optimizer, span), optimizer, span) == course


@pytest.mark.parametrize(
    ("factory", "settings", "line"),
    [
        (
            partial(StepLR, step_size=5),
            {},
            "learning rate: 0.05 → 0.0005 (from step 10), by StepLR(step_size=5) after each of the 12 optimizer steps",
        ),
        (
            partial(StepLR, step_size=2),
            {"scheduler_interval": "epoch"},
            "learning rate: 0.05 → 0.005 (from step 6), by StepLR(step_size=2) after each of the 4 epochs",
        ),
        (
            lambda optimizer, steps: CosineAnnealingLR(optimizer, steps),
            {},
            "learning rate: 0.05 → 0.000852, by CosineAnnealingLR after each of the 12 optimizer steps",
        ),
        (
            partial(ReduceLROnPlateau, patience=2),
            {},
            "learning rate: 0.05, reduced by ReduceLROnPlateau(patience=2) after a validation, as val/loss says",
        ),
    ],
    ids=["steps", "epochs", "function", "plateau"],
)
def test_it_is_said_at_the_start(factory: Any, settings: dict[str, Any], line: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "seglab")
    watched(factory, momentum, **settings)
    assert [record.getMessage() for record in caplog.records if record.getMessage().startswith("learning rate")] == [line]


RECORDED: dict[str, tuple[SchedulerFactory, dict[str, Any]]] = {
    "PolynomialLR": (PolynomialLR, {"rates": [0.05, 0.0375, 0.025, 0.0125], "all": "2f54dcd0a821764a"}),
    "CosineAnnealingLR": (CosineAnnealingLR, {"rates": [0.05, 0.04267766953, 0.025, 0.00732233047], "all": "985c8d48e80fe037"}),
    "OneCycleLR": (
        lambda optimizer, steps: OneCycleLR(optimizer, 0.1, total_steps=steps),
        {"rates": [0.004, 0.094592899603, 0.080289581034, 0.027300765811], "all": "a2adce40d0a6d564"},
    ),
    "ReduceLROnPlateau": (
        lambda optimizer, _: ReduceLROnPlateau(optimizer, mode="max", patience=2),
        {
            "mode": "max",
            "factor": 0.1,
            "patience": 2,
            "threshold": 1e-4,
            "threshold_mode": "rel",
            "cooldown": 0,
            "min_lrs": [0],
            "eps": 1e-8,
        },
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_studies_keep_their_identity(name: str) -> None:
    """Written by seglab before classes got their arguments by name."""
    factory, recorded = RECORDED[name]

    def arm() -> SegmentationModule:
        return SegmentationModule(nn.Conv2d(3, 4, 1), CrossEntropy(), num_classes=4, optimizer=momentum, scheduler=factory)

    assert describe(arm, Progress(0, 200, 10))["scheduler"] == {"class": f"torch.optim.lr_scheduler.{name}", **recorded}


def test_the_unit_is_a_setting() -> None:
    one, other = (
        describe(partial(fixed_module, None, scheduler=partial(StepLR, step_size=2), scheduler_interval=unit), Progress(0, 12, 3))
        for unit in ("step", "epoch")
    )
    assert one["scheduler"] != other["scheduler"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["CyclicLR", ".base_lr", "0.5"],
            "--scheduler: CyclicLR needs max_lr; add --scheduler.max_lr VALUE",
        ),
        (
            ["StepLR", ".stepsize", "3"],
            "--scheduler.stepsize: StepLR has no argument 'stepsize' (did you mean step_size?); --scheduler.help",
        ),
        (["StepLR", ".step_size", "x"], "--scheduler.step_size: expected int, got x"),
        (["OneCycleLR", ".anneal_strategy", "x"], "--scheduler.anneal_strategy: expected one of 'cos', 'linear', got x"),
        (["LambdaLR", ".lr_lambda", "tests.schedulers.no"], "--scheduler.lr_lambda: module 'tests.schedulers' has no attribute 'no'"),
        (["SequentialLR"], "--scheduler: SequentialLR combines schedulers: name a function of optimizer and steps that makes it"),
        (["StepLRR"], "--scheduler: there is no class 'StepLRR'"),
        (["torch.nn.Linear"], "--scheduler: torch.nn.Linear does not extend torch.optim.lr_scheduler.LRScheduler"),
    ],
)
def test_bad_flags(words: list[str], expected: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
        parse(study_parser(study), ["--scheduler", *(f"--scheduler{word}" if word.startswith(".") else word for word in words)])
    line = str(refused.value)
    assert line.startswith(expected)
    for jargon in ("Union", "Callable", "NoneType", "Namespace", "Given value"):
        assert jargon not in line


def test_an_argument_alone_asks_for_its_class() -> None:
    def study(scheduler: SchedulerFactory = PolynomialLR) -> Study:
        raise AssertionError("its flags are parsed, and it is never called")

    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
        parse(study_parser(study), ["--scheduler.power", "2"])
    assert str(refused.value) == "--scheduler: name the class first, as in --scheduler CLASS --scheduler.power VALUE"
