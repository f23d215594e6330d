"""Which weight penalty makes the better segmenter, at an equal tuning budget?

Every arm has the same number of settings, learning rate and strength drawn together. The strength of a penalty is the
ratio ‖∇λR‖/‖∇L‖ that it has after warm-up (`Relative`), so that all penalties search the same range; among its settings
is no penalty at all (but not with `--search sequential`). An equal budget is an equal number of trainings, not an
equally dense search: the baseline has one value to tune, and tries each learning rate of the penalties' settings. If
`compare` notes that arms chose the edge of the range, move it by --learning_rate. An arm's setting is chosen on the
validation split under seeds of its own, then trained and tested under the seeds of the study.

    python experiments/regularization.py run
    python experiments/regularization.py run --data.source CamVid --data.source.root D --data.size 96,128 --epochs 5
    python experiments/regularization.py run --settings 12 --search sequential   # proposed in 3 rounds by Optuna; needs seglab[tuning]
    python experiments/regularization.py run --settings 1 --ratio 0.03       # no tuning: one strength for all, relative to the gradient
    python experiments/regularization.py run --settings 1 --strength 1e-4    # no tuning: one λ for all
    python experiments/regularization.py run --penalties l2,l1               # some of the arms
    python experiments/regularization.py compare
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Literal

from seglab import (
    AdamW,
    CrossEntropy,
    LinearRange,
    LogRange,
    Regularizer,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    Shift,
    Study,
    Tuned,
    halton_candidates,
    main,
    network,
    penalties_at,
    penalties_of,
    random_candidates,
)
from torch import nn
from torch.optim.lr_scheduler import PolynomialLR

PENALTIES = ("l2", "decoupled-l2", "l1", "elastic-net", "smooth-l1", "group-lasso", "hoyer-square")
"""Names of the penalties of `penalties_at` that need no pretrained weights."""

RATIO = 0.03
"""Strength of a penalty where nothing is tuned and no other is given."""


def study(
    data: SegmentationDataModule = SegmentationDataModule(Shapes()),
    architecture: str = "Unet",
    encoder: str = "resnet18",
    loss: Callable[[], nn.Module] = CrossEntropy,
    epochs: int = 30,
    seeds: int = 10,
    penalties: Sequence[str] = PENALTIES,
    settings: int = 4,
    search: Literal["halton", "random", "sequential"] = "halton",
    tuning_seeds: int = 5,
    final_round: int = 5,
    tuning_folds: int | None = None,
    tunings: int = 1,
    ratio: float = RATIO,
    strength: float | None = None,
    learning_rate: float = 1e-3,
    shifts: Mapping[str, Shift] | None = None,
) -> Study:
    """Arms: no penalty, and each of `penalties` beside the data loss, under AdamW without weight decay of its own.

    Args:
        data: images and masks.
        architecture: any of segmentation-models-pytorch, such as FPN or DeepLabV3Plus.
        encoder: any of segmentation-models-pytorch, or tu-NAME of timm, from scratch.
        loss: the data loss, by its import path.
        epochs: passes over the training images.
        seeds: trainings per arm, under seeds 0, 1, ...; all penalties together need 9.
        penalties: some of l2, decoupled-l2, l1, elastic-net, smooth-l1, group-lasso, hoyer-square.
        settings: learning rates and strengths tried for each arm; 1 tunes nothing.
        search: draws settings evenly, at random, or by the scores so far.
        tuning_seeds: trainings of each setting, under seeds 1000, 1001, ...
        final_round: trainings of each arm's best three settings after that; 0 for none.
        tuning_folds: folds of train and val in turn, by tuning seed; without it, the split of the data.
        tunings: independent tunings of each arm, over which the seeds are distributed; see docs/howto/tuning.md.
        ratio: strength of untuned penalties, as ‖∇λR‖/‖∇L‖ after warm-up.
        strength: their strength as λ itself from the first step on, in place of --ratio.
        learning_rate: of AdamW; the tuning tries a third to three times of it.
        shifts: more test sets, such as noise-3,blur,jpeg; see docs/howto/shift.md.
    """
    _check_penalties(penalties)
    if not 0 < learning_rate < inf:
        raise ValueError(f"--learning_rate {learning_rate}: must be above 0")
    for flag, value in (("ratio", ratio), ("strength", strength)):
        if value is not None and not 0 <= value < inf:
            raise ValueError(f"--{flag} {value}: must be 0 or more")
    if strength is not None and ratio != RATIO:
        raise ValueError(f"--strength {strength}: stands in place of --ratio {ratio}; give one of them")
    if settings > 1 and (strength is not None or ratio != RATIO):
        given = f"--ratio {ratio}" if strength is None else f"--strength {strength}"
        raise ValueError(f"{given}: is the strength where nothing is tuned, and {settings} settings are tried; add --settings 1")

    if search == "sequential" and settings == 2:
        raise ValueError("--settings 2: --search sequential proposes settings in 3 rounds; give 3 or more, or another --search")

    def module(regularizer: Regularizer | None, rate: float) -> Callable[[], SegmentationModule]:
        return lambda: SegmentationModule(
            network(architecture, encoder, num_classes=data.num_classes),
            loss(),
            num_classes=data.num_classes,
            regularizer=regularizer,
            optimizer=AdamW(rate),
            scheduler=PolynomialLR,
        )

    rates = LogRange(learning_rate / 3, learning_rate * 3)

    def tuned(penalty: str | None, place: int) -> Tuned:
        space = {"lr": rates} if penalty is None else {"lr": rates, "ratio": LogRange(1e-4, 1.0)}

        def build(values: Mapping[str, float | str]) -> SegmentationModule:
            rate, own = float(values["lr"]), float(values.get("ratio", 0.0))
            return module(None if penalty is None or own == 0 else penalties_at(own)[penalty], rate)()

        if search == "sequential":
            return Tuned.sequential(space, settings, build, seed=place)
        drawn = drawn_settings(settings, learning_rate, search, place)
        return Tuned.over(space, [{name: values[name] for name in space} for values in drawn], build)

    def arm(penalty: str | None) -> Callable[[], SegmentationModule] | Tuned | list[Tuned]:
        if settings > 1:
            return tuned(penalty, 0) if tunings == 1 else [tuned(penalty, place) for place in range(tunings)]
        chosen = penalties_at(ratio) if strength is None else penalties_of(strength)
        return module(None if penalty is None else chosen[penalty], learning_rate)

    if settings < 1:
        raise ValueError(f"--settings {settings}: must be 1 or more")
    return Study(
        "regularization",
        data=data,
        epochs=epochs,
        seeds=range(seeds),
        tuning_seeds=range(1000, 1000 + tuning_seeds),
        final_round=final_round,
        tuning_folds=tuning_folds,
        tunings=tunings,
        baseline="none",
        arms={"none": arm(None), **{name: arm(name) for name in penalties}},
        shifts={} if shifts is None else shifts,
    )


def _check_penalties(penalties: Sequence[str]) -> None:
    unknown = [name for name in penalties if name not in PENALTIES]
    if unknown:
        raise ValueError(f"--penalties: there is no {unknown[0]!r}; there are {', '.join(PENALTIES)}")
    if not penalties or len(set(penalties)) < len(penalties):
        raise ValueError(f"--penalties {list(penalties)}: expected one or more, each name once")


def drawn_settings(count: int, learning_rate: float, search: str = "halton", place: int = 0) -> list[dict[str, float]]:
    """Return settings of learning rate and ratio, the same for every arm.

    The learning rates lie between a third and three times `learning_rate`, and the ratios between 1e-4 and 1.

    The points cover both ranges evenly (Halton 1960), or are drawn at random, on logarithmic axes. The first one has
    the learning rate itself, and no penalty. Each tuning, by its `place` from 0 on, has other points.
    """
    places = {"x": LinearRange(0, 1), "y": LinearRange(0, 1)}
    if search == "random":
        points = random_candidates(places, count, seed=place)
    else:
        points = halton_candidates(places, count, seed=None if place == 0 else place)
    drawn = [{"lr": learning_rate * 3 ** (2 * float(at["x"]) - 1), "ratio": 10 ** (4 * float(at["y"]) - 4)} for at in points]
    return [{"lr": learning_rate, "ratio": 0.0}, *drawn[1:]]


if __name__ == "__main__":
    main(study)
