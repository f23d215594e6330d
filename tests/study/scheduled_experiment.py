"""Does an interruption leave a trace in a scheduler? An arm for each scheduler of torch, and some of them by epochs."""

from collections.abc import Callable
from typing import Literal

from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Study, main
from seglab.schedulers import SchedulerFactory
from tests.schedulers import SCHEDULERS
from tests.study.fragile_experiment import Fragile, Net, adamw, momentum

BY_EPOCH = ("StepLR", "PolynomialLR", "SequentialLR")


def named(name: str) -> str:
    """An arm's name for a scheduler of the table."""
    return name.replace(", ", "-").replace(" ", "-")


def study(
    data: SegmentationDataModule = SegmentationDataModule(
        Shapes(num_train=20, num_val=4, num_test=4, image_size=16, num_shapes=2), batch_size=4, num_workers=0
    ),
    epochs: int = 4,
    rate: float = 0.05,
) -> Study:
    def arm(scheduler: SchedulerFactory, interval: Literal["step", "epoch"] = "step") -> Callable[[], SegmentationModule]:
        """Under SGD by steps, and under AdamW by epochs, so that both kinds of momentum are cycled and restored."""
        optimizer = momentum if interval == "step" else adamw
        return lambda: Fragile(
            Net(data.num_classes),
            CrossEntropy(),
            num_classes=data.num_classes,
            optimizer=lambda groups: optimizer([{**group, "lr": rate} for group in groups]),
            scheduler=scheduler,
            scheduler_interval=interval,
        )

    arms = {named(name): arm(case.factory) for name, case in SCHEDULERS.items()}
    arms |= {f"{named(name)}-by-epoch": arm(SCHEDULERS[name].factory, "epoch") for name in BY_EPOCH}
    return Study("scheduled", data=data, epochs=epochs, seeds=range(1), baseline="PolynomialLR", arms=arms)


def start() -> None:
    """Run the script. Its classes have the same names however it is started."""
    from tests.study import scheduled_experiment

    main(scheduled_experiment.study)


if __name__ == "__main__":
    start()
