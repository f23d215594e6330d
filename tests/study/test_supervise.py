"""Runs without a result, as `run` tells them."""

import io
import json
from pathlib import Path

from rich.console import Console

from seglab.exit_codes import FAILED
from seglab.running.plan import Plan, Script
from seglab.running.resources import Resources
from seglab.script.supervise import report_runs
from tests.study.tiny_experiment import study


def test_runs_that_failed_alike_share_a_line(tmp_path: Path) -> None:
    plan = Plan(study(seeds=10), tmp_path, Script(("script.py",)), Resources(accelerator="cpu"))
    for run in plan.runs:
        directory = run.directory(plan.folder)
        directory.mkdir(parents=True)
        if run.arm != "none":
            (directory / "lease.0").write_text("elsewhere 7\nfailed\nreleased\n")
            (directory / "failure.json").write_text(json.dumps({"error": f"ValueError: {run.arm if run.seed else 'first'}"}))
    said = io.StringIO()
    assert report_runs(plan, Console(file=said, width=500)) == FAILED
    names = {arm: ", ".join(f"tiny/{arm}/s{seed}" for seed in range(1, 9)) for arm in ("l1", "l2")}
    assert sorted(said.getvalue().splitlines()) == [
        f"failed: tiny/l1/s0, tiny/l2/s0: ValueError: first ({tmp_path}/tiny/l1/seed-0/log.txt)",
        f"failed: {names['l1']} and 1 more run: ValueError: l1 ({tmp_path}/tiny/l1/seed-1/log.txt)",
        f"failed: {names['l2']} and 1 more run: ValueError: l2 ({tmp_path}/tiny/l2/seed-1/log.txt)",
        f"not done: {', '.join(f'tiny/none/s{seed}' for seed in range(8))} and 2 more runs; `run` again goes on",
    ]
