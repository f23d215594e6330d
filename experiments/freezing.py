"""How should a pretrained encoder be fine-tuned: which stages, when, and at which rates?

Arms: from scratch, full fine-tuning (the encoder at a tenth of the rate: the baseline), a frozen encoder, linear
probing before fine-tuning, gradual unfreezing, layer-wise decayed rates, surgical fine-tuning of the first or the last
stage of the encoder, FreezeOut, and L2-SP, which pulls weights to the pretrained ones in place of freezing them. All
take the same number of optimizer steps on the same batches; the report shows which stage trained when, and what each
arm cost.

    python experiments/freezing.py run --weights weights.safetensors
    python experiments/freezing.py run --data.source CamVid --data.source.root D --data.size 120,160 --data.train_fraction 0.1
    python experiments/freezing.py run --arms full,frozen,lp-ft --penalties none,l2,l1     # penalties × schedules, a factorial
    python experiments/freezing.py run --weights weights.safetensors --shifts noise,blur,brightness,jpeg    # and test under shift
    python experiments/freezing.py run --weights weights.safetensors --settings 4          # each arm at its best of 4 learning rates
    python experiments/freezing.py compare
    python experiments/freezing.py compare --metric shift/mean/miou

Expected on CamVid: pretraining is worth more where there are few images (--data.train_fraction 0.1) than with all of
them.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Literal

from seglab import (
    LPFT,
    AdamW,
    CrossEntropy,
    FreezeOut,
    FreezeSchedule,
    FrozenEncoder,
    FullFineTuning,
    GradualUnfreeze,
    LayerwiseDecay,
    LogRange,
    Product,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    Shift,
    Study,
    Surgical,
    Tuned,
    WarmUp,
    halton_candidates,
    main,
    network,
    penalties_at,
    stages,
)
from torch.optim.lr_scheduler import PolynomialLR

PENALTIES = ("none", "l2", "l1", "l2-sp")
"""None, and some of `penalties_at`."""

ARMS = (
    "full",
    "scratch",
    "frozen",
    "lp-ft",
    "gradual",
    "discriminative",
    "surgical-first",
    "surgical-last",
    "freezeout",
    "l2-sp",
)


def schedule(arm: str, rate: float, encoder: Sequence[str]) -> FreezeSchedule | None:
    """Return the schedule of an arm.

    Args:
        arm: one of `ARMS`.
        rate: learning rate of the encoder over that of decoder and head.
        encoder: names of the encoder's stages, from the input on.
    """
    full = FullFineTuning(rate)
    schedules: dict[str, FreezeSchedule | None] = {
        "full": full,
        "l2-sp": full,
        "scratch": None,
        "frozen": FrozenEncoder(),
        "lp-ft": Product([WarmUp(LPFT(0.1)), full]),
        "gradual": Product([WarmUp(GradualUnfreeze(0.1)), full]),
        "discriminative": LayerwiseDecay(0.65),
        "surgical-first": Product([Surgical([encoder[0], "decoder", "head"]), full]),
        "surgical-last": Product([Surgical([encoder[-1], "decoder", "head"]), full]),
        "freezeout": Product([FreezeOut(), full]),
    }
    return schedules[arm]


def study(
    data: SegmentationDataModule = SegmentationDataModule(Shapes()),
    architecture: str = "Unet",
    encoder: str = "resnet18",
    weights: str = "imagenet",
    batch_norm: Literal["train", "frozen"] = "train",
    epochs: int = 30,
    seeds: int = 10,
    arms: Sequence[str] = ARMS,
    penalties: Sequence[str] = ("none",),
    ratio: float = 0.03,
    learning_rate: float = 1e-3,
    encoder_rate: float = 0.1,
    settings: int = 1,
    tuning_seeds: int = 5,
    final_round: int = 5,
    tunings: int = 1,
    shifts: Mapping[str, Shift] | None = None,
) -> Study:
    """Arms: the schedules, or penalties × schedules.

    Args:
        data: images and masks; --data.train_fraction 0.1 takes a tenth of the training images.
        architecture: any of segmentation-models-pytorch, such as FPN or DeepLabV3Plus.
        encoder: any of segmentation-models-pytorch; tu-NAME is one of timm.
        weights: of the encoder: a file, a checkpoint of seglab, or a name on the hub, which needs a network once.
        batch_norm: train, or frozen at the pretrained statistics in all stages (from scratch, those that a network
            begins with).
        epochs: passes over the training images.
        seeds: trainings per arm, seeds 0, 1, ...; among all arms it takes 9 to show a difference.
        arms: some of full (the baseline), scratch, frozen, lp-ft, gradual, discriminative, surgical-first,
            surgical-last, freezeout, l2-sp.
        penalties: some of none, l2, l1, l2-sp; more than none crosses them with the arms, of which l2-sp is then one of
            the penalties.
        ratio: strength of a crossed penalty, ‖∇λR‖/‖∇L‖ after warm-up.
        learning_rate: of AdamW for decoder and head, and for all from scratch; falling linearly, under FreezeOut along
            its cosine.
        encoder_rate: the encoder's learning rate over that of decoder and head, where an arm has no other.
        settings: learning rates tried for each arm, a third to three times of --learning_rate; 1 tunes nothing.
        tuning_seeds: trainings of each learning rate, under seeds 1000, 1001, ...
        final_round: trainings of each arm's best three learning rates after that; 0 for none.
        tunings: independent tunings of each arm, over which the seeds are distributed; see docs/howto/tuning.md.
        shifts: more test sets, such as noise-3,blur,jpeg; see docs/howto/shift.md.
    """
    _check("--arms", arms, ARMS, "full")
    _check("--penalties", penalties, PENALTIES, "none")
    if not 0 < learning_rate < inf:
        raise ValueError(f"--learning_rate {learning_rate}: must be above 0")
    if not 0 <= ratio < inf:
        raise ValueError(f"--ratio {ratio}: must be 0 or more")
    if weights in ("null", "none", "None", ""):
        raise ValueError(
            f"--weights {weights!r}: fine-tuning needs pretrained weights, a file or a name such as imagenet; --arms scratch has none"
        )

    if settings < 1:
        raise ValueError(f"--settings {settings}: must be 1 or more")

    def build(arm: str, penalty: str, rate: float) -> Callable[[], SegmentationModule]:
        def module() -> SegmentationModule:
            net = network(architecture, encoder, num_classes=data.num_classes, weights=None if arm == "scratch" else weights)
            encoder_stages = [stage.name for stage in stages(net).stages if stage.part == "encoder"]
            return SegmentationModule(
                net,
                CrossEntropy(),
                num_classes=data.num_classes,
                freeze=schedule(arm, encoder_rate, encoder_stages),
                regularizer=None if penalty == "none" else penalties_at(ratio)[penalty],
                batch_norm=batch_norm,
                optimizer=AdamW(rate),
                scheduler=None if arm == "freezeout" else PolynomialLR,
            )

        return module

    def tuned(arm: str, penalty: str, place: int) -> Tuned:
        space = {"lr": LogRange(learning_rate / 3, learning_rate * 3)}
        others = halton_candidates(space, settings, seed=None if place == 0 else place)[1:]
        return Tuned.over(space, [{"lr": learning_rate}, *others], lambda values: build(arm, penalty, float(values["lr"]))())

    def one(arm: str, penalty: str) -> Callable[[], SegmentationModule] | Tuned | list[Tuned]:
        if settings == 1:
            return build(arm, penalty, learning_rate)
        return tuned(arm, penalty, 0) if tunings == 1 else [tuned(arm, penalty, place) for place in range(tunings)]

    crossed = tuple(penalties) != ("none",)
    if crossed:
        built = {f"{penalty}+{arm}": one(arm, penalty) for penalty in penalties for arm in arms if arm != "l2-sp"}
    else:
        built = {arm: one(arm, "l2-sp" if arm == "l2-sp" else "none") for arm in arms}
    return Study(
        "-".join(["freezing", *(["penalties"] if crossed else []), *(["bn-frozen"] if batch_norm == "frozen" else [])])
        + (f"@{data.train_fraction:g}" if data.train_fraction < 1 else ""),
        data=data,
        epochs=epochs,
        seeds=range(seeds),
        tuning_seeds=range(1000, 1000 + tuning_seeds),
        final_round=final_round,
        tunings=tunings,
        baseline="none+full" if crossed else "full",
        arms=built,
        factors=("penalty", "schedule") if crossed else (),
        shifts={} if shifts is None else shifts,
    )


def _check(flag: str, given: Sequence[str], known: Sequence[str], needed: str) -> None:
    """Raise a ValueError for a name that is unknown or given twice, and if the baseline's name is missing."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{flag}: there is no {unknown[0]!r}; there are {', '.join(known)}")
    if len(set(given)) < len(given) or needed not in given:
        raise ValueError(f"{flag} {list(given)}: expected each name once, and {needed!r} among them, as all others are compared with it")


if __name__ == "__main__":
    main(study, name="freezing")
