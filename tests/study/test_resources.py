"""The flags of a run: each is a field, written once, and a command line says the fields again."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import Namespace

from seglab.records import Run, StudyRecord
from seglab.running.plan import Plan, Script, Selection
from seglab.running.resources import Resources
from seglab.script.command_line import parse
from seglab.script.parser import parser_of
from seglab.tracking import LightningLogger, TensorBoard
from tests.study import tiny_experiment
from tests.study.test_factors import crossed

DRAWN = st.builds(
    Resources,
    devices=st.integers(1, 8),
    num_nodes=st.integers(1, 4),
    sync_batchnorm=st.booleans(),
    accelerator=st.sampled_from(["auto", "cpu", "gpu"]),
    wandb=st.sampled_from(["auto", "online", "offline", "disabled"]),
    wandb_model=st.booleans(),
    wandb_diff=st.booleans(),
    logger=st.sampled_from([None, TensorBoard(), LightningLogger("a.B"), LightningLogger("a.B", {"n": 1, "text": "{name}"})]),
    diagnostics=st.integers(0, 50),
    checkpoint_minutes=st.floats(0, 1e6),
    retries=st.integers(0, 9),
    precision=st.sampled_from([None, "32-true", "bf16-mixed"]),
    channels_last=st.booleans(),
    compile=st.booleans(),
    profile=st.booleans(),
)


PARSER = parser_of(tiny_experiment.study)


def parsed(*words: str) -> Namespace:
    chosen = parse(PARSER, ["execute", *words])
    return PARSER.instantiate(chosen)["execute"]  # type: ignore[no-any-return]


def fields_of(kind: type[Any], given: Namespace) -> dict[str, Any]:
    return {field.name: given[field.name] for field in dataclasses.fields(kind)}


@settings(deadline=None, max_examples=25)
@given(DRAWN)
def test_a_command_line_says_the_fields_again(resources: Resources) -> None:
    said = [*resources.repeating_flags, *resources.worker_flags]
    assert Resources(**fields_of(Resources, parsed(*said))) == resources


def test_defaults_need_no_flag() -> None:
    assert Resources().repeating_flags == Resources().worker_flags == Selection().flags == []


@given(DRAWN)
def test_a_recorded_command_has_only_flags_that_change_numbers(resources: Resources) -> None:
    watched = {"--wandb", "--wandb_model", "--wandb_diff", "--logger", "--diagnostics", "--checkpoint_minutes", "--retries"}
    watched |= {"--logger.path", "--logger.arguments", "--profile"}
    assert not watched & set(resources.repeating_flags)
    assert {word for word in resources.worker_flags if word.startswith("--")} <= watched


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"devices": 0}, r"--devices 0: must be 1 or more"),
        ({"num_nodes": -1}, r"--num_nodes -1: must be 1 or more"),
        ({"diagnostics": -1}, r"--diagnostics -1: must be 0 \(never\) or more"),
        ({"retries": -2}, r"--retries -2: must be 0 or more"),
        ({"checkpoint_minutes": -0.5}, r"--checkpoint_minutes -0.5: must be 0 \(before every step\) or more"),
        ({"checkpoint_minutes": math.inf}, r"--checkpoint_minutes inf: must be 0"),
        ({"checkpoint_minutes": math.nan}, r"--checkpoint_minutes nan: must be 0"),
    ],
)
def test_numbers_out_of_range(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Resources(**wrong)


@pytest.mark.parametrize("words", [["--num_nodes", "2"], ["--num-nodes", "2"], ["--num-nodes=2"]])
def test_hyphens_are_taken_too(words: list[str]) -> None:
    assert parsed(*words).num_nodes == 2


def test_every_flag_has_a_help() -> None:
    """The field's documentation."""
    (verbs,) = [action for action in PARSER._actions if action.dest == "command"]
    assert isinstance(verbs.choices, dict)
    helps = {action.dest: action.help for action in verbs.choices["run"]._actions}
    for kind in (Resources, Selection):
        for field in dataclasses.fields(kind):
            assert helps[field.name], field.name


def plan_of_crossed(root: Path, **changed: Any) -> Plan:
    plan = Plan(crossed(), root, Script(("script.py",), ("--lr", "1")), Resources(devices=2, retries=1), Selection(seed=1))
    return dataclasses.replace(plan, **changed)


def test_a_job_knows_its_places_and_its_command(tmp_path: Path) -> None:
    record = StudyRecord("crossed", "none+full", "test/miou", {"epochs": 1}, {"l2+full": {"loss": "x"}})
    job = plan_of_crossed(tmp_path).job(Run("crossed", "l2+full", 1), record)
    assert job.directory == tmp_path / "crossed" / "l2+full" / "seed-1"
    assert job.resume_checkpoint == job.directory / "checkpoints" / "resume.ckpt"
    place = ["--root", str(tmp_path), "--name", "crossed"]
    assert job.command == ["python", "script.py", "run", "--lr", "1", *place, "--devices", "2", "--arm", "l2+full", "--seed", "1"]
    assert job.settings["arm"] == {"loss": "x"}
    assert job.splits == ("val", "test")
    assert job.seeded_data().seed == 1
    assert dataclasses.replace(job, tuning=True).splits == ("val",)


def test_a_failed_job_is_open_as_long_as_it_may_be_tried_again(tmp_path: Path) -> None:
    record = StudyRecord("crossed", "none+full", "test/miou", {}, {"l2+full": {}})
    job = plan_of_crossed(tmp_path).job(Run("crossed", "l2+full", 1), record)
    assert job.is_open
    job.directory.mkdir(parents=True)
    for tries, is_open in ((1, True), (2, False)):
        (job.directory / f"lease.{tries}").write_text("elsewhere 7\nfailed\nreleased\n")
        assert job.is_open == is_open
    diverged = dataclasses.replace(job, tuning=True)
    assert not diverged.is_settled
    (job.directory / "failure.json").write_text('{"error": "NonFiniteLossError: NaN"}')
    assert diverged.is_settled
    assert not job.is_settled


def test_jobs_need_the_record_of_their_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"crossed: has no study.json; `run` writes it"):
        plan_of_crossed(tmp_path).jobs()
