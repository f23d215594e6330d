"""Identity holds where nothing that matters changes: moved files, libraries' private attributes, accepted edits."""

import ast
import dataclasses
import inspect
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seglab
from seglab import FreezeSchedule, Progress, Regularizer, SegmentationModule, unet
from seglab.losses import OHEM, CrossEntropy, Dice, WeightedSum
from seglab.records import NUMERICS, AcceptedEdit, StudyRecord
from seglab.study.description import describe
from seglab.study.differences import accept, changes, differences
from tests.study.described import plain

DESCRIBED = """
import json
import seglab
import seglab.regularizers.penalties
from seglab.study.description import describe
arm = lambda: seglab.SegmentationModule(
    seglab.unet("tu-test_resnet", 3), seglab.CrossEntropy(), num_classes=3, regularizer=seglab.Proximal(seglab.L1(1e-3)), freeze=seglab.LPFT(0.2)
)
print(json.dumps([seglab.regularizers.penalties.L1.__module__, describe(arm, seglab.Progress(0, 20, 5))]))
"""


def described_by(package: Path) -> list[Any]:
    """Return the description of an arm by another process, with the seglab that lies in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run([sys.executable, "-c", DESCRIBED], env=environment, cwd=package, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_a_class_that_moves_to_another_file_of_seglab_keeps_its_identity(tmp_path: Path) -> None:
    root = Path(seglab.__file__).parents[1]
    shutil.copytree(root / "seglab", tmp_path / "seglab", ignore=shutil.ignore_patterns("__pycache__"))
    home = tmp_path / "seglab" / "regularizers" / "penalties.py"
    source = home.read_text(encoding="utf-8")
    tree = ast.parse(source)
    (moving,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "L1"]
    first, last = min([moving.lineno, *(decorator.lineno for decorator in moving.decorator_list)]) - 1, moving.end_lineno
    lines = source.splitlines(keepends=True)
    (home.parent / "moved.py").write_text(source.replace(f'"{moving.name}"', '"_"'), encoding="utf-8")  # all of it: its imports and helpers
    home.write_text("".join([*lines[:first], "from seglab.regularizers.moved import L1\n\n\n", *lines[last:]]), encoding="utf-8")
    before, after = described_by(root), described_by(tmp_path)
    assert before[0] == "seglab.regularizers.penalties"
    assert after[0] == "seglab.regularizers.moved"
    assert before[1] == after[1]
    assert before[1]["regularizer"]["inner"]["class"] == "seglab.L1"


def arm(change: Callable[[nn.Module], object] = lambda network: None) -> Callable[[], SegmentationModule]:
    def build() -> SegmentationModule:
        network = unet("tu-test_efficientnet", 3)
        change(network)
        return SegmentationModule(network, CrossEntropy(), num_classes=3)

    return build


def each(network: nn.Module, kind: str, name: str, value: object) -> None:
    found = [layer for layer in network.modules() if type(layer).__name__ == kind]
    assert found
    for layer in found:
        setattr(layer, name, value)


START = Progress(0, 20, 5)


@pytest.mark.parametrize(
    ("kind", "name"), [("BatchNormAct2d", "_fast_norm"), ("Conv2d", "_cache"), ("Unet", "_new"), ("InvertedResidual", "_x")]
)
def test_private_attributes_of_a_librarys_layers_are_no_settings(kind: str, name: str) -> None:
    assert describe(arm(), START) == describe(arm(lambda network: each(network, kind, name, True)), START)


@pytest.mark.parametrize(
    ("kind", "name", "value"), [("BatchNormAct2d", "momentum", 0.5), ("Conv2d", "padding_mode", "reflect"), ("BatchNormAct2d", "eps", 0.1)]
)
def test_their_public_arguments_are(kind: str, name: str, value: object) -> None:
    assert describe(arm(), START) != describe(arm(lambda network: each(network, kind, name, value)), START)


def with_buffers(network: nn.Module) -> None:
    network.register_buffer("drawn", torch.rand(3))
    network.register_buffer("fixed", torch.ones(3))
    network.register_buffer("also_drawn", torch.tensor([np.random.random(), random.random()]))  # noqa: NPY002


def next_numbers() -> list[float]:
    return [torch.rand(1).item(), float(np.random.random()), random.random()]  # noqa: NPY002


@pytest.mark.parametrize("seed", [1, 7, 2**31])
def test_the_module_of_a_run_spares_a_build_and_its_random_numbers_stay(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "set back after the test")
    builds = list[nn.Module]()

    def change(network: nn.Module) -> None:
        with_buffers(network)
        builds.append(network)

    make = arm(change)
    whole = describe(make, START)
    L.seed_everything(seed, workers=True, verbose=False)
    make()
    expected = next_numbers()
    L.seed_everything(seed, workers=True, verbose=False)
    module, before = make(), len(builds)
    assert describe(make, START, module) == whole
    assert len(builds) == before + 1
    assert next_numbers() == expected
    assert os.environ["PL_GLOBAL_SEED"] == str(seed)


def test_a_run_whose_pretrained_weights_have_changed_is_another_arm() -> None:
    make = arm(with_buffers)
    module = make()
    module.network.fixed.mul_(2)  # type: ignore[operator]
    assert describe(make, START, module)["start"] != describe(make, START)["start"]


def test_an_option_that_a_library_adds_and_that_is_off_is_no_setting() -> None:
    def with_groups(**more: object) -> Callable[[], SegmentationModule]:
        def optimizer(groups: Any) -> torch.optim.Optimizer:
            return torch.optim.SGD([{**group, **more} for group in groups], lr=0.1)

        return lambda: SegmentationModule(unet("tu-test_efficientnet", 3), CrossEntropy(), num_classes=3, optimizer=optimizer)

    assert describe(with_groups(new=None, newer=False), START) == describe(with_groups(), START)
    assert describe(with_groups(new=1), START) != describe(with_groups(), START)


OTHER: dict[str, Any] = {
    "weight": [1.0, 2.0, 3.0],
    "label_smoothing": 0.1,
    "absent": "penalize",
    "reduction": "image",
    "losses": {"ce": CrossEntropy(label_smoothing=0.1)},
    "weights": {"ce": 2.0},
}
"""Another value for arguments whose default does not tell one."""


def other(name: str, value: Any) -> Any:
    """Return another value of the kind of `value`."""
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, bool):
        return not value
    return value * 0.75 if isinstance(value, float) and value else value + 1


def exported(kind: type) -> list[type]:
    found = [getattr(seglab, name) for name in seglab.__all__]
    return [thing for thing in found if isinstance(thing, type) and issubclass(thing, kind) and not inspect.isabstract(thing)]


LOSSES = {"WeightedSum": {"losses": {"ce": CrossEntropy()}, "weights": {"ce": 1.0}}}


@pytest.mark.parametrize(
    "loss", [cls for cls in exported(nn.Module) if cls.__module__.startswith("seglab.losses")], ids=lambda cls: cls.__name__
)
def test_every_argument_of_every_loss_is_a_setting(loss: type[nn.Module]) -> None:
    needed = LOSSES.get(loss.__name__, {})
    for name, parameter in inspect.signature(loss).parameters.items():
        made = loss(**{**needed, name: other(name, parameter.default)})
        assert plain(made) != plain(loss(**needed)), name


@pytest.mark.parametrize("cls", [*exported(Regularizer), *exported(FreezeSchedule)], ids=lambda cls: cls.__name__)
def test_every_field_of_penalties_and_schedules_is_a_setting(cls: type) -> None:
    """A field without `init` would be state, which they do not have."""
    assert dataclasses.is_dataclass(cls)
    assert all(field.init and not field.name.startswith("_") for field in dataclasses.fields(cls))


RECORD = StudyRecord("s", "a", "test/miou", {"epochs": 1, "code": {}}, {"a": {"loss": "x", "code": {"my.Loss": "1", "my.f": "2"}}})


def edited(code: dict[str, str], loss: str = "x") -> StudyRecord:
    return dataclasses.replace(RECORD, arms={"a": {"loss": loss, "code": code}})


def test_a_difference_of_code_names_the_definition() -> None:
    assert changes(RECORD, edited({"my.Loss": "1", "my.f": "3"})) == ["arm a: the code of my.f has been edited"]
    assert changes(RECORD, edited({"my.Loss": "1", "my.g": "3"})) == [
        "arm a: the code of my.f is no longer used",
        "arm a: the code of my.g is used, and was not",
    ]


def test_an_accepted_edit_is_no_difference_and_covers_nothing_else() -> None:
    now = edited({"my.Loss": "5", "my.g": "3"})
    accepted = accept(RECORD, now, "renamed f")
    assert accepted.accepted == (
        AcceptedEdit("my.Loss", "1", "5", "renamed f"),
        AcceptedEdit("my.f", "2", None, "renamed f"),
        AcceptedEdit("my.g", None, "3", "renamed f"),
    )
    assert changes(accepted, now) == []
    assert changes(accepted, RECORD) == []
    assert accept(accepted, now, "again") == accepted
    assert changes(accepted, edited({"my.Loss": "6", "my.g": "3"})) == ["arm a: the code of my.Loss has been edited"]
    assert changes(accepted, edited({"my.Loss": "5", "my.g": "3"}, loss="y")) == ["arm a: loss: x → y"]


class OwnLoss(nn.Module):
    """A loss that uses OHEM where no description shows it."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        value: Tensor = OHEM()(logits, mask)
        return value


