"""Batch norms over all processes: what they are made from keeps its weights, and its activation. That they are right: tests/freezing, tests/study."""

import pytest
import segmentation_models_pytorch as smp
import torch
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct
from torch import nn

from seglab.networks.batch_norm import JointBatchNorm


def network(encoder: str) -> nn.Module:
    made: nn.Module = smp.Unet(encoder, encoder_weights=None, encoder_depth=3, decoder_channels=(16, 8, 8), classes=3)
    return made.train()


@pytest.mark.parametrize("encoder", ["resnet18", "tu-mobilenetv3_small_050", "efficientnet-b0"])
def test_on_one_process_nothing_changes(encoder: str) -> None:
    """Parameters, their names and the output; with timm's activations, which Lightning's own conversion drops."""
    made, image = network(encoder), torch.randn(2, 3, 32, 32)
    names, norms = list(made.state_dict()), sum(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    torch.manual_seed(0)
    before = made(image)
    JointBatchNorm(on_gpu=False).apply(made)
    assert not any(type(module) in (nn.BatchNorm2d, BatchNormAct2d) for module in made.modules())
    assert norms > 10
    torch.manual_seed(0)
    assert torch.equal(made(image), before)
    assert list(made.state_dict()) == names


def test_on_a_gpu_it_is_torch_s_own_with_timm_s_activation() -> None:
    made = network("tu-mobilenetv3_small_050")
    before = {name: module.act for name, module in made.named_modules() if isinstance(module, BatchNormAct2d)}
    for _ in range(2):  # a second training of one network changes nothing more
        JointBatchNorm(on_gpu=True).apply(made)
        after = {name: module.act for name, module in made.named_modules() if isinstance(module, SyncBatchNormAct)}
        assert after == before
        assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())


class Scaled(nn.BatchNorm2d):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image) * 2


def test_a_norm_of_somebody_s_own_is_refused() -> None:
    made = nn.Sequential(nn.Conv2d(3, 3, 1), Scaled(3))
    with pytest.raises(ValueError, match=r"0.1 is a Scaled, a batch norm with a forward pass of its own.*without sync_batchnorm"):
        JointBatchNorm(on_gpu=True).apply(nn.Sequential(made))
