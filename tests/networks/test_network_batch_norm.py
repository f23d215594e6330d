"""Batch norms over all processes keep the weights and activation of the originals.

Two processes compute the same as one.
"""

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct
from torch import Tensor, nn

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


def computed(made: nn.Module, device: str, images: Tensor, towards: Tensor) -> dict[str, Tensor]:
    """Return logits, gradients and running statistics in float64 for images (N,3,H,W).

    `towards` is the gradient of the loss by the logits.
    """
    made.to(device).double()
    logits = made(images.to(device))
    logits.backward(towards.to(device))
    gradients = {f"d {name}": parameter.grad.cpu() for name, parameter in made.named_parameters() if parameter.grad is not None}
    statistics = {name: buffer.cpu() for name, buffer in made.named_buffers()}
    return {"logits": logits.detach().cpu(), **gradients, **statistics}


def joint_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    brighter = torch.arange(4.0).view(-1, 1, 1, 1)  # so that statistics of a half are not those of all
    images, towards = torch.randn(2, 4, 3, 64, 64, generator=generator, dtype=torch.float64)
    return images + brighter, towards


def seeded() -> nn.Module:
    torch.manual_seed(0)
    return network("tu-mobilenetv3_small_050")


def one_of_two(rank: int, folder: str, device: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for joint in (True, False):
        made = JointBatchNorm(on_gpu=device == "cuda").apply(seeded()) if joint else seeded()
        torch.save(computed(made, device, *(part.chunk(2)[rank] for part in joint_batch())), f"{folder}/{rank}-{joint}.pt")
    dist.barrier()
    dist.destroy_process_group()


ON_GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", ON_GPU])
def test_two_processes_compute_what_one_does(device: str, tmp_path: Path) -> None:
    mp.spawn(one_of_two, args=(str(tmp_path), device), nprocs=2)
    alone = computed(seeded(), device, *joint_batch())

    def largest_difference(joint: bool) -> float:
        """The largest difference, relative to the largest value of each tensor where that is over 1."""
        ranks = [torch.load(tmp_path / f"{rank}-{joint}.pt", weights_only=True) for rank in range(2)]
        found = []
        for name, value in alone.items():
            if name == "logits":
                together = torch.cat([rank[name] for rank in ranks])
            else:
                together = ranks[0][name] + ranks[1][name] if name.startswith("d ") else ranks[1][name]
            found.append(float((together - value).abs().max() / value.abs().max().clamp_min(1.0)))
        return max(found)

    assert largest_difference(joint=True) < 1e-6
    assert largest_difference(joint=False) > 0.1, "this network and these images do not tell the two apart"
