"""Samples by name, and their division into splits and groups."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from seglab.data.sources.dataset import SPLITS, Split
from seglab.data.sources.files import Pair
from seglab.data.sources.pairing import Layout
from seglab.data.sources.patterns import SPLIT, what_is_there
from seglab.data.sources.split_rules import Pool, SplitRule
from seglab.data.sources.splits import Counts


class Named(NamedTuple):
    """An image and its mask with their names."""

    name: str
    """Name that differs from those of all other samples of the data set."""
    key: str
    """The part of the name that image and mask share."""
    pair: Pair


def divided(
    layout: Layout, rule: SplitRule | None, group: str | None, pixels: Callable[[Sequence[Named]], Counts]
) -> dict[Split, list[Named]]:
    """Return the samples of each split, sorted by name.

    A rule divides all samples. If folders or lists name the test samples, it divides those of train and val together;
    where lists name the test samples alone, all others.

    Args:
        layout: where the files lie.
        rule: the rule; None if folders or lists name all splits.
        group: regular expression of the groups that the rule does not cut.
        pixels: counts the pixels of each class in samples.

    Raises:
        ValueError: the splits are not named, a split has no samples, or the rule cannot divide them.
    """
    if rule is None:
        return _named(layout)
    if not isinstance(rule, SplitRule):
        raise ValueError(f"splits is {rule!r}: expected a SplitRule, such as RandomSplit(seed=3)")
    test, pool = _pool(layout)
    groups = None if group is None else [group_of(sample, group) for sample in pool]
    assigned = rule.assign(Pool([sample.name for sample in pool], groups, lambda: pixels(pool), has_test=bool(test)))
    wrong = f"{len(assigned)} splits" if len(assigned) != len(pool) else next((repr(name) for name in assigned if name not in SPLITS), None)
    if wrong is not None:
        raise ValueError(f"{type(rule).__name__}.assign returned {wrong}; expected train, val or test for each of the {len(pool)} samples")
    found: dict[Split, list[Named]] = {"train": [], "val": [], "test": test}
    for sample, split in zip(pool, assigned, strict=True):
        found[split].append(sample)
    if empty := [split for split in SPLITS if not found[split]]:
        raise ValueError(f"{type(rule).__name__} leaves no samples for {empty[0]}: expected at least one for train, val and test")
    return {split: sorted(samples, key=lambda sample: sample.name) for split, samples in found.items()}


def _pool(layout: Layout) -> tuple[list[Named], list[Named]]:
    """Return the test samples that a folder or list names, and the samples to divide.

    The samples to divide are those of train and val, or else all others.
    """
    found = layout.splits() if layout.names_split or layout.lists is not None else {}
    test = found.pop("test", {})
    if layout.names_split:
        pool = [Named(f"{split}/{key}", key, pair) for split, pairs in found.items() for key, pair in pairs.items()]
    else:
        pairs = found.get("train", {}) | found.get("val", {}) if "train" in found else layout.everything()
        pool = [Named(key, key, pair) for key, pair in pairs.items() if key not in test]
    if not pool:
        raise ValueError(
            f"{layout.images.text!r} matches no samples of train or val that {SPLIT} stands for; "
            f"{what_is_there(layout.root, layout.images.text)}; expected the samples that the rule divides: correct the patterns"
        )
    return [Named(key, key, pair) for key, pair in test.items()], pool


def _named(layout: Layout) -> dict[Split, list[Named]]:
    """Return the samples of the splits that folders or lists name; raise a ValueError if they do not name all three."""
    if not layout.names_split and layout.lists is None:
        raise ValueError(
            f"nothing says which samples are train, val and test: put {SPLIT} into the patterns images and masks, give lists, or let a "
            "rule divide the samples, as by splits RandomSplit"
        )
    found = layout.splits()
    if missing := [split for split in SPLITS if split not in found]:
        what = str(layout.lists) if layout.lists is not None else f"{layout.images.text!r} and {layout.masks.text!r}"
        raise ValueError(
            f"{what} with {SPLIT} = {missing[0]}: no such files; {what_is_there(layout.root, layout.images.text)}; expected train, val and "
            "test: correct the patterns, or let a rule divide the samples, as by splits RandomSplit"
        )
    return {split: [Named(key, key, pair) for key, pair in found[split].items()] for split in SPLITS}


def group_of(sample: Named, group: str) -> str:
    """Return the group of a sample: what the first bracket of a regular expression finds in the sample's key.

    Without a bracket, the group is what the whole expression finds.

    Raises:
        ValueError: the expression is none, or finds nothing.
    """
    try:
        match = re.search(group, sample.key)
    except re.error as error:
        raise ValueError(f"group is {group!r}, which is no regular expression ({error}): expected one such as '^(patient[0-9]+)'") from None
    found = None if match is None else match.group(1) if match.re.groups else match.group()
    if not found:
        raise ValueError(
            f"{sample.pair.image}: group {group!r} finds nothing in {sample.key!r}, which image and mask share: correct the expression"
        )
    return found


def check_groups(samples: Mapping[Split, Sequence[Named]], group: str) -> None:
    """Raise a ValueError if samples of one group are in two splits."""
    split_of: dict[str, Split] = {}
    for split in SPLITS:
        for sample in samples[split]:
            name = group_of(sample, group)
            if split_of.setdefault(name, split) != split:
                raise ValueError(
                    f"{sample.pair.image}: its group {name!r} is in the splits {split_of[name]} and {split}: expected groups that are in one "
                    "split; correct group or the splits, or let a rule divide the samples"
                )
