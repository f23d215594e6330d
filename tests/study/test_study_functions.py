"""Study functions of the forms that users write: which flags they have, and what `status` reads."""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from seglab import L2, CrossEntropy, Regularizer, SegmentationDataModule, Shapes, Study
from seglab.running.plan import Plan
from seglab.script.command_line import parse
from seglab.script.main import main
from seglab.script.parser import StudyFunction, parser_of, study_parser
from seglab.script.request import default_names, plans_of
from tests.study import tiny_experiment


def required(kind: str, penalty: Regularizer, epochs: int = 1) -> Study:
    """A study whose name follows from a parameter without a default."""
    return dataclasses.replace(tiny_experiment.study(epochs=epochs), name=f"tiny-{kind}")


def required_data(data: SegmentationDataModule, epochs: int = 1) -> Study:
    return tiny_experiment.study(data, epochs=epochs)


class Mine:
    """A class of the user's own, without a `repr` or an equality."""

    def __init__(self, size: int = 1) -> None:
        self.size = size


def objects(  # type: ignore[no-untyped-def]
    limit: float = math.inf,
    limits: Sequence[float] = (1.0, -math.inf, math.nan),
    loss=CrossEntropy,
    factory: Callable[..., Any] = CrossEntropy,
    penalties: Sequence[Regularizer] = (L2(1e-3),),
    named: Mapping[str, Regularizer] = MappingProxyType({"l2": L2(1e-3)}),
    mine: Mine = Mine(2),  # noqa: B008
    weights: Any = torch.ones(2),  # noqa: B008
    epochs: int = 1,
) -> Study:
    """A study whose defaults are objects that no flag can hold, and numbers that JSON lacks."""
    kinds = [type(one).__name__ for one in (limit, loss, factory, *penalties, named["l2"], mine, weights)]
    return dataclasses.replace(tiny_experiment.study(epochs=epochs), name=f"of{limit}-{limits[-1]}-{'-'.join(kinds)}")


def planned(function: StudyFunction, words: Sequence[str], said: str | None = None) -> Plan:
    parser = parser_of(function)
    chosen = parse(parser, words)
    (plan,) = plans_of(function, chosen.run, parser.instantiate(chosen).run, said)
    return plan


@pytest.fixture(autouse=True)
def _started_as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py"])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (required, ["--kind", "x", "--penalty", "L2", "--penalty.strength", "1e-3"]),
        (required, ["--epochs", "2", "--penalty", "L2", "--penalty.strength", "1e-3", "--kind", "null"]),
        (required_data, ["--data.source", "Shapes", "--data.batch_size", "2"]),
    ],
)
def test_the_commands_of_a_dry_run_name_parameters_without_a_default(function: StudyFunction, words: Sequence[str]) -> None:
    plan = planned(function, ["run", *words, "--dry_run"])
    for command in (plan.command(plan.runs[0]), plan.short_command(plan.runs[0])):
        again = planned(function, command[2:])
        assert (again.script.flags, again.study.name) == (plan.script.flags, plan.study.name)


def test_a_name_that_the_script_says_is_checked_beside_a_parameter_without_a_default() -> None:
    words = ["run", "--kind", "x", "--penalty", "L2", "--penalty.strength", "1e-3"]
    planned(required, words, "tiny-x")
    planned(required, [*words, "--epochs", "2"], "tiny-y")  # other flags may give the study another name
    with pytest.raises(ValueError, match=r"main\(..., name='tiny-y'\): the study is named 'tiny-x', and status would look elsewhere"):
        planned(required, words, "tiny-y")


def test_data_with_a_default_are_no_parameter_without_one() -> None:
    assert default_names(tiny_experiment.study, None) == ["tiny"]
    planned(tiny_experiment.study, ["run", "--data.source.num_train", "8"], "other")


@pytest.mark.parametrize("verb", ["status", "compare", "cancel"])
def test_a_reading_verb_asks_for_the_name_that_no_default_gives(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", verb])
    with pytest.raises(SystemExit, match="2"):
        main(required)
    assert "may depend on --kind, --penalty, without a default: give --name, or say the name" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--epochs", "2"], ["--penalties", "L1", "--penalties.strength", "1"], ["--limit", "-.inf"]])
def test_a_worker_has_the_defaults_that_no_flag_can_hold(words: Sequence[str], recwarn: pytest.WarningsRecorder) -> None:
    plan = planned(objects, ["run", *words, "--dry_run"])
    for command in (plan.command(plan.runs[0]), plan.short_command(plan.runs[0])):
        again = planned(objects, command[2:])
        assert (again.script.flags, again.study.name, again.study.epochs) == (plan.script.flags, plan.study.name, plan.study.epochs)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("epochs", 2.0, "epochs 2.0: is a float; expected a whole number"),
        ("precision", "bf16", "precision 'bf16': expected one of 32-true, 16-mixed, bf16-mixed, 64-true"),
        ("epochs", True, "epochs True: is a bool; expected a whole number"),
        ("accumulate", np.int64(2), r"accumulate np.int64\(2\): is a int64; expected a whole number"),
        ("seeds", 10, r"seeds 10: expected whole numbers in a list or a range, as in range\(10\)"),
        ("seeds", [0, 1.5], r"seeds \[0, 1.5\]: expected whole numbers"),
        ("seeds", np.arange(2), r"seeds array\(\[0, 1\]\): expected whole numbers"),
        ("seeds", "12", "seeds '12': expected whole numbers"),
        ("seeds", [], "there are no seeds: --seeds must be 1 or more"),
        ("seeds", [1, 1], r"seeds \[1, 1\]: they must be all different"),
        ("data", Shapes(), "data is a Shapes; expected an object of seglab's SegmentationDataModule"),
    ],
)
def test_a_field_of_a_wrong_type_is_named(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        dataclasses.replace(tiny_experiment.study(), **{field: value})


def dashed(note: str = "--x", least: str = "-1") -> Study:
    assert (note, least) == ("--x", "-1")
    return tiny_experiment.study()


RATES = np.array([0.1, 0.2])


def array(rates: Any = RATES) -> Study:
    return tiny_experiment.study()


def test_text_that_begins_as_a_flag_reaches_the_worker() -> None:
    plan = planned(dashed, ["run", "--dry_run"])
    for command in (plan.command(plan.runs[0]), plan.worker_command()):
        words = ["run" if word == "work" else word for word in command[2:]]
        assert planned(dashed, words).script.flags == plan.script.flags


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (functools.partial(dashed, note="--x"), "main got a partial, whose parameters cannot be flags; expected a function"),
        (array, "the study function has a parameter 'rates' whose default is a ndarray; expected a list or a tuple"),
    ],
)
def test_what_cannot_be_flags_is_refused_in_words(function: StudyFunction, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        study_parser(function)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ([list], "arms: a list; expected the function of each arm by its name"),
        ({}, "arms: {}; expected the function of each arm by its name"),
        ({1: list}, "arm 1: is a int; a name is text"),
        ({"study.json": list}, "arm 'study.json': is a file in the folder of the study"),
        (
            {"none": lambda lr: None},
            "arm none: its function has arguments without a default, lr, and is called without arguments: bind them",
        ),
    ],
)
def test_arms_that_cannot_be_are_named(arms: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        dataclasses.replace(tiny_experiment.study(), arms=arms)
