"""An architecture with options, by the names of segmentation-models-pytorch."""

from seglab import Architecture, network

net = network(Architecture("Unet", decoder_attention_type="scse", decoder_use_norm="identity"), "resnet18", num_classes=4)
