"""Sentences and phrases about the numbers of a comparison."""

import math
from collections.abc import Mapping

from seglab.compare.criteria import Criteria
from seglab.compare.declared import shown
from seglab.compare.metric import Metric
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.contrasts import Contrast
from seglab.compare.numbers.detectable import seeds_needed, upper_sd
from seglab.compare.numbers.effects import Effect
from seglab.compare.numbers.factorial import Factorial
from seglab.compare.numbers.paired import PairedTest
from seglab.compare.numbers.resampled import FEWEST_SPLITS, splits_needed
from seglab.compare.numbers.statistics import pairs_needed
from seglab.compare.numbers.tuning import FINALISTS
from seglab.compare.unit import equals
from seglab.records import StudyRecord


def difference(found: Contrast | Effect, metric: Metric) -> str:
    """Return a difference with its interval, such as `−1.20 [−1.61, −0.79]`."""
    return f"{metric.unit.difference(found.difference)} {metric.unit.interval(found.low, found.high)}".rstrip()


def verdict(found: Contrast | Effect) -> str:
    """Return the verdict, followed by ≈ if a real difference is within the margin."""
    return (
        f"{found.verdict} ≈"
        if found.within_margin and found.verdict in ("better", "worse", "different", "effects differ")
        else found.verdict
    )


def equivalence(criteria: Criteria) -> str:
    """Return the definition of "equivalent" as text, for the legend of a table of arms."""
    if criteria.always_valid:
        return "No arm is called equivalent: tests that hold after any number of seeds show differences only."
    if criteria.within is None:
        return _no_margin("No arm is called equivalent", criteria.metric)
    return f"Equivalent: within {criteria.within}; ≈ marks a real difference that small."


def equivalence_of_effects(criteria: Criteria) -> str:
    """Return the definitions of "alike" and "equivalent" as text, for the legend of a table of effects."""
    if criteria.within is None:
        return _no_margin("No effects are called alike or equivalent", criteria.metric)
    return f"Effects alike, equivalent: within {criteria.within}; ≈ marks a real difference that small."


def scope(criteria: Criteria) -> str:
    """Return what a verdict and an interval hold for."""
    if criteria.splits is None:
        return f"over seeds{' and tunings' if criteria.tunings > 1 else ''}, on this split and this test set"
    return f"over seeds and data splits, for trainings on about {criteria.splits.train:.0f} images of this kind"


def over_seeds(seeds: int, pairs: int, criteria: Criteria) -> str:
    """Return the number of seeds as text, such as `over 10 seeds and data splits` or `over 12 seeds of 6 tunings`."""
    text = f"over {_counted(seeds, 'seed')}"
    if criteria.tunings > 1:
        return f"{text} of {_counted(pairs, 'tuning')}"
    return text if criteria.splits is None else f"{text} and data split{'s' if seeds > 1 else ''}"


def _counted(count: int, what: str) -> str:
    """Return a number with its noun, such as `1 seed` or `7 seeds`."""
    return f"{count} {what}{'s' if count > 1 else ''}"


def sensitivity(contrast: Contrast, comparison: Comparison) -> str:
    """Return what the pairs of an inconclusive contrast could have shown, and how many seeds would show the margin.

    The text is empty for other verdicts, and if the differences have no spread. It is also empty for tests that hold
    after any number of seeds, which have another power.
    """
    criteria, n, sd = comparison.criteria, contrast.pairs, contrast.sd_difference
    if contrast.verdict != "inconclusive" or not sd > 0 or criteria.always_valid:
        return ""
    unit, upper, units = criteria.metric.unit, upper_sd(sd, n), "tunings" if criteria.tunings > 1 else "seeds"
    test = PairedTest(criteria.test_share)
    smallest, largest = (test.detectable(one, n, comparison.tests, contrast.alpha) for one in (sd, upper))
    text = ""
    if math.isfinite(smallest):
        text = (
            f"{n} {units} show a true difference of {unit.amount(smallest)} with 80 % power ({unit.amount(largest)} at the upper 80 % limit of "
            "the standard deviation of the differences)"
        )
    if criteria.splits is not None and criteria.test_share is not None and criteria.margin is not None:
        level = contrast.alpha / comparison.tests
        splits = splits_needed(sd, criteria.margin, criteria.splits.folds, level, criteria.test_share)
        enough = (
            f"needs about {splits} data splits" if splits else "cannot be shown by more divisions of these images: it needs more images"
        )
        text = f"{text}; a difference as large as the margin {enough}"
    elif criteria.margin is not None:
        needed = seeds_needed(sd, criteria.margin, comparison.tests, contrast.alpha)
        seeds = f"a difference as large as the margin needs about {needed.difference} {units}, equivalence about {needed.equivalence}"
        text = f"{text}; {seeds}" if text else seeds
    return f"{text[0].upper()}{text[1:]}." if text else ""


