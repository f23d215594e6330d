"""Notes on the health of a study: signs that its numbers do not mean what they seem to mean.

A note changes no number and no verdict.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import numpy as np

from seglab.compare.declared import shown_seeds
from seglab.compare.logs.log import Index, RunLog
from seglab.compare.metric import Metric
from seglab.compare.numbers import health
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.pairing import scores_of
from seglab.compare.numbers.statistics import Floats
from seglab.compare.unit import PERCENT
from seglab.records import Result, Run

LOGGED: Mapping[str, Index] = {"train/loss": "step", "val/loss": "step", "perf/data_wait": "epoch"}

FEWEST_STEPS = 50
"""Number of optimizer steps below which a run is too short. After 50 steps, 0.9⁵⁰ = 0.5 % of the initial values remain
in batch norm's running statistics.
"""

TEST_ABOVE_TRAIN = 0.10
"""Difference of mIoU, test minus train, above which the test split is suspect. New images are seldom easier than known
ones.
"""

MUCH_WAITING, LONG_WAITING = 0.10, 10.0
"""Fraction of the training time, and seconds, of waiting for data above which a note is given."""

TRAIN_ABOVE_TEST = 0.30
"""Difference of mIoU, train minus test, above which the networks know their training images and little else."""


class Evidence(NamedTuple):
    """Everything that the checks read."""

    results: Sequence[Result]
    comparison: Comparison
    logs: Sequence[RunLog]
    threads: Mapping[Run, int] = MappingProxyType({})
    """CPU threads of each run that computed on a CPU."""
    alike: Sequence[tuple[str, ...]] = ()
    """Groups of arms that `study.json` describes with the same settings."""

    @property
    def metric(self) -> Metric:
        """The metric of the comparison."""
        return self.comparison.criteria.metric

    @property
    def split(self) -> str:
        """Split whose classes tell whether a training has worked: `val` or `test`.

        A shifted test set says little about it.
        """
        return self.metric.image_split

    @property
    def rate(self) -> float:
        """Probability of a false alarm in the check of one arm; all arms together have `health.FALSE_ALARMS`."""
        return health.FALSE_ALARMS / len(self.comparison.arms)

    def named(self, runs: Iterable[Run]) -> str:
        """Return runs as text, such as `l1 (all 7 seeds), l2 (seed 3)` or `all 14 runs`."""
        seeds, known = _by_arm(runs), _by_arm(result.run for result in self.results)
        if seeds == known and len(self.results) > 1:
            return f"all {len(self.results)} runs"
        return ", ".join(
            f"{arm} (all {len(own)} seeds)" if 1 < len(own) == len(known[arm]) else f"{arm} ({shown_seeds(own)})"
            for arm, own in seeds.items()
        )


def notes(evidence: Evidence) -> tuple[str, ...]:
    """Return the notes of all checks: what was found in which runs, what it means, and what to do."""
    return tuple(note for check in CHECKS for note in check(evidence))


def outside(evidence: Evidence) -> Iterator[str]:
    """Note scores that no correct evaluation gives."""
    found: dict[Run, str] = {}
    for result in evidence.results:
        for metric, value in _scores(result).items():
            if not (-1e-6 <= value <= 1 + 1e-6 or math.isnan(value)):
                found.setdefault(result.run, f"{metric} {value:g}")
    if found:
        what = next(iter(found.values()))
        yield (
            f"{evidence.named(found)}: a score is outside of 0 to 1 ({what}). No evaluation of seglab gives this: "
            "a result.json was changed, or a metric of your own is wrong. Delete the result.json and run again."
        )


def collapsed(evidence: Evidence) -> Iterator[str]:
    """Note runs that tell no two classes apart."""
    split = evidence.split
    if found := [result.run for result in evidence.results if _is_collapsed(result, split)]:
        yield (
            f"{evidence.named(found)}: at most one class has a {split} IoU of {100 * health.LEARNT:g} % or more: the networks tell no two "
            "classes apart, and a difference between such scores means nothing. Look at train/loss and predictions.png; "
            "train longer, lower the learning rate, or weigh the classes."
        )


def outliers(evidence: Evidence) -> Iterator[str]:
    """Note runs whose score is far from that of the other seeds of their arm."""
    metric = evidence.metric
    if metric.split == "cost":  # the load of the machine is no sign of a bad training
        return
    for arm in evidence.comparison.arms:
        seeds, values = list(arm.scores), scores_of(arm.scores, list(arm.scores))
        if found := health.outliers(values, metric.margin or 0.0, evidence.rate):
            far = ", ".join(f"{metric.unit.value(values[place])} (seed {seeds[place]})" for place in found)
            yield (
                f"{arm.arm}: {metric.title} {far} {'are' if len(found) > 1 else 'is'} far from the other seeds, whose median is {metric.unit.value(_median(values, found))}. "
                "It moves the mean and widens the interval. Look at log.txt and train/loss; do not leave it out afterwards."
            )


def equal_runs(evidence: Evidence) -> Iterator[str]:
    """Note arms of the same settings, and arms, and seeds of an arm, whose runs have exactly equal scores.

    Collapsed runs, and runs without any score, share nothing.
    """
    split = evidence.split
    scores: dict[str, dict[int, bytes]] = {}
    for result in evidence.results:
        own_scores = _scores(result)
        if not _is_collapsed(result, split) and any(map(math.isfinite, own_scores.values())):
            scores.setdefault(result.run.arm, {})[result.run.seed] = msgspec.json.encode(own_scores)
    equal = [group for group in _equal_arms(scores) if len(group) > 1]
    for same in evidence.alike:
        if not any({*same} <= {*group} for group in equal):
            yield (
                f"{' and '.join(same)}: study.json describes them with the same settings, so that a difference between them is chance. Check that "
                "the factory of each arm uses its own value: a lambda in a loop sees the last value of the loop."
            )
    for group in equal:
        which = "all arms" if len(group) == len(evidence.comparison.arms) else " and ".join(group)
        yield (
            f"{which}: exactly equal scores under every seed. The arms train the same network: what should differ has no effect, or the arms "
            "share one object. Check that the factory of each arm builds its own objects and uses its setting."
        )
    if found := [arm for arm, own in scores.items() if len(own) > 1 and len(set(own.values())) == 1]:
        yield (
            f"{', '.join(found)}: exactly equal scores under all seeds. The seed changes nothing, so the runs count as one, and an interval over "
            "them means nothing. Check that the factory of the arm does not seed random generators itself."
        )


def absent_classes(evidence: Evidence) -> Iterator[str]:
    """Note classes that no image of the split has.

    Their IoU is 0 in a run that predicts them, and undefined in any other run.
    """
    split = evidence.split
    tables = {result.run: result.per_class[split] for result in evidence.results if split in result.per_class}
    for label, name in enumerate(evidence.results[0].class_names):
        shares = [table["frequency"][label] for table in tables.values() if "frequency" in table]
        if not shares or any(shares):
            continue
        predicted = [run for run, table in tables.items() if "iou" in table and not math.isnan(table["iou"][label])]
        effect = f"it counts as 0 in the mean of {evidence.named(predicted)}, which predict it" if predicted else "every mean leaves it out"
        yield (
            f"class {name}: no pixel of the {split} split has it, and {effect}. A mean over classes is then not what its name says. "
            f"Put images with {name} into the split, or remove the class from the data set."
        )


def unequal_budgets(evidence: Evidence) -> Iterator[str]:
    """Note runs that ended before another arm's run of the same seed."""
    ends: dict[tuple[str, int], dict[Run, int]] = {}
    for log in evidence.logs:
        for name in ("train/loss", "val/loss"):
            if column := log.columns.get(name):
                ends.setdefault((name, log.run.seed), {})[log.run] = max(column) + 1
    shorter = {run: (last, max(runs.values())) for runs in ends.values() for run, last in runs.items() if last < max(runs.values())}
    if shorter:
        least, most = min(shorter.values())
        yield (
            f"{evidence.named(sorted(shorter))}: ended after fewer optimizer steps than another arm's run of the same seed (fewest: {least} of "
            f"{most}), as by an EarlyStopping of your own. The arms had different budgets, and the difference is of these too. Leave out what "
            "ends the runs, and train them again."
        )


