"""Two crossed factors: against a case by hand, least squares, and what chance alone gives."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from seglab.compare import (
    Criteria,
    Effect,
    Factorial,
    Metric,
    analyse,
    compare,
    compare_factors,
    compare_folder,
    compare_folder_factors,
    factors_to_markdown,
    factors_to_table,
    plot_interaction,
    read_folder,
    write_report,
)
from seglab.compare.numbers.verdicts import ONLY_COMPLETE
from seglab.compare.plots.style import figure_of
from seglab.compare.wording import interactions
from seglab.records import Analysis, Run, StudyRecord
from seglab.script.reading import Wanted, show_comparison
from tests.compare.drawn import result, study, write_study

FACTORS = ("penalty", "schedule")
BASE = np.array([0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 0.67])
UP_AND_DOWN = np.array([1, -1, 1, -1, 1, -1, 1, -1]) / 1000
"""By hand: l2 gives 1 point at full and 4 ± 0.1 at frozen, and freezing costs 2 points without a penalty."""
CELLS = {
    "none+full": BASE,
    "l2+full": BASE + 0.01,
    "none+frozen": BASE - 0.02,
    "l2+frozen": BASE + 0.02 + UP_AND_DOWN,
}


def judged(baseline: str = "none+full", metric: str = "test/miou", alpha: float = 0.05) -> Criteria:
    return Criteria(Metric.parse(metric), baseline, alpha)


def crossed(
    cells: Mapping[str, Sequence[float] | np.ndarray],
    criteria: Criteria | None = None,
    factors: Sequence[str] = FACTORS,
    arms: Sequence[str] = (),
) -> Factorial:
    drawn = study({arm: list(map(float, scores)) for arm, scores in cells.items()})
    return compare_factors(drawn, factors, judged() if criteria is None else criteria, arms)


def effects(found: Factorial, kind: str, factor: str | None = None) -> dict[tuple[str, str], Effect]:
    """By level and place."""
    return {(effect.level, effect.at): effect for effect in found.effects if effect.kind == kind and factor in (None, effect.factor)}


def printed(found: Factorial, width: int = 100) -> str:
    console = Console(width=width, no_color=True, record=True, file=StringIO())
    console.print(factors_to_table(found))
    return console.export_text()


def test_a_case_by_hand() -> None:
    found = crossed(CELLS)
    assert found.levels == (("none", "l2"), ("full", "frozen"))
    assert [(effect.kind, effect.factor, effect.level, effect.at) for effect in found.effects] == [
        ("main", "penalty", "l2", ""),
        ("main", "schedule", "frozen", ""),
        ("interaction", "penalty", "l2", "frozen"),
        ("simple", "penalty", "l2", "full"),
        ("simple", "penalty", "l2", "frozen"),
        ("simple", "schedule", "frozen", "none"),
        ("simple", "schedule", "frozen", "l2"),
    ]
    assert [effect.difference for effect in found.effects] == pytest.approx([0.025, -0.005, 0.03, 0.01, 0.04, -0.02, 0.01])
    assert [effect.p for effect in found.effects] == [2 / 256] * 7
    assert [effect.p_holm for effect in found.effects] == [6 / 256] * 3 + [
        4 / 256
    ] * 4  # one primary family of three; simple effects are two to a family
    assert [effect.verdict for effect in found.effects] == [
        "better",
        "worse",
        "effects differ",
        "better",
        "better",
        "worse",
        "better",
    ]
    interaction = found.effects[2]
    means = sorted(np.mean(subset) for n in range(1, 9) for subset in itertools.combinations(0.03 + UP_AND_DOWN, n))
    assert (interaction.low, interaction.high) == pytest.approx((means[5], means[-6]))  # the 6th of 255: floor(0.05 · 2⁸ / 2)
    assert (found.criteria.baseline, found.notes) == ("none+full", ())


def test_the_simple_effects_at_the_baseline_are_those_of_the_ordinary_comparison() -> None:
    found = effects(crossed(CELLS), "simple")
    ordinary = {
        contrast.arm: contrast for contrast in compare(study({a: list(map(float, s)) for a, s in CELLS.items()}), judged()).contrasts
    }
    for ours, theirs in ((found["l2", "full"], ordinary["l2+full"]), (found["frozen", "none"], ordinary["none+frozen"])):
        assert (ours.difference, ours.low, ours.high, ours.p) == (theirs.difference, theirs.low, theirs.high, theirs.p)


def test_effects_that_add_up_are_alike_and_few_seeds_say_nothing() -> None:
    additive = {**CELLS, "l2+frozen": BASE - 0.01 + UP_AND_DOWN}
    assert effects(crossed(additive), "interaction")["l2", "frozen"].verdict == "effects alike"
    wild = {**CELLS, "l2+frozen": BASE - 0.01 + 30 * UP_AND_DOWN}
    assert effects(crossed(wild), "interaction")["l2", "frozen"].verdict == "inconclusive"
    few = crossed({arm: scores[:5] for arm, scores in CELLS.items()})
    assert {effect.verdict for effect in few.effects} == {"no verdict"}
    assert {effect.reason for effect in few.effects} == {"5 of the 6 pairs needed: with 5 the smallest two-sided exact p is 0.0625"}
    assert "no verdict where n is 5: 5 of the 6 pairs needed" in " ".join(printed(few).split())


def test_a_real_interaction_within_the_margin_is_marked() -> None:
    small = effects(crossed({**CELLS, "l2+frozen": BASE - 0.01 + 0.002 + UP_AND_DOWN / 2}), "interaction")["l2", "frozen"]
    assert (small.verdict, small.within_margin) == ("effects differ", True)


def test_a_lower_loss_is_better_and_interactions_have_no_direction() -> None:
    found = crossed(CELLS)
    loss = crossed(CELLS, Criteria(Metric("val", "loss"), "none+full", margin=0.005))
    for score, other in zip(found.effects, loss.effects, strict=True):
        assert other.difference == pytest.approx(-score.difference)
        assert (other.p_holm, other.verdict) == (score.p_holm, score.verdict)


def test_six_seeds_show_no_difference_among_two() -> None:
    found = crossed({arm: scores[:6] for arm, scores in CELLS.items()})
    assert {effect.verdict for effect in found.effects[:3]} == {"inconclusive"}
    assert {effect.verdict for effect in found.effects[3:]} == {"exploratory"}
    assert [note.partition(":")[0] for note in found.notes] == [
        "6 pairs and 3 main effects and interactions",
        "6 pairs and 2 simple effects of penalty",
        "6 pairs and 2 simple effects of schedule",
    ]


GRIDS = st.tuples(st.integers(2, 4), st.integers(2, 4), st.integers(2, 4)).flatmap(
    lambda sizes: st.lists(st.integers(0, 1000), min_size=math.prod(sizes), max_size=math.prod(sizes)).map(
        lambda scores: np.array(scores).reshape(sizes) / 1000
    )
)
"""(levels of a, levels of b, seeds)"""


def grid(scores: np.ndarray) -> dict[str, np.ndarray]:
    return {f"a{a}+b{b}": scores[a, b] for a in range(scores.shape[0]) for b in range(scores.shape[1])}


def least_squares(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the effects of a and b at the other's level 0, and the interactions, by ordinary least squares.

    The design has dummies for a, b, a × b, and each seed.
    """
    a, b, seed = (place.ravel() for place in np.indices(scores.shape))
    of_a = np.stack([a == level for level in range(1, scores.shape[0])], axis=1)
    of_b = np.stack([b == level for level in range(1, scores.shape[1])], axis=1)
    both = (of_a[:, :, None] & of_b[:, None, :]).reshape(len(a), -1)
    blocks = np.stack([seed == one for one in range(scores.shape[2])], axis=1)
    fitted = np.linalg.lstsq(np.hstack([of_a, of_b, both, blocks]).astype(float), scores.ravel(), rcond=None)[0]
    ends = np.cumsum([of_a.shape[1], of_b.shape[1], both.shape[1]])
    first, second, crossing, _ = np.split(fitted, ends)
    return first, second, crossing.reshape(len(first), len(second))


