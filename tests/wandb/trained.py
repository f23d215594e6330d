"""A worker that trains one small run: `python trained.py FOLDER MODE`.

`python trained.py` alone starts such processes: see `forks.py`.

Environment: while the file `HOLD` exists, the training does not go on.
"""

import os
import sys
import time
from pathlib import Path

from torch import Tensor

from seglab import CrossEntropy, SegmentationModule, Study
from seglab.interruption import Interruption
from seglab.running.plan import Plan, Script, agreed_record, save_record
from seglab.running.resources import Resources
from seglab.running.worker import work
from tests.nets import Small
from tests.wandb.forks import words_of_a_child
from tests.wandb.shifted_experiment import DATA


class Held(CrossEntropy):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        while "HOLD" in os.environ and Path(os.environ["HOLD"]).exists():
            time.sleep(0.05)
        return super().forward(logits, mask)


def study() -> Study:
    def arm() -> SegmentationModule:
        return SegmentationModule(Small(), Held(), num_classes=4)

    return Study("small", data=DATA, epochs=2, seeds=[0], baseline="none", arms={"none": arm})


def train(root: Path, mode: str) -> int:
    """Train the run, and return the number of failures."""
    resources = Resources(accelerator="cpu", wandb=mode)  # type: ignore[arg-type]
    plan = Plan(study(), root, Script(("script.py",)), resources)
    save_record(plan, agreed_record(plan))
    return work(plan.jobs(), Interruption())


if __name__ == "__main__":
    if words := sys.argv[1:] or words_of_a_child():
        sys.exit(train(Path(words[0]), words[1]))
