"""Statements of `run --dry_run` on what a study can show."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from seglab.compare.numbers.detectable import detectable
from seglab.compare.numbers.sequential import spending
from seglab.running.plan import Plan, Script
from seglab.running.resources import Resources
from seglab.script.dry_run import print_runs
from seglab.script.planning import planning_lines
from seglab.study.study import Study
from tests.study import test_tuning, tuned_experiment
from tests.study.tiny_experiment import study


def plan(root: Path, planned: Study) -> Plan:
    return Plan(planned, root, Script(("script.py",)), Resources(accelerator="cpu"))


def test_a_plan_says_what_it_can_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three arms are two contrasts; the audit's table has 1.00 for one contrast of 10 seeds, and 1.26 for three."""
    (line,) = planning_lines(plan(tmp_path, study(seeds=10)))
    shown = float(re.findall(r"difference of ([0-9.]+) standard deviations", line)[0])
    assert 1.00 < shown < 1.26
    (line,) = planning_lines(plan(tmp_path, study(seeds=6)))
    assert line == "planned: 6 seeds and 2 contrasts can show no difference, however large: 7 seeds could"
    two = {arm: study().arms[arm] for arm in ("none", "l2")}
    (short,) = planning_lines(plan(tmp_path, replace(study(seeds=1), arms=two)))
    assert short.startswith("planned: 1 seed and 1 contrast can show no difference")
    print_runs([plan(tmp_path, study(seeds=6))])
    assert line in capsys.readouterr().out.splitlines()


def test_a_plan_with_looks_counts_on_the_alpha_that_is_left_for_the_last() -> None:
    def shown(looks: tuple[int, ...]) -> float:
        return float(
            re.findall(r"difference of ([0-9.]+) standard", planning_lines(plan(Path(), replace(study(seeds=12), looks=looks)))[0])[0]
        )

    assert shown((8,)) == pytest.approx(detectable(1.0, 12, 2, spending((8, 12), 12, 0.05)[1]), abs=0.005)
    assert shown((8,)) > shown(())


def test_nothing_is_said_about_tests_of_another_power() -> None:
    assert planning_lines(plan(Path(), replace(study(seeds=12), always_valid=True))) == []


def test_a_look_that_can_show_nothing_is_named(tmp_path: Path) -> None:
    lines = planning_lines(plan(tmp_path, replace(study(seeds=12), looks=(6, 10))))
    assert [line.partition(":")[0] for line in lines[1:]] == ["the look at 6 seeds can show nothing"]


def test_the_tuning_runs_give_the_spread_and_the_seeds_that_the_margin_needs(tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    scores = {"none@lr=1e-4": (0.50, 0.40), "none@lr=1e-2": (0.4, 0.3), "l2@lr=1e-2": (0.51, 0.43), "l2@lr=1e9": (0.1, 0.2)}
    test_tuning.drawn(tmp_path / "tuned" / "tuning", dict(scores))
    lines = planning_lines(plan(tmp_path, tuned_experiment.study(seeds=10)))
    sd = float(np.std([0.01, 0.03], ddof=1))
    upper = sd * math.sqrt(1 / scipy.stats.chi2.ppf(0.2, 1))
    assert f"standard deviation of {100 * sd:.2f} points (upper 80 % limit {100 * upper:.2f} points)" in lines[1]
    assert float(re.findall(r"true difference of ([0-9.]+) points", lines[1])[0]) == pytest.approx(100 * sd, abs=0.02)  # the table's 1.00
    needed = (scipy.stats.norm.isf(0.025) + scipy.stats.norm.isf(0.2)) ** 2 * (sd / 0.005) ** 2
    assert int(re.findall(r"needs about ([0-9]+) seeds", lines[1])[0]) == pytest.approx(needed, rel=0.05)