@given(GRIDS)
@settings(max_examples=40, deadline=None)
def test_least_squares_with_seeds_as_blocks_gives_the_same_effects(scores: np.ndarray) -> None:
    found = crossed(grid(scores), judged("a0+b0"))
    first, second, crossing = least_squares(scores)
    of_b = np.concatenate([np.zeros((len(first), 1)), crossing], axis=1)  # deviations from the effect of a at b0
    of_a = np.concatenate([np.zeros((1, len(second))), crossing], axis=0)
    expected = [*(first + of_b.mean(axis=1)), *(second + of_a.mean(axis=0)), *crossing.ravel()]
    expected += [*(first[:, None] + of_b).ravel(), *(second[None, :] + of_a).T.ravel()]
    assert [effect.difference for effect in found.effects] == pytest.approx(expected, abs=1e-9)


@given(GRIDS)
@settings(max_examples=20, deadline=None)
def test_exchanging_the_factors_exchanges_main_effects_and_keeps_interactions(scores: np.ndarray) -> None:
    found = crossed(grid(scores), judged("a0+b0"))
    turned = crossed(
        {"+".join(reversed(arm.split("+"))): cell for arm, cell in grid(scores).items()}, judged("b0+a0"), factors=FACTORS[::-1]
    )
    for kind in ("main", "simple"):
        for factor in FACTORS:
            assert effects(found, kind, factor) == effects(turned, kind, factor)
    kept, exchanged = effects(found, "interaction"), effects(turned, "interaction")
    assert {(b, a) for a, b in kept} == set(exchanged)
    for (a, b), effect in kept.items():
        other = exchanged[b, a]
        assert (effect.difference, effect.low, effect.p_holm, effect.verdict) == (other.difference, other.low, other.p_holm, other.verdict)


