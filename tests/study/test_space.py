"""Search spaces, and the candidates drawn from them."""

import json
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from experiments.regularization import drawn_settings
from seglab import Choice, LinearRange, LogRange, Tuned, grid_candidates, halton_candidates, random_candidates
from seglab.study.proposals import Search, Trial, propose
from seglab.study.space import Space, describe_space, name_of

SPACE: Space = {"lr": LogRange(1e-4, 1e-1), "momentum": LinearRange(0.5, 1.0), "optimizer": Choice(("adam", "sgd"))}


def radical_inverse(number: int, base: int) -> float:
    """Return a number's digits in a base, mirrored at the point (van der Corput 1935).

    These are the coordinates of Halton's points.
    """
    value, scale = Fraction(0), Fraction(1, base)
    while number:
        number, digit = divmod(number, base)
        value, scale = value + digit * scale, scale / base
    return float(value)


def test_halton_points_are_radical_inverses() -> None:
    found = halton_candidates(SPACE, 20)
    for place, candidate in enumerate(found, start=1):
        x, y, z = (radical_inverse(place, base) for base in (2, 3, 5))
        assert candidate["lr"] == pytest.approx(10 ** (3 * x - 4))
        assert candidate["momentum"] == pytest.approx(0.5 + 0.5 * y)
        assert candidate["optimizer"] == ("adam" if z < 0.5 else "sgd")


def test_the_experiment_draws_what_it_has_always_drawn() -> None:
    """Bit for bit: a study whose settings moved in the last digit could not go on."""
    points = qmc.Halton(2, scramble=False).random(9)[1:]
    expected = [(3e-4, 0.0), *((3e-4 * 3 ** (2 * float(x) - 1), 10 ** (4 * float(y) - 4)) for x, y in points[1:])]
    assert [(drawn["lr"], drawn["ratio"]) for drawn in drawn_settings(8, 3e-4)] == expected
    assert drawn_settings(3, 1e-3, "random")[0] == {"lr": 1e-3, "ratio": 0.0}


def test_a_grid_has_all_combinations_and_both_ends() -> None:
    found = grid_candidates(SPACE, 4)
    assert len(found) == 4 * 4 * 2 == len({name_of(candidate) for candidate in found})
    assert sorted({candidate["lr"] for candidate in found}) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert {found[0]["lr"], found[-1]["lr"]} == {1e-4, 1e-1}  # exactly
    with pytest.raises(ValueError, match="grid_candidates: 1 values of each range; expected 2 or more"):
        grid_candidates(SPACE, 1)


def test_random_candidates_are_uniform_on_their_axes() -> None:
    found = random_candidates(SPACE, 4000, seed=3)
    assert found == random_candidates(SPACE, 4000, seed=3)
    assert found[0] != random_candidates(SPACE, 1, seed=4)[0]
    places = np.array(
        [[(math.log10(float(one["lr"])) + 4) / 3, (float(one["momentum"]) - 0.5) / 0.5, one["optimizer"] == "sgd"] for one in found]
    )
    assert places.mean(0) == pytest.approx([0.5] * 3, abs=4 * math.sqrt(1 / 12 / 4000) * 1.8)
    assert np.quantile(places[:, 0], [0.25, 0.75]) == pytest.approx([0.25, 0.75], abs=0.03)


@given(low=st.floats(1e-8, 1), factor=st.floats(1.001, 1e6), place=st.floats(0, 1))
def test_values_lie_in_their_range(low: float, factor: float, place: float) -> None:
    for span in (LogRange(low, low * factor), LinearRange(-low, low * factor)):
        assert span.at(place) == pytest.approx(min(max(span.at(place), span.low), span.high), rel=1e-9)


def test_spaces_as_plain_data() -> None:
    assert describe_space(SPACE) == {
        "lr": {"scale": "log", "low": 1e-4, "high": 1e-1},
        "momentum": {"scale": "linear", "low": 0.5, "high": 1.0},
        "optimizer": {"scale": "choice", "values": ["adam", "sgd"]},
    }
    with pytest.raises(ValueError, match=r"Choice\(\['a', 'a'\]\): expected two or more values, each once"):
        Choice(("a", "a"))
    with pytest.raises(ValueError, match="search space, 'lr': is a tuple; expected a LogRange, a LinearRange or a Choice"):
        grid_candidates({"lr": (1, 2)}, 3)  # type: ignore[dict-item]


