"""Comparisons of a study that repeats its tuning: pairs are means over each tuning's seeds; equal methods stay alike.

Here the tuning is part of what is drawn: two equal methods choose settings by the product's own rule, and the public
function compares them.
"""

import dataclasses
import math

import numpy as np
import pytest

from seglab.compare import Comparison, Criteria, Metric, compare, compare_factors, wording
from seglab.compare.numbers.classes import per_class
from seglab.compare.numbers.detectable import detectable
from seglab.compare.numbers.pairing import pairs_of, tuning_means
from seglab.compare.sets.answer import DataSet
from seglab.compare.sets.comparing import compare_sets
from seglab.compare.tables.arm_table import detail_table, to_markdown
from seglab.records import Analysis, Result, Run
from tests.compare.test_simulations import METRIC, limit, report, runs, studies
from tests.compare.test_tuning import chosen


def criteria(arms: tuple[str, ...], seeds: int, tunings: int) -> Criteria:
    declared = Analysis(arms[0], str(METRIC), 0.005, 0.05, arms, tuple(range(seeds)), tunings=tunings)
    return Criteria(METRIC, arms[0], declared=declared)


def answer(scores: np.ndarray, tunings: int) -> Comparison:
    """Return the comparison of (arms, seeds) scores, where seed s belongs to tuning s mod `tunings`."""
    arms = tuple(f"arm{place}" for place in range(len(scores)))
    return compare(runs(scores, arms)[0], criteria(arms, scores.shape[1], tunings))


def drawn(seed: int = 0, arms: int = 3, tunings: int = 8, seeds: int = 2) -> np.ndarray:
    """Return (arms, seeds · tunings) scores with a part that the seeds of a tuning share."""
    generator = np.random.default_rng(seed)
    own = np.tile(generator.normal(size=(arms, tunings)), seeds) + 0.3 * generator.normal(size=(arms, tunings * seeds))
    own[1] += 5.0
    return np.asarray(0.5 + 0.01 * own)


def test_the_means_of_the_tunings_are_judged_as_seeds_would_be() -> None:
    scores = drawn()
    means = scores.reshape(3, 2, 8).mean(axis=1)
    found, expected = answer(scores, 8), answer(means, 1)
    for one, other in zip(found.contrasts, expected.contrasts, strict=True):
        assert (one.pairs, len(one.seeds), other.pairs) == (8, 16, 8)
        for name in (
            "difference",
            "sd_difference",
            "low",
            "high",
            "p",
            "p_holm",
            "p_equivalence",
            "effect_size",
            "superiority",
            "correlation",
        ):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-12), name
        assert one.verdict == other.verdict
    assert found.contrasts[0].verdict == "better"
    assert found.contrasts[0].p == 2 / 2**8
    assert answer(scores, 1).contrasts[0].p == 2 / 2**16  # as if the seeds of a tuning told as much as those of others


def test_five_tunings_give_no_verdict_however_many_seeds_there_are() -> None:
    (contrast, _) = answer(drawn(tunings=5, seeds=4), 5).contrasts
    assert (len(contrast.seeds), contrast.pairs, contrast.verdict) == (20, 5, "no verdict")
    assert contrast.reason.startswith("5 of the 6 pairs needed")
    assert math.isinf(contrast.low)


def test_a_lost_run_leaves_its_tuning_with_the_other_seeds() -> None:
    scores = drawn()
    results, _ = runs(scores, ("arm0", "arm1", "arm2"))
    found = compare(
        [one for one in results if one.run != Run("study", "arm1", 3)],
        criteria(("arm0", "arm1", "arm2"), 16, 8),
        {Run("study", "arm1", 3): "failed"},
    )
    differences = (scores[1] - scores[0]).reshape(2, 8).mean(axis=0)
    differences[3] = (scores[1] - scores[0])[11]
    assert found.contrasts[0].pairs == 8
    assert found.contrasts[0].difference == pytest.approx(differences.mean())


def test_effects_of_factors_pair_the_tunings() -> None:
    arms = ("none+full", "l2+full", "none+frozen", "l2+frozen")
    scores = drawn(arms=4)
    means = scores.reshape(4, 2, 8).mean(axis=1)
    found = compare_factors(runs(scores, arms)[0], ("penalty", "schedule"), criteria(arms, 16, 8))
    expected = compare_factors(runs(means, arms)[0], ("penalty", "schedule"), criteria(arms, 8, 1))
    for one, other in zip(found.effects, expected.effects, strict=True):
        assert (one.pairs, one.p, one.p_holm) == (8, other.p, other.p_holm)
        assert (one.difference, one.low, one.high) == pytest.approx((other.difference, other.low, other.high))