@pytest.mark.slow
def test_without_any_effect_few_families_show_one() -> None:
    """2,000 small studies of 3 × 2 arms and 8 seeds, in which a seed acts on all arms and an arm does nothing."""
    generator = np.random.default_rng(7)
    called: dict[str, list[bool]] = {}
    unadjusted = []
    for _ in range(2000):
        scores = 0.6 + 0.01 * generator.normal(size=8) + 0.005 * generator.normal(size=(3, 2, 8))
        found = crossed(grid(scores), judged("a0+b0"))
        for (kind, factor), family in itertools.groupby(found.effects, key=lambda effect: (effect.kind, effect.factor)):
            called.setdefault(f"{kind} {factor}", []).append(
                any(effect.verdict in ("better", "worse", "effects differ") for effect in family)
            )
        unadjusted.append(any(effect.p <= 0.05 for effect in found.effects if effect.kind == "simple" and effect.factor == "penalty"))
    assert len(called) == 5
    assert all(len(studies) == 2000 for studies in called.values())
    assert {name: rate for name, studies in called.items() if (rate := np.mean(studies)) > 0.06} == {}
    assert np.mean(unadjusted) > 0.1  # without Holm it would not hold


def test_cells_and_runs_that_are_missing_are_named() -> None:
    cells: dict[str, Any] = {**CELLS, "l1+full": BASE + 0.03, "none+frozen": [*(BASE[:7] - 0.02), math.nan]}
    found = crossed(cells, arms=[*cells, "l1+frozen"])
    main, interaction, simple = (effects(found, kind) for kind in ("main", "interaction", "simple"))
    assert (main["l1", ""].seeds, main["l1", ""].verdict) == ((), "no verdict")
    assert math.isnan(main["l1", ""].difference)
    assert interaction["l1", "frozen"].seeds == ()
    assert len(simple["l1", "full"].seeds) == 8
    assert main["l2", ""].seeds == (0, 1, 2, 3, 4, 5, 6)
    assert interaction["l2", "frozen"].p_holm == 5 * 2 / 128  # the family is what was declared: three main effects and two interactions
    assert found.notes == (
        "none+frozen, seed 7: test/miou is undefined (NaN); left out",
        "none+frozen: no test/miou for seed 7; left out of every effect that needs this cell",
        "l1+frozen: no run has test/miou; every effect that needs this cell is without pairs",
        "7 pairs (l2, l2 at frozen) and 5 main effects and interactions: the smallest p after Holm is 5 × 0.0156 = 0.0781, so no difference "
        "can be shown at 0.05, however large; 8 pairs could",
        "7 pairs (l2 at frozen) and 4 simple effects of penalty: the smallest p after Holm is 4 × 0.0156 = 0.0625, so no difference can be "
        "shown at 0.05, however large; 8 pairs could",
    )
    assert "no seed has all four arms" in dict(interactions(found))["no verdict"]


def test_an_arm_that_is_no_cell_is_left_out_and_named() -> None:
    found = crossed({**CELLS, "plain": BASE, "a+b+c": BASE, "l2+": BASE})
    assert len(found.effects) == 7
    assert found.notes == tuple(f"{arm}: is no cell of penalty × schedule; left out of its effects" for arm in ("plain", "a+b+c", "l2+"))