def sentence(contrast: Contrast, comparison: Comparison) -> str:
    """Return the verdict on one contrast as a sentence with its numbers."""
    criteria, unit, seeds = comparison.criteria, comparison.criteria.metric.unit, len(contrast.seeds)
    arm, base = contrast.arm, criteria.baseline
    if seeds == 0:
        return f"{arm} and {base} have no seed in common: there is nothing to compare."
    over = over_seeds(seeds, contrast.pairs, criteria)
    size = unit.change(contrast.difference)
    level = f"{criteria.level} interval {unit.span(contrast.low, contrast.high)}"
    numbers = f"({level}), adjusted {equals(contrast.p_holm)} {over}" if math.isfinite(contrast.low) else over
    if contrast.verdict == "different":
        return f"{arm} differs from {base}: {size} {numbers}.{_small(contrast, criteria)}"
    if contrast.verdict in ("better", "worse"):
        return f"{arm} is {contrast.verdict} than {base} by {unit.amount(contrast.difference)} {numbers}.{_small(contrast, criteria)}"
    if contrast.verdict == "equivalent":
        same = f"adjusted {equals(contrast.p_equivalence_holm)} of two one-sided{' corrected' if criteria.splits else ''} t tests {over}"
        return f"{arm} and {base} are equivalent within {criteria.within}: {size} ({level}), {same}."
    if contrast.verdict == "inconclusive":
        lacking = (
            f"Neither a difference nor equivalence within {criteria.within} is shown." if criteria.within else "No difference is shown."
        )
        if contrast.reason:
            lacking = f"{contrast.reason[0].upper()}{contrast.reason[1:]}."
        return f"{arm} against {base} is inconclusive: {size} {numbers}. {lacking} {sensitivity(contrast, comparison)}".rstrip()
    return f"{arm} against {base} has no verdict: {size} {over}, {contrast.reason}."


def interactions(factors: Factorial) -> list[tuple[str, str]]:
    """Return the verdict on each interaction, and a sentence with its numbers."""
    return [(effect.verdict, interaction(effect, factors)) for effect in factors.effects if effect.kind == "interaction"]


def interaction(effect: Effect, factors: Factorial) -> str:
    """Return the verdict on one interaction as a sentence with its numbers."""
    criteria, unit, seeds, reference = factors.criteria, factors.criteria.metric.unit, len(effect.seeds), factors.levels[1][0]
    own = f"the effect of {effect.level} (against {factors.levels[0][0]})"
    if seeds == 0:
        return f"Whether {own} depends on {factors.factors[1]} is unknown for {effect.at}: no seed has all four arms that it takes."
    size = unit.change(effect.difference)
    over = over_seeds(seeds, effect.pairs, criteria)
    level = f"{criteria.level} interval {unit.span(effect.low, effect.high)}"
    numbers = f"{size} ({level}), adjusted {equals(effect.p_holm)} {over}" if math.isfinite(effect.low) else f"{size} {over}"
    if effect.verdict == "effects differ":
        found = f"{own} at {effect.at} differs from that at {reference} by {numbers}.{_small(effect, criteria)}"
    elif effect.verdict == "effects alike":
        same = f"{size} ({level}), adjusted {equals(effect.p_equivalence_holm)} {over}"
        found = f"{own} is alike at {effect.at} and at {reference}, within {criteria.within}: {same}."
    elif effect.verdict == "inconclusive":
        found = f"whether {own} differs between {effect.at} and {reference} is inconclusive: {numbers}."
    else:
        found = f"whether {own} differs between {effect.at} and {reference} has no verdict: {size} {over}, {effect.reason}."
    return found[0].upper() + found[1:]


def protocol(criteria: Criteria) -> tuple[str, ...]:
    """Return sentences that describe how the numbers were computed."""
    metric = criteria.metric
    direction = "no end is better" if not metric.has_direction else "smaller is better" if metric.smaller_is_better else "larger is better"
    if criteria.within is None or criteria.always_valid:
        equivalent = equivalence(criteria)
    else:
        corrected = " corrected" if criteria.splits else ""
        equivalent = f"Else equivalent: within {criteria.within} by two one-sided{corrected} t tests (Holm)."
    return (
        f"The measure is {metric.title} ({direction}).",
        *_observation(criteria),
        "Each run is scored once, on the last weights, never on weights or settings chosen on the test split.",
        *_declaration(criteria),
        f"p is {_test(criteria)}, adjusted over all declared contrasts (Holm).",
        f"Better or worse: p at most {_largest_p(criteria)}. {equivalent}",
        f"The rate of false differences is at most {criteria.alpha:g} over all arms, and that of false equivalences likewise: two questions, "
        "two rates.",
        "Else inconclusive: a large p never means that two arms are equal.",
        f"Intervals are the {criteria.level} intervals of the mean paired difference that {'this' if criteria.splits else 'the sign-flip'} test does "
        f"not reject, each for its own contrast, not adjusted. They hold {scope(criteria)}.",
        *_fewest(criteria),
    )


