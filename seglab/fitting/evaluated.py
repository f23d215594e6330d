"""The scores of `seglab test` and `validate`, as the result of a run."""

import seglab
from seglab.data import SegmentationDataModule
from seglab.module import SegmentationModule
from seglab.records import Result, Run
from seglab.running.job import EvaluatedSplit
from seglab.tracking import End


def evaluated(module: SegmentationModule, data: SegmentationDataModule, split: EvaluatedSplit) -> End:
    """Return the scores of the last evaluation of a split. Every rank takes part.

    Args:
        module: the module after the evaluation.
        data: the data that it has evaluated.
        split: the split.
    """
    scores = module.scores(split)
    means = {name: float(value) for name, value in scores.mean.items()}
    result = Result(
        run=Run("fit", split, data.seed),
        identity="",
        class_names=tuple(module.class_names()),
        val=means if split == "val" else {},
        test=means if split == "test" else {},
        per_class={split: {name: tuple(values.tolist()) for name, values in scores.per_class.items()}},
        cost={},
        commit=None,
        version=seglab.__version__,
    )
    return End(result, scores.confusion.cpu().numpy() if split == "test" else None)
