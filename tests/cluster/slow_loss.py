"""A loss that takes as many seconds as SECONDS_A_STEP says, until its job is interrupted. Waiting changes no result."""

import os
import time

from torch import Tensor

from seglab import CrossEntropy


class SlowCrossEntropy(CrossEntropy):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        if "SLURM_RESTART_COUNT" not in os.environ:
            time.sleep(float(os.environ.get("SECONDS_A_STEP", "0")))
        loss: Tensor = super().forward(logits, mask)
        return loss
