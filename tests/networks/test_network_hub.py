"""Weights on the hub, offline: they come from the cache that a download fills, or a message says what to do."""

from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from seglab.networks import LoadedWeights, loaded_weights, network, pretrained_parameters, unet, weights_summary


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of a machine without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def put(cache: Path, repository: str, revision: str, state: dict[str, Tensor], branch: str = "main") -> None:
    """Put files into the cache as a download does: snapshots/REVISION/FILE, and a branch's revision in refs/BRANCH."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "snapshots" / revision).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / branch).write_text(revision)
    (folder / "snapshots" / revision / "config.json").write_text("{}")
    save_file(state, folder / "snapshots" / revision / "model.safetensors")


@pytest.mark.parametrize("channels", [3, 4])
def test_weights_that_smp_has_downloaded(cache: Path, channels: int) -> None:
    settings = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    state = torchvision.models.resnet18(weights=None).state_dict()
    put(cache, settings["repo_id"], settings["revision"], state)
    net = network(num_classes=3, weights="imagenet", in_channels=channels)
    own = net.get_submodule("encoder").state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.items() if name != "conv1.weight" or channels == 3)
    assert pretrained_parameters(net) == {name for name, _ in net.named_parameters() if name.startswith("encoder.")}
    whole = net.state_dict()
    taken, new = (tuple(name for name in whole if name.startswith("encoder.") == wanted) for wanted in (True, False))
    assert loaded_weights(net) == LoadedWeights("imagenet", taken, (), new)
    assert weights_summary(net).splitlines()[0].startswith("from imagenet: encoder 100 tensors (11,17")


def test_weights_that_timm_has_downloaded(cache: Path) -> None:
    source: Any = timm.create_model("convnext_atto")
    put(cache, "timm/convnext_atto.d2_in1k", "a" * 40, source.state_dict())
    net = unet("tu-convnext_atto", 3, weights="imagenet")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        theirs = source.eval().forward_intermediates(image, intermediates_only=True)
        torch.testing.assert_close(net.get_submodule("encoder").eval()(image)[-1], theirs[-1])
    assert pretrained_parameters(net) == {name for name, _ in net.named_parameters() if name.startswith("encoder.")}


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("encoder", ["resnet18", "tu-convnext_atto"])
def test_offline_says_how_to_fetch(encoder: str) -> None:
    with pytest.raises(ValueError, match="neither on this machine nor could they be downloaded") as raised:
        unet(encoder, 3, weights="imagenet")
    message = str(raised.value)
    assert "\n" not in message
    assert f"import seglab; seglab.network('Unet', '{encoder}', num_classes=2, weights='imagenet')" in message
    for word in ("$HF_HOME", "HF_HUB_OFFLINE=1", "give a file"):
        assert word in message