class TestProposals:
    """Proposals by Optuna."""

    @pytest.fixture(autouse=True)
    def optuna(self) -> None:
        pytest.importorskip("optuna")

    def found(self, seed: int, diverges: bool = False) -> list[Trial]:
        """Trials of a whole search for lr = 1e-2 and `sgd`."""
        search = Search(SPACE, 20, 4, seed)

        def tried(candidate: dict[str, float | str]) -> Trial:
            distance = abs(math.log10(float(candidate["lr"])) + 2)
            return Trial(candidate, -math.inf if diverges and distance > 1 else -distance - (candidate["optimizer"] == "adam"))

        trials = [tried(dict(candidate)) for candidate in halton_candidates(SPACE, search.sizes[0])]
        while proposed := propose(search, trials):
            trials += [tried(dict(candidate)) for candidate in proposed]
        return trials

    @pytest.mark.parametrize("diverges", [False, True])
    def test_later_rounds_are_nearer_to_the_best(self, diverges: bool) -> None:
        """Over 5 seeds; values stay in their ranges, and a setting that diverged is avoided."""
        first, last = [], []
        for seed in range(5):
            trials = self.found(seed, diverges)
            assert len(trials) == 20 == len({name_of(trial.candidate) for trial in trials})
            assert all(1e-4 <= float(trial.candidate["lr"]) <= 1e-1 and 0.5 <= float(trial.candidate["momentum"]) <= 1 for trial in trials)
            first += [max(trial.score, -5.0) for trial in trials[:5]]
            last += [max(trial.score, -5.0) for trial in trials[15:]]
        assert np.mean(last) > np.mean(first) + 0.3

    def test_equal_trials_give_equal_proposals(self) -> None:
        assert self.found(1) == self.found(1)
        assert self.found(1) != self.found(2)

    def test_a_small_space_is_used_up(self) -> None:
        space: Space = {"optimizer": Choice(("adam", "sgd", "lion"))}
        trials = [Trial({"optimizer": "adam"}, 0.1)]
        (second,) = propose(Search(space, 3, 3), trials)
        (third,) = propose(Search(space, 3, 3), [*trials, Trial(second, 0.2)])
        assert {"adam", second["optimizer"], third["optimizer"]} == {"adam", "sgd", "lion"}
        with pytest.raises(ValueError, match="the space has fewer than 4 different settings"):
            propose(Search(space, 4, 4), [Trial({"optimizer": name}, 0.1) for name in ("adam", "sgd", "lion")])


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        ([{"lr": None}], r"candidate \{'lr': None\}: lr is None; expected a finite number, or a text"),
        ([{"lr": math.inf}], "lr is inf; expected a finite number"),
        ([{"lr": (1, 2)}], r"lr is \(1, 2\); expected a finite number"),
        ([0.1], "candidate 0.1: is a float; expected values by name"),
        ([{"lr": 0.1}, {"lr": 0.1}], r"candidate \{'lr': 0.1\}: is there twice"),
        ([{"lr": 0.0}, {"lr": "0"}], "two candidates are lr=0: one has a number and the other the same number as text"),
    ],
)
def test_candidates_that_cannot_be_named_truly_are_refused(candidates: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Tuned.over({"lr": LogRange(1e-4, 1.0)}, candidates, lambda values: None)  # type: ignore[arg-type,return-value]


def test_close_candidates_have_names_of_more_digits() -> None:
    """The first of them keeps the name that it has without the others."""
    candidates: list[Any] = [{"lr": lr} for lr in (0.1, 0.1004, 0.10044, float(np.nextafter(0.1, 1)))]
    tuned = Tuned.over({"lr": LogRange(1e-4, 1.0)}, candidates, lambda values: values)  # type: ignore[arg-type,return-value]
    assert list(tuned.settings) == ["lr=1.00e-01", "lr=1.004e-01", "lr=1.0044e-01", "lr=1.000e-01"]
    assert [build() for build in tuned.settings.values()] == candidates


def test_the_order_of_the_values_makes_no_other_candidate() -> None:
    with pytest.raises(ValueError, match="is there twice"):
        Tuned.over({"a": LogRange(1e-4, 1.0), "b": LogRange(1e-4, 1.0)}, [{"a": 0.1, "b": 0.2}, {"b": 0.2, "a": 0.1}], lambda values: None)  # type: ignore[arg-type,return-value]


def test_a_choice_of_numpy_values_is_recorded_as_plain_data() -> None:
    narrow: Any = np.array([0.5, 1.0], np.float32)
    space: Any = {"o": Choice(list(np.array([1, 2]))), "p": LogRange(*narrow)}
    assert json.loads(json.dumps(describe_space(space))) == {
        "o": {"scale": "choice", "values": [1, 2]},
        "p": {"scale": "log", "low": 0.5, "high": 1.0},
    }


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        (random_candidates, (SPACE, 2, None), "random_candidates: seed None; expected a whole number"),
        (halton_candidates, (SPACE, 2.5), "halton_candidates: 2.5 candidates; expected a whole number"),
        (Choice, ("sgd",), r"Choice\('sgd'\): is one text"),
        (Choice, ((None, 1),), "None is neither a finite number nor a text"),
        (Tuned, ({"a": list}, {"lr": 3}), "search space, 'lr': is a int"),
        (Tuned, ([list],), "Tuned: is given a list; expected functions by name"),
    ],
)
def test_what_is_no_space_is_refused_in_words(function: Callable[..., object], arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        function(*arguments)
