"""Training and evaluation modes: networks that freeze themselves are refused, or train and evaluate as they should."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import pytest
import segmentation_models_pytorch as smp
import torch
from lightning.pytorch.callbacks import Callback
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.utils.model import freeze
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import FrozenBatchNorm2d

from seglab.freezing import LPFT, FrozenEncoder
from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.networks import network, unet
from seglab.networks.modes import check_modes, modes_of
from tests.freezing.deep import Block, Deep
from tests.nets import batches, fixed_module, loader
from tests.trainers import quiet_trainer


class HeldNorm(Deep):
    """Holds a norm in evaluation mode whose scale trains."""

    def train(self, mode: bool = True) -> "HeldNorm":
        super().train(mode)
        self.get_submodule("encoder.blocks.0.norm").eval()
        return self


class FrozenStage(Deep):
    """Freezes its first stage as backbones of detectors do: parameters and mode."""

    def train(self, mode: bool = True) -> "FrozenStage":
        super().train(mode)
        self.get_submodule("encoder.blocks.0").requires_grad_(False).eval()
        return self


class NeverEvaluates(Deep):
    def eval(self) -> "NeverEvaluates":
        return self


class SkipsAChild(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Deep(dropout=0.3)
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.last(self.inner(image))
        return logits

    def train(self, mode: bool = True) -> "SkipsAChild":
        self.training = self.last.training = mode
        return self


def frozen_by_smp(encoder: str = "resnet18", evaluating: bool = False) -> nn.Module:
    net = unet(encoder, 4).train(not evaluating)
    net.freeze_encoder()  # type: ignore[operator]
    return net


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "SMP's freeze_encoder": (
        frozen_by_smp,
        r"Unet.eval\(\) leaves encoder and \d+ more in training mode.*unfreeze_encoder\(\).*FrozenEncoder",
    ),
    "the same with drop-path": (partial(frozen_by_smp, "efficientnet-b0"), r"Unet.eval\(\) leaves encoder"),
    "the same from evaluation mode": (partial(frozen_by_smp, evaluating=True), r"Unet.eval\(\) leaves encoder"),
    "a norm that trains is held": (HeldNorm, r"HeldNorm.train\(\) leaves encoder.blocks.0.norm in evaluation mode.*batch_norm='frozen'"),
    "a child is skipped": (SkipsAChild, r"SkipsAChild.eval\(\) leaves inner and \d+ more in training mode"),
    "eval() does nothing": (NeverEvaluates, r"NeverEvaluates.eval\(\) leaves the network and"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_network_that_a_call_of_train_or_eval_does_not_reach_is_refused(kind: str) -> None:
    build, message = REFUSED[kind]
    net = build()
    before = list(modes_of(net).values())
    with pytest.raises(ValueError, match=message) as raised:
        SegmentationModule(net, CrossEntropy(), num_classes=4)
    assert "\n" not in str(raised.value)
    assert list(modes_of(net).values()) == before


@pytest.mark.parametrize("architecture", [cls.__name__ for cls in smp.MODEL_ARCHITECTURES_MAPPING.values()])
def test_every_network_of_smp_obeys(architecture: str) -> None:
    net = network(architecture, "tu-vit_tiny_patch16_224" if architecture == "DPT" else "efficientnet-b0", num_classes=3)
    before = list(modes_of(net).values())
    check_modes(net)
    assert list(modes_of(net).values()) == before


def test_a_network_that_was_unfrozen_again_obeys() -> None:
    net = frozen_by_smp()
    net.unfreeze_encoder()  # type: ignore[operator]
    check_modes(net)


class Freezes(Callback):
    """Freezes the encoder by SMP's method within a training."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self.freeze)

    def freeze(self, trainer: L.Trainer, pl_module: Any, *_: object) -> None:
        pl_module.network.freeze_encoder()


@pytest.mark.parametrize(
    ("hook", "message"),
    [("on_fit_start", r"Unet.eval\(\) leaves encoder"), ("on_train_batch_end", "encoder and .* would be evaluated in training mode")],
)
def test_what_is_frozen_later_is_refused_before_it_is_evaluated(hook: str, message: str) -> None:
    module = SegmentationModule(unet("tu-test_resnet", 4), CrossEntropy(), num_classes=4)
    given = batches(1, side=32)
    with pytest.raises(ValueError, match=message):
        quiet_trainer(callbacks=[Freezes(hook)], limit_val_batches=1).fit(module, loader(given), loader(given))


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_what_is_frozen_after_the_training_is_not_evaluated(verb: str) -> None:
    module = SegmentationModule(unet("tu-test_resnet", 4), CrossEntropy(), num_classes=4)
    module.network.freeze_encoder()  # type: ignore[operator]
    with pytest.raises(ValueError, match="would be evaluated in training mode"):
        getattr(quiet_trainer(limit_val_batches=1), verb)(module, loader(batches(1, side=32)))