@pytest.mark.parametrize(
    ("cells", "criteria", "factors", "message"),
    [
        (CELLS, judged("l3+full"), FACTORS, "the baseline 'l3\\+full' has no results: the arms with results are"),
        (
            {**CELLS, "plain": BASE},
            judged("plain"),
            FACTORS,
            r"the baseline 'plain' is no cell of penalty × schedule: .* <penalty>\+<schedule>",
        ),
        ({"none+full": BASE, "l2+full": BASE}, judged(), FACTORS, "factor 'schedule' has the single level 'full' so far"),
        (CELLS, judged(), ("penalty",), r"factors \['penalty'\]: exactly two"),
        (CELLS, judged(), ("a", "b", "c"), "exactly two can be analysed; name two"),
        (CELLS, judged(metric="test/nope"), FACTORS, "unknown metric 'test/nope'"),
    ],
)
def test_wrong_inputs(cells: dict[str, np.ndarray], criteria: Criteria, factors: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crossed(cells, criteria, factors)


def test_effects_on_a_loss_are_never_called_alike() -> None:
    additive = {**CELLS, "l2+frozen": BASE - 0.01 + UP_AND_DOWN}
    found = crossed(additive, judged(metric="val/loss"))
    assert effects(crossed(additive), "interaction")["l2", "frozen"].verdict == "effects alike"
    assert effects(found, "interaction")["l2", "frozen"].verdict == "inconclusive"
    assert all(math.isnan(effect.p_equivalence_holm) and not effect.within_margin for effect in found.effects)
    assert "No effects are called alike or equivalent: val loss has no margin" in " ".join(printed(found).split())


def test_the_table_fits_a_hundred_columns_and_markdown_tells_the_same() -> None:
    found = crossed(CELLS)
    text = printed(found)
    assert max(map(len, text.splitlines())) <= 100
    assert "penalty × schedule: test mIoU, effects against none and full" in text
    assert "l2 × frozen" in text
    rows = [line for line in factors_to_markdown(found).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {6}
    assert "| l2 − none, at full | 8 | +1.00 [+1.00, +1.00] | 0.016 | better |" in rows
    assert "| l2 × frozen | 8 | +3.00 [+2.90, +3.10] | 0.023 | effects differ |" in rows


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (BASE + 0.02 + UP_AND_DOWN, "The effect of l2 (against none) at frozen differs from that at full by +3.00 points"),
        (BASE - 0.01 + UP_AND_DOWN, "The effect of l2 (against none) is alike at frozen and at full, within ±0.5 points: 0.00 points"),
        (BASE - 0.01 + 30 * UP_AND_DOWN, "Whether the effect of l2 (against none) differs between frozen and full is inconclusive"),
        (BASE[:2], "Whether the effect of l2 (against none) differs between frozen and full has no verdict: +1.00 points over 2 seeds"),
    ],
)
def test_an_interaction_in_words(last: np.ndarray, expected: str) -> None:
    ((_, sentence),) = interactions(crossed({**CELLS, "l2+frozen": last}))
    assert sentence.startswith(expected)


def test_the_picture_has_a_line_for_each_level_and_a_dot_for_each_run() -> None:
    axes = plot_interaction(crossed(CELLS))
    assert figure_of(axes).axes == [axes]
    lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}  # type: ignore[union-attr]
    assert lines == {"none": pytest.approx([63.5, 61.5]), "l2": pytest.approx([64.5, 65.5])}
    assert [len(dots.get_offsets()) for dots in axes.collections] == [8, 8, 8, 8]  # type: ignore[arg-type]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["full", "frozen"]


def folder_of(path: Path, factors: tuple[str, ...], arms: Sequence[str] = tuple(CELLS)) -> Path:
    results = [result(arm, seed, float(score)) for arm in arms for seed, score in enumerate(CELLS[arm])]
    write_study(path, results, StudyRecord("study", "none+full", "test/miou", {}, {arm: {"arm": arm} for arm in CELLS}, factors=factors))
    return path


def shown(folder: Path) -> str:
    console = Console(width=100, no_color=True, record=True, file=StringIO())
    assert show_comparison(folder, Wanted(), console) == 0
    return console.export_text()