def too_short(evidence: Evidence) -> Iterator[str]:
    """Note runs with very few optimizer steps."""
    steps = {
        log.run: 1 + max((step for name, index in LOGGED.items() if index == "step" for step in log.columns.get(name, {})), default=-1)
        for log in evidence.logs
    }
    if found := [run for run, taken in steps.items() if 0 < taken < FEWEST_STEPS]:
        least = min(steps[run] for run in found)
        yield (
            f"{evidence.named(found)}: trained for fewer than {FEWEST_STEPS} optimizer steps (fewest: {least}). Scores then depend on the "
            "start, and batch norm's running statistics have not settled. Train for more epochs, or take smaller batches."
        )


def unfinished(evidence: Evidence) -> Iterator[str]:
    """Note arms whose training loss still falls steeply when the training ends."""
    losses: dict[str, list[Floats]] = {}
    for log in evidence.logs:
        column = log.columns.get("train/loss", {})
        losses.setdefault(log.run.arm, []).append(np.array([column[step] for step in sorted(column)]))
    if found := [arm for arm, runs in losses.items() if health.is_still_falling(runs, evidence.rate)]:
        yield (
            f"{', '.join(found)}: the training loss fell in the last quarter of the steps as fast as on average over the training. The table "
            "compares how fast the arms learn, and not how well they end. Train for more epochs."
        )


