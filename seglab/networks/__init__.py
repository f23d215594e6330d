"""Networks of segmentation-models-pytorch (SMP), their pretrained weights, and the stages in which they are fine-tuned.

SMP and timm are imported where a network is built: `--help` must not wait for them.
"""

from seglab.networks.architecture import Architecture
from seglab.networks.build import description, network, rebuilt, size_divisor, unet
from seglab.networks.checkpoint import TrainedNetwork, load
from seglab.networks.loaded import LoadedWeights, loaded_weights, pretrained_parameters, weights_summary
from seglab.networks.stages import Stages, stages

__all__ = [
    "Architecture",
    "LoadedWeights",
    "Stages",
    "TrainedNetwork",
    "description",
    "load",
    "loaded_weights",
    "network",
    "pretrained_parameters",
    "rebuilt",
    "size_divisor",
    "stages",
    "unet",
    "weights_summary",
]