def test_a_factorial_study_is_shown_after_the_ordinary_comparison(tmp_path: Path) -> None:
    text = shown(folder_of(tmp_path, FACTORS))
    assert text.index("study: test mIoU against none+full") < text.index("penalty × schedule: test mIoU, effects against none and full")
    page = (tmp_path / "report.html").read_text()
    assert ">penalty × schedule</h2>" in page
    assert '<li class="effects differ">' in page
    assert 'aria-label="penalty × schedule"' in page


def test_a_study_without_factors_is_shown_as_before(tmp_path: Path) -> None:
    assert "effects" not in shown(folder_of(tmp_path, ()))
    assert ">penalty × schedule</h2>" not in (tmp_path / "report.html").read_text()


def test_what_the_ordinary_comparison_says_is_not_said_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, FACTORS, ("none+full", "l2+full", "none+frozen"))
    comparison = compare_folder(read_folder(folder))
    found, notes = compare_folder_factors(read_folder(folder), comparison)
    assert found is not None
    assert found.notes == notes
    assert "l2+frozen: declared in the study, but no run of it has a readable result" in comparison.notes
    assert notes[0] == "l2+frozen: no run has test/miou; every effect that needs this cell is without pairs"
    assert not set(notes) & set(comparison.notes)


def test_factors_that_cannot_be_analysed_do_not_stop_the_comparison(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ("penalty", "schedule", "loss"))
    assert "! no effects of penalty and schedule and loss: factors ['penalty', 'schedule', 'loss']" in shown(folder)
    assert "exactly two can be analysed" in write_report(analyse(read_folder(folder))).read_text()


def test_single_effects_get_verdicts_only_where_their_interaction_is_shown() -> None:
    additive = crossed({**CELLS, "l2+frozen": BASE - 0.01 + UP_AND_DOWN})
    assert {effect.verdict for effect in additive.effects if effect.kind == "simple"} == {"exploratory"}
    assert {effect.p_holm for effect in additive.effects if effect.kind == "simple"} == {4 / 256}  # the numbers are there
    three = {**CELLS, "l1+full": BASE + 0.01, "l1+frozen": BASE - 0.01 + UP_AND_DOWN}  # only l2 has an interaction
    found = effects(crossed(three), "simple")
    assert {found["l2", at].verdict for at in ("full", "frozen")} == {"better"}
    assert {found["l1", at].verdict for at in ("full", "frozen")} == {"exploratory"}


def test_effects_have_to_hold_with_diverged_runs_at_their_worst() -> None:
    """The l2+frozen run under the best seed diverged: at the worst score, 0.58, its interaction is no longer shown."""
    drawn = study({arm: list(map(float, scores)) for arm, scores in CELLS.items()})
    kept = [one for one in drawn if (one.run.arm, one.run.seed) != ("l2+frozen", 7)]
    left_out = compare_factors(kept, FACTORS, judged()).effects
    assert [effect.verdict for effect in left_out[:3]] == ["better", "worse", "effects differ"]
    found = compare_factors(kept, FACTORS, judged(), endings={Run("study", "l2+frozen", 7): "diverged"}).effects
    assert [effect.verdict for effect in found[:3]] == ["inconclusive", "worse", "inconclusive"]
    assert found[0].reason == found[2].reason == ONLY_COMPLETE
    assert {effect.verdict for effect in found[3:]} == {"exploratory"}
    assert [effect.p for effect in found] == [effect.p for effect in left_out]


def test_effects_wait_for_all_declared_seeds() -> None:
    declared = Analysis("none+full", "test/miou", 0.005, 0.05, tuple(CELLS), tuple(range(9)))
    found = crossed(CELLS, dataclasses.replace(judged(), declared=declared))
    assert {effect.verdict for effect in found.effects} == {"no verdict"}
    assert {effect.reason for effect in found.effects} == {"interim: 8 of 9 seeds are done in all arms"}
    done = crossed(CELLS, dataclasses.replace(judged(), declared=dataclasses.replace(declared, seeds=tuple(range(8)))))
    assert done.effects == crossed(CELLS).effects
    looks = dataclasses.replace(declared, looks=(8,))
    assert "judged once, after all seeds" in crossed(CELLS, dataclasses.replace(judged(), declared=looks)).effects[0].reason
    always = dataclasses.replace(declared, always_valid=True)
    assert "for the contrasts of arms only" in crossed(CELLS, dataclasses.replace(judged(), declared=always)).effects[0].reason
