"""`seglab dashboard`, `seglab report --wandb` and the W&B line: panels of what was logged, only seglab's statistics."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from wandb_workspaces.reports.v2 import Config, Report, SummaryMetric
from wandb_workspaces.reports.v2 import internal as reports
from wandb_workspaces.workspaces import Workspace
from wandb_workspaces.workspaces import internal as workspaces

from seglab.compare import analyse, read_folder, to_markdown
from seglab.compare.plots.style import line_of
from seglab.compare.report import render
from seglab.dashboard import panels
from seglab.dashboard.drawn import Drawn
from seglab.dashboard.logged import read_logged
from seglab.dashboard.notices import Answer, at_end, at_start, left_over, standing
from seglab.dashboard.workspace import workspaces as workspaces_of
from seglab.running.ledger import claim
from seglab.transaction_log import Keys
from tests.wandb.server import WandbServer

Command = Callable[..., "subprocess.CompletedProcess[str]"]
NOBODY = {"WANDB_API_KEY": "", "NETRC": "/nonexistent"}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study whose runs have logs."""
    folder = tmp_path_factory.mktemp("drawn") / "demo"
    subprocess.run([sys.executable, "-m", "tests.wandb.finished", str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture
def demo(drawn: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(drawn, tmp_path / "runs" / "demo", symlinks=True))


@pytest.fixture
def seglab(wandb_server: WandbServer, tmp_path: Path) -> Command:
    """Runs a command of seglab."""

    def run(*words: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", "from seglab.cli import main; main()", *map(str, words)]
        given = {**wandb_server.environment(), **environment}
        return subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def named(spec: Any, key: str = "") -> Iterator[str]:
    """Yield all names that panels give, settings as `config:NAME`."""
    if isinstance(spec, dict):
        for inner, value in spec.items():
            yield from named(value, inner)
    elif isinstance(spec, list):
        for value in spec:
            yield from named(value, key)
    elif isinstance(spec, str):
        if key in ("metrics", "mediaKeys", "targetKey", "val"):
            yield spec
        elif key == "groupBy":
            yield f"config:{spec.removesuffix('.value')}"
        elif key in ("xAxis", "yAxis", "accessor", "columnOrder") and spec not in ("_step", "run", "index", "run:displayName"):
            yield spec.removeprefix("summary:").removesuffix(".value")


@pytest.mark.slow
def test_the_panels_name_what_was_logged_and_choose_the_study(
    wandb_server: WandbServer, seglab: Command, demo: Path, tmp_path: Path
) -> None:
    assert seglab("sync", demo.parent).returncode == 0
    dry = seglab("dashboard", demo, "--dry_run", **NOBODY)
    assert (dry.returncode, dry.stderr, (demo / "dashboard.json").exists()) == (0, "", False)
    views = json.loads(dry.stdout)["workspaces"]
    logged = {key for run in wandb_server.runs.values() for key in run.keys} | {
        f"config:{key}" for key in wandb_server.runs["demo-l2-s0"].config
    }
    foreign = replace(wandb_server.runs["demo-l2-s0"], id="foreign")  # of a study of the same name that was deleted
    foreign.raw_config = {**foreign.raw_config, "identity": {"value": "of other settings"}}
    wandb_server.runs["foreign"] = foreign
    for view in views:
        names = set(named(view["spec"]))
        assert len(names) > 4
        assert names <= logged, names - logged
        again = Workspace._from_model(workspaces.View.model_validate(view))
        assert [section.name for section in again.sections] == [
            section["name"] for section in view["spec"]["section"]["panelBankConfig"]["sections"]
        ]
        chosen = {item["key"]["name"]: item["value"] for item in view["spec"]["section"]["runSets"][0]["filters"]["filters"]}
        identities = chosen.pop("identity")
        ids = {name for name, run in wandb_server.runs.items() if all(run.config[key] == value for key, value in chosen.items())}
        ids = {name for name in ids if wandb_server.runs[name].config["identity"] in identities}
        ours = wandb_server.runs.keys() - {"foreign"}
        assert ids == {name for name in ours if name.startswith("tuning") == (chosen["phase"] == "tuning")}
    titles = [section["name"] for section in views[0]["spec"]["section"]["panelBankConfig"]["sections"]]
    assert titles == ["Answer", "Curves", "Classes", "Pictures", "Weights", "Freezing", "Cost"]
    assert [view["displayName"] for view in views] == ["demo", "demo: tuning"]
    assert list(views[0]["spec"]["section"]["customRunColors"].values()) == [line_of(0)[0], line_of(1)[0]]


@pytest.mark.slow
def test_a_workspace_is_saved_once(wandb_server: WandbServer, seglab: Command, demo: Path) -> None:
    without = seglab("dashboard", demo, **NOBODY)
    assert (without.returncode, wandb_server.views) == (0, [])
    assert "nobody is logged in" in without.stdout
    assert json.loads((demo / "dashboard.json").read_text())["urls"] == []
    assert_nothing_is_shown_before_an_upload(wandb_server, seglab, demo)
    saved = [seglab("dashboard", demo), seglab("dashboard", demo)]
    assert [done.returncode for done in saved] == [0, 0], saved
    assert saved[0].stdout == saved[1].stdout
    assert [(view.title, view.saves, view.kind) for view in wandb_server.views] == [
        ("demo", 2, "project-view"),
        ("demo: tuning", 2, "project-view"),
    ]
    assert seglab("dashboard", demo, **NOBODY).returncode == 0
    assert len(json.loads((demo / "dashboard.json").read_text())["urls"]) == 2  # what was saved is not forgotten


def assert_nothing_is_shown_before_an_upload(server: WandbServer, seglab: Command, demo: Path) -> None:
    """The commands name the one that uploads, which then uploads one run."""
    for words in (("dashboard", demo), ("report", "--wandb", demo)):
        done = seglab(*words)
        assert (done.returncode, done.stderr.count("\n"), server.views) == (2, 1, [])
        assert f"{demo}: none of its runs is at {server.url}" in done.stderr
        assert f"seglab sync {demo} uploads them" in done.stderr
    assert seglab("sync", demo / "none" / "seed-0").returncode == 0


@pytest.mark.slow
def test_a_report_holds_the_table_of_compare(wandb_server: WandbServer, seglab: Command, demo: Path) -> None:
    dry = seglab("report", "--wandb", demo, "--dry_run", **NOBODY)
    assert (dry.returncode, dry.stderr, (demo / "wandb_report.json").exists()) == (0, "", False)
    found = json.loads(dry.stdout)["report"]
    report = Report._from_model(reports.ReportViewspec.model_validate(found))
    text = "\n".join(getattr(block, "text", "") for block in report.blocks if isinstance(getattr(block, "text", None), str))
    table = to_markdown(analyse(read_folder(demo)).comparison)
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert all(row in text for row in rows)
    assert "l2 is better than none by 5.33 points (95 % interval +4.00 to +6.00)" in text
    assert "no test" in text
    assert seglab("sync", demo).returncode == 0
    saved = [seglab("report", "--wandb", demo), seglab("report", "--wandb", demo)]
    assert [done.returncode for done in saved] == [0, 0], saved
    assert [(view.title, view.saves, view.kind) for view in wandb_server.views] == [("demo: comparison", 2, "runs")]
    assert_the_pictures_are_those_of_the_page(wandb_server, demo)


def assert_the_pictures_are_those_of_the_page(server: WandbServer, demo: Path) -> None:
    """One run holds them, and the report's panels show what it has logged, and nothing of another run."""
    (spec,) = [view.spec for view in server.views]
    (run,) = [run for run in server.runs.values() if run.config["phase"] == "report"]
    titles = re.findall('<svg role="img" aria-label="([^"]*)"', render(analyse(read_folder(demo))))
    grids = [block for block in spec["blocks"] if block["type"] == "panel-grid"]
    shown = [set(named(grid["metadata"]["panelBankSectionConfig"])) for grid in grids]
    logged = {name for row in run.rows for name in row if name.startswith("report/")}
    assert len(titles) > 1
    assert logged == {Drawn(unescape(title), "", ()).key for title in titles}
    assert logged == {name for names in shown for name in names if name.startswith("report/")}
    (chosen,) = [grid["metadata"]["runSets"][0]["filters"] for grid, names in zip(grids, shown, strict=True) if names & logged]
    assert run.config["identity"] in json.dumps(chosen)
    assert (run.config["identity"], run.exit_code, len(run.rows)) == (run.id, 0, 2)
    for name, value in run.rows[-1].items():
        if name in logged:
            assert all(run.files[path].startswith(b"\x89PNG") for path in value["filenames"])


@pytest.mark.slow
def test_what_cannot_be_shown_is_one_line(seglab: Command, demo: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(demo, bare, ignore=shutil.ignore_patterns("wandb"))
    damaged = Path(shutil.copytree(demo, tmp_path / "damaged"))
    for path in damaged.rglob("run-*.wandb"):
        path.write_bytes(b"")
    cases: list[tuple[tuple[object, ...], dict[str, str], str]] = [
        (("dashboard", tmp_path / "nothing"), {}, f"{tmp_path / 'nothing'}: no such folder"),
        (("dashboard", tmp_path), {}, f"{tmp_path}: holds no study.json"),
        (("dashboard", bare), {}, f"{bare}: no run has a log of Weights & Biases"),
        (("dashboard", damaged), {}, f"{damaged}: no log of its runs can be read: all are damaged or empty"),
        (("report", demo), {}, "report: add --wandb"),
        (("report", "--wandb", bare), {}, f"{bare}: no run has a log"),
        (("dashboard", demo), {"WANDB_API_KEY": "b" * 40}, "W&B cannot be used"),
    ]
    for words, environment, reason in cases:
        done = seglab(*words, **environment)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
        assert reason in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [("dashboard",), ("report", "--wandb")])
def test_an_outage_while_saving_is_one_line(wandb_server: WandbServer, seglab: Command, demo: Path, words: tuple[str, ...]) -> None:
    assert seglab("sync", demo / "none" / "seed-0").returncode == 0
    wandb_server.break_down("401", after=3)
    done = seglab(*words, demo)
    assert (done.returncode, done.stderr.count("\n"), wandb_server.views) == (2, 1, [])
    assert f"{wandb_server.url}: W&B does not do what it was asked" in done.stderr
    assert not list(demo.glob("*.json.*"))


@pytest.mark.weekly
@pytest.mark.parametrize(("words", "file"), [(("dashboard",), "dashboard.json"), (("report", "--wandb"), "wandb_report.json")])
def test_nothing_is_saved_that_the_folder_cannot_know(
    wandb_server: WandbServer, seglab: Command, demo: Path, words: tuple[str, ...], file: str
) -> None:
    """The same command again would not replace it. And runs that are not uploaded are named."""
    assert seglab("sync", demo / "none" / "seed-0").returncode == 0
    (demo / file).mkdir()
    done = seglab(*words, demo)
    assert (done.returncode, done.stderr.count("\n"), wandb_server.views) == (2, 1, [])
    (demo / file).rmdir()
    done = seglab(*words, demo)
    assert (done.returncode, bool(wandb_server.views)) == (0, True)
    assert f"W&B: 15 runs not uploaded; seglab sync {demo} does it" in done.stdout


def test_colours_are_those_of_the_report(drawn: Path) -> None:
    logged = read_logged(drawn)
    assert logged.colours == {"none": line_of(0)[0], "l2": line_of(1)[0]}
    assert (logged.project, logged.baseline_run) == ("stand-in", "demo-none-s0")


@pytest.mark.filterwarnings("ignore:Passing a plain list of FilterExpr is deprecated")
def test_a_study_may_have_any_name(drawn: Path) -> None:
    """The package of W&B takes + and = for emojis."""
    logged = read_logged(drawn)
    made = workspaces_of(replace(logged, record=replace(logged.record, study="l1+l2=0.1")), "me")
    assert [view.name for view in made] == ["l1_l2_0.1", "l1_l2_0.1: tuning"]
    assert len({*logged.chosen("final")[-1].value}) == 2


def test_panels_show_settings_that_differ() -> None:
    """Relative penalties, all of strength 1, and the runs without a penalty do not differ in strength."""
    config = {"penalty": {'"none"', '"l1"'}, "strength": {"null", "1"}, "ratio": {"null", "0.03", "0.1"}, "lr": {"0.01"}, "schedule": set()}
    logged = Keys(config=config, summary={"test/miou", "best/val_miou"})
    *_, scatter, coordinates = panels.answer("test/miou", logged)
    assert scatter.x == Config("ratio")
    assert [column.metric for column in coordinates.columns] == [Config("penalty"), Config("ratio"), SummaryMetric("best/val_miou")]
    config["ratio"] = {"null", "0.03"}
    assert len(panels.answer("test/miou", logged)) == 2


def test_a_run_that_is_running_is_not_called_uploaded(demo: Path) -> None:
    run = demo / "l2" / "seed-0"
    for log in demo.rglob("*.wandb"):
        if run not in log.parents:
            log.with_name(f"{log.name}.synced").touch()
    (run / "result.json").unlink()
    lease = claim(run)
    assert lease is not None
    with lease:
        assert at_end(demo, "offline") == [f"W&B: 1 run still running, by its lease; seglab sync {demo} uploads what is left afterwards"]
    assert at_end(demo, "offline") == [left_over(demo)]


def test_the_line_about_uploads(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_start("disabled", demo) == "W&B: disabled"
    assert at_start("offline", demo) == f"W&B: offline; seglab sync {demo} uploads the runs later"
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert at_start("online", demo) == "W&B: online, project mine"
    assert left_over(demo) == f"W&B: 16 runs not uploaded; seglab sync {demo} does it"
    assert at_end(demo, "offline") == [left_over(demo)]
    for log in demo.rglob("*.wandb"):
        log.with_name(f"{log.name}.synced").touch()
    assert (left_over(demo), at_end(demo, "online")) == (None, ["W&B: all runs are uploaded"])
    (demo / "l2" / "seed-0" / "wandb" / "seglab.json").write_text('{"url": "https://wandb.ai/me/seglab/runs/x", "complete": true}')
    assert at_end(demo, "online") == ["W&B: all runs are uploaded: https://wandb.ai/me/seglab"]
    assert at_start("online", demo) == "W&B: online, project mine", "another project"
    monkeypatch.delenv("WANDB_PROJECT")
    assert at_start("online", demo) == "W&B: online, https://wandb.ai/me/seglab"
    for folder in list(demo.rglob("wandb")):
        if folder.is_dir():
            folder.rename(folder.with_name("elsewhere"))
    assert at_end(demo, "disabled") == []
    served = demo / "none" / "seed-5" / "wandb"
    served.mkdir()
    (served / "seglab.json").write_text('{"mode": "online", "complete": true}')
    log = demo / "l2" / "seed-0" / "log.txt"
    said = (
        "W&B: 15 finished runs without a log (W&B was disabled, it could not write one, or it was deleted); "
        "metrics.csv and result.json hold all numbers"
    )
    assert at_end(demo, "offline") == [f"{said} (see {log})"]
    assert standing(demo) == [said]
    (served / "seglab.json").write_text('{"mode": "online", "complete": false}')
    assert standing(demo) == [f"W&B: 1 run not uploaded; seglab sync {demo} does it", said]


def test_the_first_run_says_where_it_is(demo: Path) -> None:
    """Once, and not again by a later stage of the same study; what earlier attempts have left says nothing."""
    runs = [demo / "l2" / f"seed-{seed}" for seed in range(2)]

    def left(run: Path, **state: object) -> None:
        (run / "wandb" / "seglab.json").write_text(json.dumps(state))

    left(runs[0], mode="offline", problem="of yesterday")
    answer = Answer(demo, runs)
    os.utime(runs[0] / "wandb" / "seglab.json", (1e9, 1e9))
    assert answer.line() is None
    left(runs[1], mode="online", url="https://wandb.ai/me/seglab/runs/x")
    assert [answer.line(), answer.line()] == ["W&B: https://wandb.ai/me/seglab", None]
    later = Answer(demo, runs)
    left(runs[0], mode="online", url="https://wandb.ai/me/seglab/runs/y")
    assert later.line() is None
    down = Answer(demo, runs)
    os.utime(runs[1] / "wandb" / "seglab.json", (1e9, 1e9))
    left(runs[0], mode="offline", problem="refused")
    expected = f"W&B: offline, because it cannot be used (refused); seglab sync {demo} uploads the runs later"
    assert [down.line(), down.line()] == [expected, None]