def test_a_network_in_evaluation_mode_is_not_trained() -> None:
    module = fixed_module(None, net=lambda: Deep(dropout=0.3).eval())
    with pytest.raises(ValueError, match=r"encoder.blocks.0.conv and 8 more of Deep would train in evaluation mode.*network.train\(\)"):
        quiet_trainer().fit(module, loader(), loader())
    module.network.train()
    quiet_trainer(max_epochs=1).fit(module, loader(), loader())


def test_a_module_trains_again_with_frozen_norms_and_stages() -> None:
    module = fixed_module(None, net=Deep, batch_norm="frozen", freeze=FrozenEncoder())
    for _ in range(2):
        with pytest.warns(UserWarning, match="eval mode at the start") if module.frozen_by_schedule else torch.no_grad():
            quiet_trainer(max_epochs=1).fit(module, loader(), loader())


def deep(change: Callable[[nn.Module], object]) -> nn.Module:
    net = Deep(dropout=0.3)
    change(net)
    return net


def with_torchvision_s_norm(net: nn.Module) -> None:
    block = net.get_submodule("encoder.blocks.0")
    assert isinstance(block, Block)
    block.norm = FrozenBatchNorm2d(6)


def by_hand(net: nn.Module, path: str = "encoder.blocks.0") -> None:
    net.get_submodule(path).requires_grad_(False).eval()


FROZEN: dict[str, Callable[[], nn.Module]] = {
    "timm's freeze": lambda: deep(lambda net: freeze(net, ["encoder.blocks.0"])),
    "timm's freeze_batch_norm_2d": lambda: deep(freeze_batch_norm_2d),
    "torchvision's FrozenBatchNorm2d": lambda: deep(with_torchvision_s_norm),
    "a stage by a train() of its own": lambda: FrozenStage(dropout=0.3).train(),
    "a stage by hand": lambda: deep(by_hand),
    "a norm by hand": lambda: deep(partial(by_hand, path="encoder.blocks.0.norm")),
}


@pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start")
@pytest.mark.parametrize("schedule", [None, LPFT(1), FrozenEncoder()], ids=repr)
@pytest.mark.parametrize("kind", FROZEN)
def test_what_a_library_or_a_hand_froze_stays_as_it_is(kind: str, schedule: Any) -> None:
    """Compare weights and statistics after a schedule has frozen and unfrozen the stage around them.

    A validation runs between the epochs.
    """
    module = fixed_module(None, net=FROZEN[kind], freeze=schedule)
    frozen = [name for name, parameter in module.network.named_parameters() if not parameter.requires_grad]
    norm = "encoder.blocks.0.norm"
    frozen += [name for name, _ in module.network.named_buffers() if name.startswith(norm)]
    assert f"{norm}.running_mean" in frozen
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    quiet_trainer(max_epochs=3, limit_val_batches=1).fit(module, loader(), loader())
    after = module.network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in frozen)
    assert not torch.equal(after["decoder.up.weight"], before["decoder.up.weight"])
    module.network.eval()
    with torch.no_grad():
        assert torch.equal(module(batches()[0].image), module(batches()[0].image))


class Dropping(nn.Module):
    """Dropout as a function, which a traced graph holds as a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.dropout(self.conv(image), 0.5, self.training)


class Traced(nn.Module):
    """A network of torchvision's feature extraction, which has one graph for each mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = create_feature_extractor(Dropping(), {"dropout": "out"})

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.inner(image)["out"]
        return logits


@pytest.mark.filterwarnings("ignore:NOTE. The nodes obtained")
def test_a_network_with_two_graphs_trains_by_the_right_one_after_a_validation() -> None:
    class Watch(Callback):
        zeros: list[bool]

        def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: object) -> None:
            self.zeros = [*getattr(self, "zeros", []), bool((pl_module(batches()[0].image) == 0).any())]

    module, watch = fixed_module(None, net=Traced), Watch()
    trainer = quiet_trainer(max_epochs=3, limit_val_batches=1, callbacks=[watch])
    trainer.fit(module, loader(), loader())
    trainer.test(module, loader(), verbose=False)
    trainer = quiet_trainer(max_epochs=1, callbacks=[watch])
    trainer.fit(module, loader(), loader())
    assert watch.zeros == [True] * 12