class OwnDice(Dice):
    """A loss that extends one of seglab's."""


def with_loss(loss: nn.Module) -> StudyRecord:
    """The record of a study with one arm, whose network is of the user's own."""
    described = describe(lambda: SegmentationModule(OwnNetwork(), loss, num_classes=3), START)
    return StudyRecord("s", "a", "test/miou", {"numerics": NUMERICS}, {"a": json.loads(json.dumps(described))})


class OwnNetwork(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 3, 1)


@pytest.mark.parametrize(
    ("loss", "concerned"),
    [
        (CrossEntropy(), False),
        (Dice(absent="penalize"), False),
        (WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": 1.0}), False),
        (CrossEntropy(weight=[0, 1, 2]), False),
        (CrossEntropy(label_smoothing=0.1), False),
        (CrossEntropy(weight=[0, 1, 2], label_smoothing=0.1), True),
        (OHEM(), True),
        (WeightedSum({"hard": OHEM(), "dice": Dice()}, {"hard": 1.0, "dice": 1.0}), True),
        (OwnLoss(), True),
        (OwnDice(), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_newer_version_of_the_numbers_concerns_the_arms_that_use_what_it_changed(loss: nn.Module, concerned: bool) -> None:
    now = with_loss(loss)
    recorded = dataclasses.replace(now, shared={"numerics": 1})
    assert changes(recorded, now) == ([f"numerics: 1 → {NUMERICS}"] if concerned else [])
    assert changes(now, now) == []


@pytest.mark.parametrize("then", [0, NUMERICS + 1, None, "1"])
def test_other_versions_of_the_numbers_concern_all(then: object) -> None:
    """Version 1 changed all numbers of 0; what a newer seglab has changed is unknown."""
    now = with_loss(CrossEntropy())
    assert changes(dataclasses.replace(now, shared={"numerics": then}), now) == [f"numerics: {then} → {NUMERICS}"]


def test_an_option_that_seglab_adds_and_that_is_off_is_no_difference_for_a_class_that_extends_one_of_seglabs() -> None:
    now = with_loss(OwnDice())
    older = json.loads(json.dumps(now.arms["a"]))
    assert older["loss"].pop("foreground_only") is False
    recorded = dataclasses.replace(now, arms={"a": older})
    assert changes(recorded, now) == changes(now, recorded) == []
    on = with_loss(OwnDice(foreground_only=True))
    assert changes(recorded, on) == ["arm a: loss.foreground_only: None → True"]
    assert changes(now, on) == ["arm a: loss.foreground_only: False → True"]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({}, {"x": None}, []),
        ({}, {"x": False}, []),
        ({"x": False}, {}, []),
        ({"x": None}, {"x": False}, ["x: None → False"]),
        ({}, {"x": 0}, ["x: None → 0"]),
        ({}, {"x": 0.0}, ["x: None → 0.0"]),
        ({}, {"x": ""}, ["x: None → "]),
        ({}, {"x": []}, ["x: None → []"]),
        ({"x": True}, {}, ["x: True → None"]),
    ],
)
def test_absent_and_off_are_one_and_nothing_else_is(old: dict[str, object], new: dict[str, object], lines: list[str]) -> None:
    assert differences(old, new) == lines


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (CrossEntropy(weight=[1.0, 2.0]), "weight has 2 numbers, but the logits have 3 classes"),
        (Dice(foreground_only=True), "foreground_only=True is for one logit per pixel, and the logits have 3 classes"),
        (
            WeightedSum({"ce": CrossEntropy(), "dice": Dice(foreground_only=True)}, {"ce": 1.0, "dice": 1.0}),
            "foreground_only=True is for one logit per pixel",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_loss_that_does_not_fit_the_classes_is_refused_before_any_training(loss: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_loss(loss)
