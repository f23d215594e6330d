"""Fair comparisons of regularization and transfer learning in image segmentation.

Names are loaded when they are first asked for: `import seglab`, and reading results, must not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from seglab.compare import Comparison, compare
    from seglab.data import CamVid, ImageMaskFolder, SegmentationDataModule, Shapes
    from seglab.freezing import (
        LPFT,
        FreezeOut,
        FreezeSchedule,
        FrozenEncoder,
        FullFineTuning,
        GradualUnfreeze,
        LayerwiseDecay,
        Product,
        Surgical,
        WarmUp,
    )
    from seglab.losses import CrossEntropy, Dice, WeightedSum
    from seglab.metrics import ConfusionMatrix
    from seglab.module import SegmentationModule
    from seglab.networks import network, stages, unet
    from seglab.regularizers import (
        L1,
        L2,
        Anchored,
        Cosine,
        Decoupled,
        ElasticNet,
        FixedNorm,
        GroupLasso,
        HoyerSquare,
        LinearWarmup,
        Orthogonality,
        PerStage,
        Proximal,
        Regularizer,
        Relative,
        Scheduled,
        SmoothL1,
        Spectral,
        Sum,
        Where,
    )
    from seglab.run import Result, Run
    from seglab.sample import IGNORE, Batch, Sample
    from seglab.stage import Progress, Stage
    from seglab.study.arms import Tuned
    from seglab.study.main import main
    from seglab.study.study import Study

_HOMES = {
    "seglab.compare": ("Comparison", "compare"),
    "seglab.data": ("CamVid", "ImageMaskFolder", "SegmentationDataModule", "Shapes"),
    "seglab.freezing": (
        "LPFT",
        "FreezeOut",
        "FreezeSchedule",
        "FrozenEncoder",
        "FullFineTuning",
        "GradualUnfreeze",
        "LayerwiseDecay",
        "Product",
        "Surgical",
        "WarmUp",
    ),
    "seglab.losses": ("CrossEntropy", "Dice", "WeightedSum"),
    "seglab.metrics": ("ConfusionMatrix",),
    "seglab.module": ("SegmentationModule",),
    "seglab.networks": ("network", "stages", "unet"),
    "seglab.regularizers": (
        "L1",
        "L2",
        "Anchored",
        "Cosine",
        "Decoupled",
        "ElasticNet",
        "FixedNorm",
        "GroupLasso",
        "HoyerSquare",
        "LinearWarmup",
        "Orthogonality",
        "PerStage",
        "Proximal",
        "Regularizer",
        "Relative",
        "Scheduled",
        "SmoothL1",
        "Spectral",
        "Sum",
        "Where",
    ),
    "seglab.run": ("Result", "Run"),
    "seglab.sample": ("IGNORE", "Batch", "Sample"),
    "seglab.stage": ("Progress", "Stage"),
    "seglab.study.arms": ("Tuned",),
    "seglab.study.main": ("main",),
    "seglab.study.study": ("Study",),
}

__all__ = [
    "IGNORE",
    "L1",
    "L2",
    "LPFT",
    "Anchored",
    "Batch",
    "CamVid",
    "Comparison",
    "ConfusionMatrix",
    "Cosine",
    "CrossEntropy",
    "Decoupled",
    "Dice",
    "ElasticNet",
    "FixedNorm",
    "FreezeOut",
    "FreezeSchedule",
    "FrozenEncoder",
    "FullFineTuning",
    "GradualUnfreeze",
    "GroupLasso",
    "HoyerSquare",
    "ImageMaskFolder",
    "LayerwiseDecay",
    "LinearWarmup",
    "Orthogonality",
    "PerStage",
    "Product",
    "Progress",
    "Proximal",
    "Regularizer",
    "Relative",
    "Result",
    "Run",
    "Sample",
    "Scheduled",
    "SegmentationDataModule",
    "SegmentationModule",
    "Shapes",
    "SmoothL1",
    "Spectral",
    "Stage",
    "Study",
    "Sum",
    "Surgical",
    "Tuned",
    "WarmUp",
    "WeightedSum",
    "Where",
    "compare",
    "main",
    "network",
    "stages",
    "unet",
]


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
