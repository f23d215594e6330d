"""Say before a study runs what it can show: detectable differences and the seeds that the margin needs."""

import math
from collections.abc import Sequence

import numpy as np

from seglab.compare.metric import Metric
from seglab.compare.numbers import statistics
from seglab.compare.numbers.detectable import detectable, seeds_needed, upper_sd
from seglab.compare.numbers.paired import PairedTest, smallest_p
from seglab.compare.numbers.sequential import spending
from seglab.compare.numbers.tuning import Choice
from seglab.compare.splits import DataSplits
from seglab.records import TUNING, Analysis
from seglab.running.plan import Plan
from seglab.running.status import count
from seglab.script.tuning import choices


def planning_lines(plan: Plan) -> list[str]:
    """Return what a plan's declared analysis can show at its last look, with the spread of tuning runs if they exist.

    There are no lines for tests that hold after any number of seeds, which have another power.
    """
    declared = plan.study.analysis
    tests, pairs, units = declared.tests, declared.pairs, "tuning" if declared.tunings > 1 else "seed"
    if tests < 1 or declared.always_valid:
        return []
    level, size = _last_level(declared), f"{count(pairs, units)} and {count(tests, 'contrast')}"
    test = _over_splits(plan)
    if test.test_share is not None and (why := test.too_few(pairs, level)):
        return [f"planned: no verdict, as there are {why}"]
    smallest = test.detectable(1.0, pairs, tests, level)
    if math.isinf(smallest):
        needed = statistics.pairs_needed(level, tests)
        lines = [f"planned: {size} can show no difference, however large: {needed} {units}s could"]
    else:
        lines = [
            f"planned: {size} show, with 80 % power, a true difference of {smallest:.2f} standard deviations of the paired differences"
        ]
    lines += _of_looks(declared)
    return lines + (_of_tuning(plan, declared) if plan.study.budget is not None and declared.tunings == 1 else [])


def _over_splits(plan: Plan) -> PairedTest:
    """Return the test of the plan's comparison."""
    found = plan.study.data.mean_sizes()
    return PairedTest(None if found is None else DataSplits(**found).share(Metric.parse(plan.study.metric).split))


def _last_level(declared: Analysis) -> float:
    """Return the part of alpha that the look at all declared seeds spends; all of it without planned looks."""
    sizes = (*declared.looks, len(declared.seeds))
    return spending(sizes, sizes[-1], declared.alpha)[-1]


def _of_looks(declared: Analysis) -> list[str]:
    """Return a line for each planned look that can show nothing."""
    sizes = (*declared.looks, len(declared.seeds))
    levels = spending(sizes, sizes[-1], declared.alpha) if declared.looks else ()
    pairs = [declared.tunings if declared.tunings > 1 else size for size in sizes]
    return [
        f"the look at {size} seeds can show nothing: the smallest p, {declared.tests} × {smallest_p(n):.2g}, is above its part of alpha, {level:.2g}"
        for size, n, level in zip(sizes, pairs, levels, strict=False)
        if declared.tests * smallest_p(n) > level
    ]


def _of_tuning(plan: Plan, declared: Analysis) -> list[str]:
    """Return a line with the numbers of seeds that follow from tuning; no line for fewer than two tuning seeds."""
    metric = Metric.parse(plan.study.tuning_metric)
    differences = paired_differences(choices(plan.study, plan.folder / TUNING), declared.baseline)
    freedom = sum(len(own) - 1 for own in differences)
    if freedom == 0:
        return []
    sd = math.sqrt(sum(float(np.var(own)) * len(own) for own in differences) / freedom)
    if sd == 0:
        return []
    unit, upper, seeds = metric.unit, upper_sd(sd, freedom + 1), len(declared.seeds)
    smallest, largest = (detectable(one, seeds, declared.tests, _last_level(declared)) for one in (sd, upper))
    line = (
        f"in the tuning runs the paired differences of {metric.title} have a standard deviation of {unit.amount(sd)} (upper 80 % limit "
        f"{unit.amount(upper)})"
    )
    if math.isfinite(smallest):
        line += f": {seeds} seeds show a true difference of {unit.amount(smallest)} (at the limit {unit.amount(largest)})"
    if declared.margin is not None and Metric.parse(declared.metric).unit == unit:
        needed = seeds_needed(sd, declared.margin, declared.tests, _last_level(declared))
        line += (
            f"; a difference as large as the margin, {unit.amount(declared.margin)}, needs about {needed.difference} seeds, equivalence about "
            f"{needed.equivalence}"
        )
    return [line]


def paired_differences(found: Sequence[Choice], baseline: str) -> list[statistics.Floats]:
    """Return the differences (t,) of each arm's chosen setting from the baseline's, over the t tuning seeds.

    Arms without a choice are left out.
    """
    best = {choice.arm: np.array(choice.best.scores) for choice in found if choice.best is not None}
    if baseline not in best:
        return []
    return [statistics.paired_differences(scores, best[baseline]) for arm, scores in best.items() if arm != baseline]
