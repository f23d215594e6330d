"""An environment variable of W&B that is set but empty counts as not set.

wandb alone would end with a traceback of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seglab import cli
from seglab.dashboard.server import Server
from seglab.script.main import main
from seglab.tracking import Described, check_mode, finish, loggers, not_followed, read_state
from seglab.tracking.modes import NAMING, not_followed_by_fit
from seglab.wandb_variables import FOLLOWED, check_wandb_variables, drop_unusable_wandb, is_followed
from tests.fitting.fits import fit, user_folder, version
from tests.study.scripts import SCRIPT
from tests.study.tiny_experiment import study
from tests.wandb.study import main as log_study

ROOT = Path(__file__).parents[2]
EMPTY = dict.fromkeys(sorted(FOLLOWED | NAMING), "")
"""Every variable of W&B that seglab knows, as `export WANDB_MODE=` leaves it."""
NOBODY = {**EMPTY, "WANDB_MODE": "  ", "NETRC": "/nonexistent"}


def test_empty_variables_are_dropped_and_others_stay() -> None:
    mine = {"WANDB_PROJECT": "mine", "WANDBX": "", "OTHER": ""}
    environment = {**NOBODY, **mine, "WANDB_SERVICE": "3-1-unix-/tmp/socket"}  # which a process that uses wandb sets for its children
    drop_unusable_wandb(environment)
    assert environment == {"NETRC": "/nonexistent", **mine}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WANDB_BASE_URL", "nonsense", "valid URL"),
        ("WANDB_MODE", "elsewhere", "'online', 'offline'"),
        ("WANDB_SILENT", "perhaps", "valid boolean"),
        ("WANDB_INIT_TIMEOUT", "soon", "valid number"),
    ],
)
def test_a_value_that_wandb_does_not_take_is_named(name: str, value: str, said: str) -> None:
    check_wandb_variables(
        {"WANDB_TAGS": "a,b", "WANDB_API_KEY": "bad", "WANDB_PROJECT": "p", "WANDB_DISABLED": "true", "WANDBX": "nonsense"}
    )
    with pytest.raises(ValueError, match=f"{name}={value}: W&B does not take this value .*{said}.*; correct or unset it"):
        check_wandb_variables({name: value})


def test_it_is_named_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "nonsense")
    check_mode("disabled")
    for check in (lambda: check_mode("offline"), Server):
        with pytest.raises(ValueError, match="WANDB_BASE_URL=nonsense: W&B does not take"):
            check()


def variables_of_wandb() -> set[str]:
    """Return all variables that wandb reads: those in `wandb.env`, and one for each of its settings."""
    import wandb
    from wandb import env

    named = {value for value in vars(env).values() if isinstance(value, str) and value.startswith("WANDB_")}
    return {*named, "WANDB_DISABLED"} | {f"WANDB_{field.upper()}" for field in wandb.Settings.model_fields}


def test_each_variable_of_wandb_is_followed_or_named() -> None:
    """A variable that is followed is one that wandb has, and docs/howto/wandb.md names it."""
    known = variables_of_wandb()
    assert len(known) > 150
    assert known >= FOLLOWED, FOLLOWED - known
    for name in sorted(known):
        assert is_followed(name) != str(not_followed({name: "x"})).startswith(f"{name}: not followed, because"), name
    table = (ROOT / "docs" / "howto" / "wandb.md").read_text().partition("## Environment variables")[2]
    assert [
        name for name in sorted(FOLLOWED | NAMING) if f"`{name}`" not in table and f"`{name.removeprefix('WANDB_')}`" not in table
    ] == []


def test_a_fit_names_what_it_does_not_follow_unless_an_agent_started_it() -> None:
    assert str(not_followed_by_fit({"WANDB_NAME": "mine", "WANDB_PROJECT": "p"})).startswith("WANDB_NAME: not followed")
    assert not_followed_by_fit({"WANDB_NAME": "mine", "WANDB_SWEEP_ID": "s"}) is None
    assert not_followed_by_fit({"WANDB_PROJECT": "p", "WANDB_CONSOLE": "wrap"}) is None


@pytest.mark.slow
def test_followed_variables_reach_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Seglab's own settings are not in their way."""
    import wandb

    given = {"PROJECT": "mine", "ENTITY": "us", "TAGS": "a,b", "NOTES": "n", "INIT_TIMEOUT": "41", "HTTP_TIMEOUT": "7"}
    given |= {"X_STATS_SAMPLING_INTERVAL": "33", "_FILE_STREAM_RETRY_MAX": "3", "DISABLE_GIT": "true", "X_SAVE_REQUIREMENTS": "false"}
    for name, value in given.items():
        assert is_followed(f"WANDB_{name}")
        monkeypatch.setenv(f"WANDB_{name}", value)
    described = Described("s/a/s0", "s/a", "final", {"command": "c", "folder": "f"}, tmp_path, "s-a-s0", ("s",))
    wandb.teardown()  # it reads the variables of a process once
    try:
        loggers(described, "offline")
        assert wandb.run is not None
        run, settings = wandb.run, wandb.run.settings
        assert (run.project, run.entity, run.tags, str(run.notes)) == ("mine", "us", ("s", "a", "b"), "n\nc\nf")
        assert (settings.init_timeout, settings.x_graphql_timeout_seconds, settings.x_stats_sampling_interval) == (41, 7, 33)
        assert (settings.x_file_stream_retry_max, settings.disable_git, settings.x_save_requirements) == (3, True, False)
    finally:
        finish()
        wandb.teardown()


def command(place: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    given = {**os.environ, **NOBODY, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=place, env=given, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_script_and_a_command_drop_them_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for start, words in ((lambda: main(study), ["tiny.py", "status"]), (cli.main, ["seglab", "status", "nowhere"])):
        monkeypatch.setenv("WANDB_MODE", "")
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit):
            start()
        assert "WANDB_MODE" not in os.environ


@pytest.mark.weekly
def test_a_run_is_offline(tmp_path: Path) -> None:
    done = command(tmp_path, SCRIPT, "run", "--arm", "none", "--seed", 0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "W&B: offline; seglab sync" in done.stdout
    assert "WANDB_" not in done.stderr, "an empty WANDB_NAME names nothing"
    state = read_state(tmp_path / "runs" / "tiny" / "none" / "seed-0")
    assert state is not None
    assert (state.mode, state.complete, state.project) == ("offline", True, "seglab")


@pytest.mark.slow
def test_a_fit_is_offline(tmp_path: Path) -> None:
    ended = fit(user_folder(tmp_path), "--trainer.max_epochs", 1, **NOBODY)
    assert ended.code == 0, ended
    state = read_state(version(tmp_path, 0))
    assert state is not None
    assert (state.mode, state.complete, state.project) == ("offline", True, "seglab")


@pytest.mark.slow
def test_commands_about_finished_runs_take_nobody_for_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_study(tmp_path / "demo", 1, 0, 3)
    for words in (("sync", "demo"), ("dashboard", "demo"), ("report", "--wandb", "demo")):
        done = command(tmp_path, "-c", "from seglab.cli import main; main()", *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
        assert ("nobody is logged in" if words[0] == "sync" else "holds no study.json") in done.stderr
