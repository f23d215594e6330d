"""Splits by a rule, for drawn samples: sizes, groups, stratification, and what they do not depend on."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab.data import KFold, RandomSplit
from seglab.data.sources.split_rules import Pool, SplitRule
from seglab.data.sources.splits import Counts, divide, divide_stratified, fold_sizes, hash_order, rounded_sizes

NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), min_size=3, max_size=40, unique=True)
SEEDS = st.integers(0, 5)


def pool(names: list[str], groups: list[str] | None = None, has_test: bool = False, pixels: Counts | None = None) -> Pool:
    return Pool(names, groups, lambda: np.zeros((len(names), 1), np.int64) if pixels is None else pixels, has_test)


def content(names: list[str], classes: int, seed: int) -> Counts:
    """Draw the number of pixels of each class in each sample.

    Class c occurs in a fraction 0.6·0.5ᶜ of the images, in widely different amounts.
    """
    rng = np.random.default_rng(seed)
    there = rng.random((len(names), classes)) < 0.6 * 0.5 ** np.arange(classes)
    return (there * np.exp(rng.normal(6, 1.5, there.shape))).astype(np.int64) + there


@given(NAMES, SEEDS, st.floats(0.01, 0.5), st.floats(0.01, 0.45), st.booleans())
def test_every_sample_is_in_one_split_and_the_sizes_are_those_of_the_fractions(
    names: list[str], seed: int, val: float, test: float, stratified: bool
) -> None:
    counts = Counter(RandomSplit(val, test, seed, stratified).assign(pool(names, pixels=content(names, 4, seed))))
    assert sum(counts.values()) == len(names)
    for held, fraction in ((counts["val"], val), (counts["test"], test)):
        assert held >= 1
        assert abs(held - fraction * len(names)) <= 1
    assert counts["train"] >= 1


@given(NAMES, SEEDS, st.integers(2, 8), st.booleans(), st.booleans())
def test_folds_are_of_one_size_and_each_sample_is_held_out_once(
    names: list[str], seed: int, folds: int, stratified: bool, has_test: bool
) -> None:
    if len(names) < folds or (folds == 2 and not has_test):
        with pytest.raises(ValueError, match=r"folds"):
            KFold(0, folds, seed).assign(pool(names, has_test=has_test))
        return
    samples = pool(names, has_test=has_test, pixels=content(names, 4, seed))
    found = [KFold(fold, folds, seed, stratified).assign(samples) for fold in range(folds)]
    for held in ("val",) if has_test else ("val", "test"):
        assert [sum(splits[index] == held for splits in found) for index in range(len(names))] == [1] * len(names)
        sizes = [splits.count(held) for splits in found]  # type: ignore[arg-type]
        assert max(sizes) - min(sizes) <= 1
    assert has_test == all("test" not in splits for splits in found)


RULES = [RandomSplit(0.2, 0.3), RandomSplit(0.2, 0.3, stratified=True), KFold(1, 3), KFold(1, 3, stratified=True)]
RULE = pytest.mark.parametrize("rule", RULES, ids=str)


@RULE
@given(names=NAMES, seed=SEEDS)
def test_groups_are_never_cut_and_every_split_has_one(rule: SplitRule, names: list[str], seed: int) -> None:
    groups = [str(hashlib.md5(name.encode()).digest()[0] % 7) for name in names]
    samples = pool(names, groups, pixels=content(names, 3, seed))
    if len(set(groups)) < 3:
        with pytest.raises(ValueError, match=r"\d groups for 3 parts: expected at least one for each part"):
            rule.assign(samples)
        return
    splits = rule.assign(samples)
    assert len({(group, split) for group, split in zip(groups, splits, strict=True)}) == len(set(groups))
    assert set(splits) == {"train", "val", "test"}


def test_sizes_of_grouped_splits_are_close_where_groups_are_many() -> None:
    """The largest group bounds the error, for most seeds."""
    names = [f"{patient:03d}_{image}" for patient in range(60) for image in range(1 + patient % 5)]
    groups = [name[:3] for name in names]
    for stratified in (False, True):
        for seed in range(20):
            counts = Counter(RandomSplit(0.2, 0.3, seed, stratified).assign(pool(names, groups, pixels=content(names, 4, 0))))
            assert abs(counts["val"] - 0.2 * len(names)) <= 5
            assert abs(counts["test"] - 0.3 * len(names)) <= 5


@RULE
@given(names=NAMES, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(rule: SplitRule, names: list[str], shuffle: random.Random) -> None:
    order = list(range(len(names)))
    shuffle.shuffle(order)
    pixels, groups = content(names, 3, 0), [str(index % 5) for index in range(len(names))]
    for grouped in (None, groups):
        if grouped is not None and len(set(grouped)) < 3:
            continue
        plain = dict(zip(names, rule.assign(pool(names, grouped, pixels=pixels)), strict=True))
        shuffled = [names[index] for index in order]
        moved = None if grouped is None else [grouped[index] for index in order]
        assert dict(zip(shuffled, rule.assign(pool(shuffled, moved, pixels=pixels[order])), strict=True)) == plain


@pytest.mark.slow
def test_neither_the_global_random_state_nor_pythons_hashes_count() -> None:
    names = [f"s{index}" for index in range(30)]
    code = (
        "import random\nimport numpy as np\nrandom.seed(1)\nnp.random.seed(1)\n"
        "from seglab.data import KFold, RandomSplit\nfrom tests.data.test_sources_splits import content, pool\n"
        f"print([rule.assign(pool({names}, pixels=content({names}, 3, 0))) for rule in {RULES}])"
    )
    elsewhere = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], env=elsewhere, capture_output=True, check=True, text=True)
    assert ended.stdout.strip() == str([rule.assign(pool(names, pixels=content(names, 3, 0))) for rule in RULES])


def test_a_division_stays_as_it_was_recorded() -> None:
    """A recorded study keeps its samples on any machine: the SHA-256 of the seed and the name orders them.

    In this order, test comes first.
    """
    names = [f"s{index}" for index in range(12)]
    order = sorted(range(12), key=lambda index: hashlib.sha256(f"3\ns{index}".encode()).hexdigest())
    assert order == [9, 0, 10, 3, 2, 5, 11, 8, 4, 1, 6, 7]
    splits = RandomSplit(0.25, 0.25, 3).assign(pool(names))
    assert [splits[index] for index in order] == ["test"] * 3 + ["val"] * 3 + ["train"] * 6
    stratified = RandomSplit(0.25, 0.25, 3, stratified=True).assign(pool(names, pixels=np.array([[index % 3, 1] for index in range(12)])))
    assert "".join(split[1] for split in stratified) == "aererrraarre"


@given(NAMES, SEEDS, st.floats(0.01, 0.4), st.floats(0.01, 0.4))
def test_a_larger_fraction_contains_a_smaller_one_and_test_does_not_depend_on_val(
    names: list[str], seed: int, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    few, many = (RandomSplit(fraction, 0.2, seed).assign(pool(names)) for fraction in (small, large))
    assert {name for name, split in zip(names, few, strict=True) if split == "val"} <= {
        name for name, split in zip(names, many, strict=True) if split == "val"
    }
    assert [split == "test" for split in few] == [split == "test" for split in many]


@given(NAMES, SEEDS, st.text(st.characters(codec="utf-8"), min_size=5, max_size=6))
def test_an_added_sample_moves_hardly_any_other(names: list[str], seed: int, added: str) -> None:
    rule = RandomSplit(0.2, 0.2, seed)
    before, after = rule.assign(pool(names)), rule.assign(pool([*names, added]))[:-1]
    assert sum(one != other for one, other in zip(before, after, strict=True)) <= 3


def test_another_seed_is_another_split() -> None:
    names = [f"s{index}" for index in range(40)]
    for stratified in (False, True):
        found = {
            tuple(RandomSplit(seed=seed, stratified=stratified).assign(pool(names, pixels=content(names, 3, 0)))) for seed in range(10)
        }
        assert len(found) == 10


def distance(parts: list[int], pixels: Counts, sizes: list[int]) -> tuple[float, float]:
    """Return how far the parts' shares of each class's images and of its pixels are from the parts' sizes.

    Both numbers are means over parts and classes.
    """
    found = []
    for held in (pixels > 0, pixels / np.maximum(1, pixels.sum(axis=0))):
        shares = np.array([held[np.array(parts) == part].sum(axis=0) for part in range(len(sizes))]) / np.maximum(1e-9, held.sum(axis=0))
        wanted = np.array(sizes)[:, None] / sum(sizes)
        found.append(float(np.abs(shares - wanted).mean()))
    return found[0], found[1]


@pytest.mark.parametrize("grouped", [False, True])
def test_stratified_parts_are_closer_to_the_whole_than_random_ones(grouped: bool) -> None:
    """On the average of 20 data sets; rare classes are in few images.

    The margins are far from what 20 draws differ by.
    """
    names = [f"s{index:03d}" for index in range(120)]
    sizes = [84, 12, 24]
    random_distances, stratified_distances = [], []
    for seed in range(20):
        pixels = content(names, 6, seed)
        groups = [str(index // 3) for index in range(120)] if grouped else None
        random_distances.append(distance(divide(names, sizes, seed, groups), pixels, sizes))
        stratified_distances.append(distance(divide_stratified(names, sizes, seed, pixels, groups), pixels, sizes))
    images, share = np.mean(stratified_distances, axis=0) / np.mean(random_distances, axis=0)
    assert images < 0.6
    assert share < 0.85


def test_stratification_by_hand() -> None:
    """Four images of a rare class, and eight without it, in four folds: each fold gets one of the four."""
    pixels = np.array([[9, 5]] * 4 + [[9, 0]] * 8)
    names = [f"s{index}" for index in range(12)]
    for seed in range(10):
        parts = divide_stratified(names, [3, 3, 3, 3], seed, pixels)
        assert sorted(parts[:4]) == [0, 1, 2, 3]
        assert Counter(parts) == {0: 3, 1: 3, 2: 3, 3: 3}


@pytest.mark.parametrize(
    ("length", "fractions", "sizes"),
    [(10, (0.1, 0.2), [7, 1, 2]), (7, (0.1, 0.1), [5, 1, 1]), (10, (0.2, 0.0), [8, 2, 0]), (100, (0.155, 0.2), [64, 16, 20])],
)
def test_sizes_by_hand(length: int, fractions: tuple[float, float], sizes: list[int]) -> None:
    assert rounded_sizes(length, fractions) == sizes
    assert fold_sizes(11, 3) == [4, 4, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomSplit(0.0, 0.2), "val_fraction is 0.0, test_fraction 0.2: expected more than 0 for val"),
        (lambda: RandomSplit(0.5, 0.5), "less than 1 together"),
        (lambda: RandomSplit(0.1, -0.1), "test_fraction -0.1"),
        (lambda: RandomSplit(float("nan"), 0.1), "val_fraction is nan"),
        (lambda: RandomSplit(seed=-1), "seed is -1: expected a whole number, 0 or more"),
        (lambda: RandomSplit(seed=1.5), "seed is 1.5: expected a whole number"),  # type: ignore[arg-type]
        (lambda: KFold(5), "fold is 5 of folds 5: expected at least 2 folds, and a fold from 0 to folds - 1"),
        (lambda: KFold(0, 1), "fold is 0 of folds 1"),
        (lambda: KFold(0, 2).assign(pool(["a", "b", "c"])), "folds is 2: expected at least 3, for train, val and test"),
        (lambda: KFold(0, 4).assign(pool(["a", "b", "c"])), "3 samples for 4 folds: expected at least one a fold"),
        (lambda: RandomSplit().assign(pool(["a", "b"])), "2 samples are too few for train, val and test"),
        (lambda: RandomSplit().assign(pool(["a", "b", "c"], has_test=True)), "test_fraction is 0.2, but there are test samples already"),
        (lambda: RandomSplit(0.1, 0).assign(pool(["a", "b", "c"])), "test_fraction is 0, and there are no test samples"),
        (lambda: RandomSplit().assign(pool(["a", "b", "c"], ["g", "g", "h"])), "2 groups for 3 parts: expected at least one for each part; add groups"),
    ],
)  # fmt: skip
def test_rules_that_cannot_divide_say_so(make: "type[SplitRule]", message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@settings(max_examples=30)
@given(st.integers(3, 12), SEEDS, st.data())
def test_grouped_parts_end_where_they_are_closest(groups: int, seed: int, data: st.DataObject) -> None:
    """An independent definition: with one group more or less, test would be no closer to its size."""
    lengths = [data.draw(st.integers(1, 9)) for _ in range(groups)]
    names = [f"{group:02d}_{index}" for group, length in enumerate(lengths) for index in range(length)]
    sizes = rounded_sizes(len(names), (0.2, 0.2))
    parts = divide(names, sizes, seed, [name[:2] for name in names])
    order = hash_order([f"{group:02d}" for group in range(groups)], seed)
    in_order = [parts[names.index(f"{group:02d}_0")] for group in order]
    assert in_order == sorted(in_order, reverse=True)
    test = [lengths[group] for group, part in zip(order, in_order, strict=True) if part == 2]
    if len(test) > 1:
        assert abs(sum(test) - sizes[2]) < abs(sum(test[:-1]) - sizes[2])
    if len(test) < groups - 2:
        assert abs(sum(test) + lengths[order[len(test)]] - sizes[2]) >= abs(sum(test) - sizes[2])