def test_classes_and_data_sets_pair_the_tunings() -> None:
    def with_classes(scores: np.ndarray) -> list[Result]:
        found, _ = runs(scores, ("arm0", "arm1", "arm2"))
        return [dataclasses.replace(one, per_class={"test": {"iou": (one.test["miou"],)}}) for one in found]

    scores = drawn()
    means = scores.reshape(3, 2, 8).mean(axis=1)
    found, expected = per_class(with_classes(scores), "arm0", tunings=8), per_class(with_classes(means), "arm0")
    for one, other in zip(found.cells, expected.cells, strict=True):
        assert (one.n, one.p) == (8, other.p)
        assert (one.difference, one.low, one.high) == pytest.approx((other.difference, other.low, other.high))
    both, single = (
        compare_sets([DataSet(name, answer(values, tunings)) for name in ("a", "b")]) for values, tunings in ((scores, 8), (means, 1))
    )
    assert dataclasses.astuple(both.arms[0].mean) == pytest.approx(dataclasses.astuple(single.arms[0].mean))


def test_words_name_the_tunings() -> None:
    found = answer(drawn(), 8)
    inconclusive = next(contrast for contrast in found.contrasts if contrast.verdict == "inconclusive")
    assert "over 16 seeds of 8 tunings" in wording.sentence(inconclusive, found)
    size = detectable(inconclusive.sd_difference, 8, 2, 0.05)
    assert wording.sensitivity(inconclusive, found).startswith(f"8 tunings show a true difference of {METRIC.unit.amount(size)}")
    assert "over seeds and tunings, on this split" in to_markdown(found)
    assert detail_table(found).blocks[0].rows[0].pairs == 8
    protocol = " ".join(wording.protocol(found.criteria))
    assert "Each arm was tuned 8 times, and seed s is trained with the setting of tuning s mod 8" in protocol
    assert "over seeds, on this split" in wording.scope(Criteria(Metric.parse("test/miou"), "none"))


def test_means_over_tunings() -> None:
    assert tuning_means(np.array([1.0, 2.0, 5.0]), (0, 1, 2), 2).tolist() == [3.0, 2.0]
    assert tuning_means(np.array([1.0, 2.0]), (4, 9), 1).tolist() == [1.0, 2.0]
    assert (pairs_of((0, 2, 4), 2), pairs_of((0, 1, 2), 2), pairs_of((), 3), pairs_of((5, 7), 1)) == (1, 2, 0, 2)


def equal_methods(tau: float, own_lists: bool, tunings: int, seeds: int, generator: np.random.Generator) -> np.ndarray:
    """Return (2, seeds) scores of two equal methods, each tuned `tunings` times among 4 settings.

    A difference of .01 is one standard deviation of a run.

    A setting has the true score N(0, tau²), drawn anew for each tuning, for each method if it has its own list. A
    tuning takes 5 seeds, and 5 more for the best three. Runs of one seed share .8 of their variance.
    """
    scores = np.empty((2, seeds))
    for place in range(tunings):
        true = generator.normal(0, tau, (2 if own_lists else 1, 4)).repeat(1 if own_lists else 2, axis=0)
        common = generator.normal(size=(1, 1, 10)) * math.sqrt(0.8)
        tuning = true[:, :, None] + common + generator.normal(size=(2, 4, 10)) * math.sqrt(0.2)
        best = [true[method, chosen(tuning[method], 5)] for method in (0, 1)]
        mine = range(place, seeds, tunings)
        shared = generator.normal(size=len(mine)) * math.sqrt(0.8)
        scores[:, mine] = np.array(best)[:, None] + shared + generator.normal(size=(2, len(mine))) * math.sqrt(0.2)
    return np.asarray(0.5 + 0.01 * scores)


@studies(200, 2000)
@pytest.mark.parametrize(("tau", "own_lists"), [(0.5, False), (0.5, True), (2.0, True)])
def test_equal_methods_stay_alike_if_their_tuning_is_repeated(tau: float, own_lists: bool, studies: int) -> None:
    """8 tunings and 16 seeds.

    Where each method draws its own settings, a single tuning calls equal methods different much more often.
    """
    seed = 16
    generator = np.random.default_rng(seed)
    scores = [equal_methods(tau, own_lists, 8, 16, generator) for _ in range(studies)]
    what = f"8 tunings, 16 seeds, tau {tau}, {'own lists' if own_lists else 'one list'}"
    rate = report(what, [answer(one, 8).contrasts[0].p_holm <= 0.05 for one in scores], seed)
    assert rate <= limit(0.05, studies)
    if own_lists:
        once = [equal_methods(tau, own_lists, 1, 16, generator) for _ in range(studies)]
        assert report(f"1 tuning, tau {tau}, own lists", [answer(one, 1).contrasts[0].p_holm <= 0.05 for one in once], seed) > 0.2
