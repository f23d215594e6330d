"""Which loss makes the better segmenter, and which one helps the rare classes?

Arms: cross-entropy (the baseline), weighted by median frequency, and focal; Dice, Tversky and Lovász-softmax, which
count regions in the place of pixels; cross-entropy beside Dice or beside the gradient loss; the hard pixels alone
(OHEM); and the regression losses on probabilities. All see the same batches in the same number of optimizer steps.
`test/rare_miou`, the mean IoU over the rarer half of the classes, is the question about rare classes as one number; the
report shows every class.

    python experiments/losses.py run
    python experiments/losses.py run --data.source CamVid --data.source.root D --data.size 96,128 --weights weights.safetensors
    python experiments/losses.py run --loss my.MyLoss                             # one of your own beside them
    python experiments/losses.py run --losses ce,dice --loss my.MyLoss            # against some of them
    python experiments/losses.py run --learning_rates 3e-4,1e-3,3e-3              # an equal tuning budget: each loss takes its best
    python experiments/losses.py compare --metric test/rare_miou

Expected on CamVid in a short training: Dice and Tversky find the classes of middling frequency earlier than
cross-entropy; the rarest are found by weighted cross-entropy and Lovász-softmax alone, at the cost of a frequent one,
so that the mean moves less than the classes do.
"""

from collections.abc import Callable, Sequence
from math import inf

from seglab import (
    OHEM,
    AdamW,
    Brier,
    CrossEntropy,
    Dice,
    Focal,
    GradientLoss,
    Lovasz,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    SmoothL1Loss,
    Study,
    Tuned,
    Tversky,
    WeightedSum,
    main,
    median_frequency,
    network,
)
from torch import nn
from torch.optim.lr_scheduler import PolynomialLR

Loss = Callable[[], nn.Module]

LOSSES: dict[str, Callable[[SegmentationDataModule], nn.Module]] = {
    "ce": lambda data: CrossEntropy(),
    "ce-weighted": lambda data: CrossEntropy(weight=median_frequency(data.class_pixels())),
    "focal": lambda data: Focal(gamma=2.0),
    "dice": lambda data: Dice(),
    "ce-dice": lambda data: WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": 1.0}),
    "ce-gradient": lambda data: WeightedSum({"ce": CrossEntropy(), "gradient": GradientLoss()}, {"ce": 1.0, "gradient": 0.5}),
    "lovasz": lambda data: Lovasz(),
    "tversky": lambda data: Tversky(alpha=0.3, beta=0.7),
    "ohem": lambda data: OHEM(threshold=0.7, at_least=1 / 16),
    "mse": lambda data: Brier(),
    "smooth-l1": lambda data: SmoothL1Loss(beta=0.2),
}
"""Each as a function of the data, from whose training masks class weights are computed."""


def study(
    data: SegmentationDataModule = SegmentationDataModule(Shapes()),
    architecture: str = "Unet",
    encoder: str = "resnet18",
    weights: str | None = None,
    losses: Sequence[str] = tuple(LOSSES),
    loss: Loss | None = None,
    epochs: int = 30,
    seeds: int = 10,
    learning_rates: Sequence[float] = (1e-3,),
    tuning_seeds: int = 5,
    final_round: int = 5,
    tunings: int = 1,
    boundary_iou: bool = False,
    calibration_error: bool = False,
) -> Study:
    """Arms: the losses, under AdamW with a learning rate that falls linearly.

    Args:
        data: images and masks; --data.balanced_images 1 draws images of rare classes more often, for all arms alike.
        architecture: any of segmentation-models-pytorch, such as FPN or DeepLabV3Plus.
        encoder: any of segmentation-models-pytorch; tu-NAME is one of timm.
        weights: of the encoder: a file, a checkpoint of seglab, or a name on the hub; from scratch without.
        losses: some of ce (the baseline), ce-weighted, focal, dice, ce-dice, ce-gradient, lovasz, tversky, ohem, mse,
            smooth-l1.
        loss: one of your own, by its import path; the arm has the name of its class.
        epochs: passes over the training images.
        seeds: trainings per arm, seeds 0, 1, ...; among all losses it takes 9 to show a difference.
        learning_rates: of AdamW; more than one are tried for each arm, which takes the best on the validation split.
        tuning_seeds: trainings of each learning rate, under seeds 1000, 1001, ..., where there are several.
        final_round: further trainings of the best three learning rates of each arm, under the seeds that follow; 0 for
            none.
        tunings: independent tunings of each arm, over which the seeds are distributed; see docs/howto/tuning.md.
        boundary_iou: score the boundaries of the classes too.
        calibration_error: score the probabilities too.
    """
    unknown = [name for name in losses if name not in LOSSES]
    if unknown:
        raise ValueError(f"--losses: there is no {unknown[0]!r}; there are {', '.join(LOSSES)}")
    if len(set(losses)) < len(losses) or "ce" not in losses:
        raise ValueError(f"--losses {list(losses)}: expected each name once, and 'ce' among them, as all others are compared with it")
    if not learning_rates or len(set(learning_rates)) < len(learning_rates) or not all(0 < rate < inf for rate in learning_rates):
        raise ValueError(f"--learning_rates {list(learning_rates)}: expected one or more, each above 0 and each once")
    if loss is not None and type(loss()).__name__ in losses:
        raise ValueError(f"--loss: its arm would have the name of {type(loss()).__name__!r}, one of --losses; give the class another name")

    def module(build: Loss, rate: float) -> Callable[[], SegmentationModule]:
        return lambda: SegmentationModule(
            network(architecture, encoder, num_classes=data.num_classes, weights=weights),
            build(),
            num_classes=data.num_classes,
            optimizer=AdamW(rate),
            scheduler=PolynomialLR,
            boundary_iou=boundary_iou,
            calibration_error=calibration_error,
        )

    def arm(build: Loss) -> Callable[[], SegmentationModule] | Tuned:
        if len(learning_rates) == 1:
            return module(build, learning_rates[0])
        return Tuned({f"lr={rate:.2e}": module(build, rate) for rate in learning_rates})

    chosen: dict[str, Loss] = {name: lambda name=name: LOSSES[name](data) for name in losses}  # type: ignore[misc]
    if loss is not None:
        chosen[type(loss()).__name__] = loss
    return Study(
        "losses",
        data=data,
        epochs=epochs,
        seeds=range(seeds),
        tuning_seeds=range(1000, 1000 + tuning_seeds),
        final_round=final_round,
        tunings=tunings,
        baseline="ce",
        arms={name: arm(build) for name, build in chosen.items()},
    )


if __name__ == "__main__":
    main(study)