def other_threads(evidence: Evidence) -> Iterator[str]:
    """Note runs on CPUs with different numbers of threads."""
    groups: dict[int, list[Run]] = {}
    for run, threads in evidence.threads.items():
        groups.setdefault(threads, []).append(run)
    if len(groups) > 1:
        named = "; ".join(f"{evidence.named(groups[threads])}: {threads}" for threads in sorted(groups))
        yield (
            f"the runs had different numbers of CPU threads ({named}). Threads change the order of sums: runs under the same seed then differ "
            "as under two seeds. Finish a study with the --jobs of its start, or set OMP_NUM_THREADS."
        )


def generalisation(evidence: Evidence) -> Iterator[str]:
    """Note arms whose mIoU on training images and on test images are far apart."""
    split = evidence.split
    means = {
        arm.arm: [arm.secondary[name].mean for name in ("train/miou", f"{split}/miou") if name in arm.secondary]
        for arm in evidence.comparison.arms
    }
    gaps = {arm: values[1] - values[0] for arm, values in means.items() if len(values) == 2}
    for limit, side, advice in (
        (
            TEST_ABOVE_TRAIN,
            "above",
            f"The {split} images are easier, are among the training images, or the training masks are wrong. Compare the splits.",
        ),
        (
            TRAIN_ABOVE_TEST,
            "below",
            f"The networks overfit, or the {split} images are of another kind. Add data or augmentation, or train for fewer epochs.",
        ),
    ):
        if found := {arm: gap for arm, gap in gaps.items() if (gap if side == "above" else -gap) > limit}:
            named = ", ".join(f"{arm} ({PERCENT.change(gap)})" for arm, gap in found.items())
            yield f"{named}: {split} mIoU is more than {100 * limit:g} points {side} train mIoU. {advice}"


def waiting(evidence: Evidence) -> Iterator[str]:
    """Note runs that spent much time waiting for data. Their numbers are right, and took longer than necessary."""
    seconds = {result.run: result.cost.get("training_seconds", 0.0) for result in evidence.results}
    waits = {log.run: float(np.mean(list(epochs.values()))) for log in evidence.logs if (epochs := log.columns.get("perf/data_wait"))}
    found = [run for run, wait in waits.items() if wait > MUCH_WAITING and wait * seconds.get(run, 0.0) >= LONG_WAITING]
    if found:
        most = max(waits[run] for run in found)
        yield (
            f"{evidence.named(found)}: up to {100 * most:.0f} % of the training time was spent waiting for data (perf/data_wait). The numbers "
            "are right. --data.num_workers prepares batches in more processes, and --data.cache true decodes each image once."
        )


CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    outside,
    collapsed,
    equal_runs,
    absent_classes,
    outliers,
    unequal_budgets,
    too_short,
    unfinished,
    generalisation,
    other_threads,
    waiting,
)
"""The checks in the order of their notes: first those that make all numbers meaningless."""


def _by_arm(runs: Iterable[Run]) -> dict[str, list[int]]:
    seeds: dict[str, list[int]] = {}
    for run in sorted(runs):
        seeds.setdefault(run.arm, []).append(run.seed)
    return seeds


def _scores(result: Result) -> dict[str, float]:
    """Return the scores in [0, 1] of all splits and classes, by metric."""
    found = {}
    for split, scores in result.means.items():
        if split not in ("gap", "cost"):
            found.update({f"{split}/{name}": value for name, value in scores.items() if _is_fraction(split, name)})
    for split, table in result.per_class.items():
        for name, values in table.items():
            if _is_fraction(split, name):
                found.update({f"{split}/{name}/{label}": value for label, value in zip(result.class_names, values, strict=True)})
    return found


@cache
def _is_fraction(split: str, score: str) -> bool:
    return Metric(split, score).unit is PERCENT


def _median(values: Floats, without: Sequence[int]) -> float:
    return float(np.median(np.delete(values, without)))


def _is_collapsed(result: Result, split: str) -> bool:
    table = result.per_class.get(split, {})
    if "iou" not in table:
        return False
    iou = np.array(table["iou"])
    return health.is_collapsed(iou, np.array(table.get("frequency", np.isfinite(iou))))


def _equal_arms(scores: Mapping[str, Mapping[int, bytes]]) -> list[list[str]]:
    """Return groups of arms that agree with the first arm of their group under every seed that both have."""
    groups: list[list[str]] = []
    for arm, own in scores.items():
        for group in groups:
            common = own.keys() & scores[group[0]].keys()
            if common and all(own[seed] == scores[group[0]][seed] for seed in common):
                group.append(arm)
                break
        else:
            groups.append([arm])
    return groups