def _observation(criteria: Criteria) -> list[str]:
    """Return sentences on what is one pair of a test."""
    if criteria.tunings > 1:
        return [
            f"Each arm was tuned {criteria.tunings} times, and seed s is trained with the setting of tuning s mod {criteria.tunings}. The mean over "
            "the seeds of one tuning is one observation; an arm meets the baseline tuning by tuning."
        ]
    one = "One training run is one observation; an arm meets the baseline seed by seed, as equal seeds share initialisation and data order."
    splits = criteria.splits
    if splits is None:
        return [one]
    return [
        one,
        f"Each seed has data splits of its own, the same for all arms: seed s tests on fold s mod {splits.folds} of division "
        f"s // {splits.folds} of all images; on average {splits.train:.0f} train, {splits.val:.0f} val, {splits.test:.0f} test. Groups are never cut.",
    ]


def _test(criteria: Criteria) -> str:
    if criteria.splits is not None:
        return (
            f"that of the corrected resampled t test (Nadeau & Bengio 2003): the variance of the mean of J differences is s²(1/J + "
            f"{criteria.test_share:.3g}), as splits that share training images are not independent; sign flips would take them for independent"
        )
    if criteria.always_valid:
        return "that of an e-process of the paired differences, which holds after any number of seeds"
    return "the two-sided sign-flip p of the paired differences, exact up to 20 pairs"


def _largest_p(criteria: Criteria) -> str:
    looks = criteria.declared is not None and criteria.declared.looks
    return f"the part of {criteria.alpha:g} that the look spends" if looks else f"{criteria.alpha:g}"


def _fewest(criteria: Criteria) -> list[str]:
    """Return a sentence on the fewest pairs with a verdict.

    Return none for tests that hold after any number of seeds, whose p has other steps.
    """
    if criteria.always_valid:
        return []
    if criteria.splits is not None:
        return [f"Under {FEWEST_SPLITS} data splits there is no verdict."]
    return [f"Under {pairs_needed(criteria.alpha)} pairs there is no verdict: with n pairs the smallest possible p is 2/2ⁿ."]


def _declaration(criteria: Criteria) -> list[str]:
    """Return a sentence on what was declared before the first result; none if that is not known."""
    declared = criteria.declared
    if declared is None or not declared.seeds:
        return []
    stopping = "with tests that hold after any number of seeds" if declared.always_valid else "verdicts are given when all of them are done"
    if declared.looks:
        stopping = f"with looks at {shown(declared.looks)} and {len(declared.seeds)} seeds, each of which spends a part of alpha"
    margin = "no margin" if declared.margin is None else f"margin {declared.margin:g}"
    return [
        f"Declared before the first result: {declared.metric} against {declared.baseline}, {margin}, alpha {declared.alpha:g}, "
        f"{len(declared.arms)} arms, {len(declared.seeds)} seeds; {stopping}."
    ]


def tuning(record: StudyRecord | None) -> str | None:
    """Return sentences on each arm's chosen setting, how it was chosen, and what p covers; None without tuning."""
    budget = None if record is None else record.shared.get("tuning")
    if record is None or not isinstance(budget, Mapping):
        return None
    seeds, settings = ", ".join(map(str, budget.get("seeds", ()))), budget.get("settings")
    final = ", ".join(map(str, budget.get("final_seeds", ())))
    best = min(FINALISTS, settings) if isinstance(settings, int) else FINALISTS
    rounds = f"; then the best {best} over seeds {final} too" if final else ""
    folds = f", by {budget['folds']}-fold cross-validation" if budget.get("folds") else ""
    own = {arm: described.get("tuning") for arm, described in record.arms.items()}
    chosen = "; ".join(f"{arm} {choice.get('chosen')}" for arm, choice in own.items() if isinstance(choice, Mapping))
    times, limit = "", "Every p holds for these settings: another tuning can choose others, and its own chance is not in the p."
    if record.tunings > 1:
        times = f", {record.tunings} times, each time under seeds of its own (these are the first)"
        limit = "Every p holds over seeds and tunings: the chance of a tuning is in the p."
    return (
        f"Tuned: {settings} setting{'s' * (settings != 1)} each, on {Metric.parse(str(budget.get('metric'))).title} over seeds {seeds}{rounds}{folds}{times}. "
        f"Chosen: {chosen}. {limit}"
    )


def _small(found: Contrast | Effect, criteria: Criteria) -> str:
    return f" The difference is real, but within the margin of {criteria.within}." if found.within_margin else ""


def _no_margin(consequence: str, metric: Metric) -> str:
    return f"{consequence}: {metric.title} has no margin, unless --margin gives one."
