"""Which weight penalty makes the better segmenter, at an equal tuning budget?

Every arm has the same number of settings, learning rate and strength drawn together. The strength of a penalty is the ratio
‖∇λR‖/‖∇L‖ that it has after warm-up (`Relative`), so that all penalties search the same range; among its settings is no penalty at all.
An arm's setting is chosen on the validation split under seeds of its own, then trained and tested under the seeds of the study.

    python experiments/regularization.py run
    python experiments/regularization.py run --data.source CamVid --data.source.root D --data.size 96,128 --epochs 5
    python experiments/regularization.py run --settings 1 --ratio 0.03       # no tuning: one strength for all, relative to the gradient
    python experiments/regularization.py run --settings 1 --strength 1e-4    # no tuning: one λ for all
    python experiments/regularization.py run --penalties l2,l1               # some of the arms
    python experiments/regularization.py compare
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf

from seglab import (
    AdamW,
    CrossEntropy,
    Regularizer,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    Shift,
    Study,
    Tuned,
    main,
    network,
    penalties_at,
    penalties_of,
)
from torch import nn
from torch.optim.lr_scheduler import PolynomialLR

PENALTIES = ("l2", "decoupled-l2", "l1", "elastic-net", "smooth-l1", "group-lasso", "hoyer-square")
"""Those of `penalties_at` that need no pretrained weights."""

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
    tuning_seeds: int = 2,
    ratio: float = RATIO,
    strength: float | None = None,
    learning_rate: float = 1e-3,
    shifts: Mapping[str, Shift] | None = None,
) -> Study:
    """Arms: no penalty, and each of `penalties` beside the data loss, under AdamW without weight decay of its own.

    Args:
        data: images and masks.
        architecture: any of segmentation-models-pytorch, such as FPN or DeepLabV3Plus.
        encoder: any of segmentation-models-pytorch, from scratch; tu-NAME is one of timm.
        loss: the data loss, by its import path.
        epochs: passes over the training images.
        seeds: trainings per arm, seeds 0, 1, ...; among all penalties it takes 9 to show a difference.
        penalties: some of l2, decoupled-l2, l1, elastic-net, smooth-l1, group-lasso, hoyer-square.
        settings: learning rates and strengths tried for each arm; 1 tunes nothing.
        tuning_seeds: trainings of each setting, under seeds 1000, 1001, ...
        ratio: strength of the penalties where nothing is tuned, as ‖∇λR‖/‖∇L‖ after warm-up.
        strength: their strength as λ itself, in place of --ratio and from the first step on; each penalty has a λ scale of its own.
        learning_rate: of AdamW where nothing is tuned; else the middle of the range, a third to three times of it.
        shifts: more test sets, such as noise-3,blur,jpeg; see docs/shift.md.
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

    def module(regularizer: Regularizer | None, rate: float) -> Callable[[], SegmentationModule]:
        return lambda: SegmentationModule(
            network(architecture, encoder, num_classes=data.num_classes),
            loss(),
            num_classes=data.num_classes,
            regularizer=regularizer,
            optimizer=AdamW(rate),
            scheduler=PolynomialLR,
        )

    tried = drawn_settings(settings, learning_rate)

    def arm(penalty: str | None) -> Callable[[], SegmentationModule] | Tuned:
        if settings == 1:
            chosen = penalties_at(ratio) if strength is None else penalties_of(strength)
            return module(None if penalty is None else chosen[penalty], learning_rate)
        if penalty is None:
            return Tuned({f"lr={rate:.2e}": module(None, rate) for rate, _ in tried})
        return Tuned(
            {
                f"lr={rate:.2e},ratio={f'{own:.2e}' if own else 0}": module(penalties_at(own)[penalty] if own else None, rate)
                for rate, own in tried
            }
        )

    return Study(
        "regularization",
        data=data,
        epochs=epochs,
        seeds=range(seeds),
        tuning_seeds=range(1000, 1000 + tuning_seeds),
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


def drawn_settings(count: int, learning_rate: float) -> list[tuple[float, float]]:
    """Return pairs of learning rate and ratio, the same for every arm.

    The points cover both ranges evenly (Halton 1960) on logarithmic axes: a third to three times the learning rate, and 1e-4 to 1 for the
    ratio. The first pair has the learning rate itself, and no penalty.
    """
    from scipy.stats import qmc  # takes a second to import

    if count < 1:
        raise ValueError(f"--settings {count}: must be 1 or more")
    points = qmc.Halton(2, scramble=False).random(count + 1)[1:]
    drawn = [(learning_rate * 3 ** (2 * float(x) - 1), 10 ** (4 * float(y) - 4)) for x, y in points]
    return [(learning_rate, 0.0), *drawn[1:]]


if __name__ == "__main__":
    main(study)
