"""A study of one run whose network can be tested under shifts, run by the tests as a user runs theirs."""

from collections.abc import Mapping

import torch

from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Shift, Study, main
from tests.nets import Small

DATA = SegmentationDataModule(Shapes(num_train=8, num_val=3, num_test=5, image_size=32, num_shapes=3), batch_size=4, num_workers=0)


def study(shifts: Mapping[str, Shift] | None = None) -> Study:
    def arm() -> SegmentationModule:
        return SegmentationModule(Small(), CrossEntropy(), num_classes=4)

    return Study("shifted", data=DATA, epochs=2, seeds=[0], baseline="none", arms={"none": arm}, shifts=shifts or {})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(study)
