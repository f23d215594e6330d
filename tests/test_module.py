"""Images and batches in a module: normalisation, padding, scores at the size of the masks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglab.data import SegmentationDataModule, Shapes
from seglab.losses import CrossEntropy, Dice, WeightedSum
from seglab.metrics import confusion_matrices, scores
from seglab.module import SegmentationModule
from seglab.networks import network
from seglab.networks.forward import classes
from seglab.sample import IGNORE, Batch
from tests.nets import Small, loader
from tests.trainers import quiet_trainer


class Brightness(nn.Module):
    """Logits from the brightness alone, so that what comes out tells what went in."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([[[[-1.0]], [[1.0]]]]))

    def forward(self, image: Tensor) -> Tensor:
        return self.scale * image.mean(1, keepdim=True)


def module(**settings: Any) -> SegmentationModule:
    return SegmentationModule(Brightness(), CrossEntropy(), num_classes=2, **settings)


def batch(images: list[Tensor], masks: list[Tensor]) -> Batch:
    def padded(tensors: list[Tensor], value: int) -> Tensor:
        rows, columns = (max(tensor.shape[axis] for tensor in tensors) for axis in (-2, -1))
        return torch.stack([F.pad(t, (0, columns - t.shape[-1], 0, rows - t.shape[-2]), value=value) for t in tensors])

    image_size, mask_size = (torch.tensor([tensor.shape[-2:] for tensor in tensors]) for tensors in (images, masks))
    return Batch(padded(images, 0), padded(masks, IGNORE), tuple(map(str, range(len(images)))), image_size, mask_size)


def drawn(height: int, width: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ([(8, 12), (8, 12)], [(8, 12), (8, 12)]),
        ([(8, 12), (8, 12)], [(24, 30), (24, 30)]),
        ([(8, 12), (8, 12)], [(24, 30), (16, 40)]),
        ([(8, 12), (6, 10)], [(8, 12), (6, 10)]),
        ([(8, 12), (8, 12)], [(8, 12), (4, 6)]),  # the larger mask is as large as the images
        ([(8, 12), (6, 10)], [(16, 24), (16, 24)]),
    ],
)
def test_each_image_is_resized_to_its_own_mask(images: list[tuple[int, int]], masks: list[tuple[int, int]]) -> None:
    """In a batch as alone."""
    this = module()
    pictures = [drawn(*size, seed) for seed, size in enumerate(images)]
    empty = [torch.zeros(size, dtype=torch.uint8) for size in masks]
    with torch.no_grad():
        together = this.full_logits(batch(pictures, empty))
        for index, (picture, (rows, columns)) in enumerate(zip(pictures, masks, strict=True)):
            alone = F.interpolate(this(picture[None]), (rows, columns), mode="bilinear", align_corners=False)
            torch.testing.assert_close(together[index, :, :rows, :columns], alone[0])


def test_images_are_normalised_by_their_type() -> None:
    this = module(mean=(0.5,), std=(0.25,))
    bytes_, words = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), torch.full((1, 3, 2, 2), 65535, dtype=torch.uint16)
    for image in (bytes_, words, torch.ones(1, 3, 2, 2)):
        torch.testing.assert_close(this.normalise(image), torch.full((1, 3, 2, 2), 2.0))


@pytest.mark.parametrize("architecture", ["Unet", "FPN", "DeepLabV3Plus"])
def test_any_height_and_width_will_do(architecture: str) -> None:
    this = SegmentationModule(network(architecture, "tu-test_resnet", num_classes=3), CrossEntropy(), num_classes=3).eval()
    with torch.no_grad():
        assert this(drawn(45, 70, 0)[None]).shape == (1, 3, 45, 70)


def test_classes_are_those_of_argmax() -> None:
    logits = torch.randn(2, 5, 6, 7)
    assert torch.equal(classes(logits), logits.argmax(1))


def test_scores_do_not_depend_on_the_batch_size() -> None:
    found = []
    for batch_size in (1, 3, 4):
        data = SegmentationDataModule(
            Shapes(num_train=4, num_val=4, num_test=7, image_size=32, num_shapes=3), batch_size=batch_size, size=(24, 24), num_workers=0
        )
        torch.manual_seed(0)
        this = SegmentationModule(nn.Conv2d(3, 4, 1), CrossEntropy(), num_classes=4)
        trainer = quiet_trainer()
        trainer.test(this, datamodule=data, verbose=False)
        names, matrices = this.evaluation("test").matrices()
        assert len(names) == 7
        assert matrices.sum() == 7 * 32 * 32
        found.append({name: float(value) for name, value in this.scores("test").mean.items()})
    assert found[0] == found[1] == found[2]


def test_matrices_count_predictions_against_truth() -> None:
    data = SegmentationDataModule(Shapes(num_train=4, num_val=4, num_test=3, image_size=32, num_shapes=3), batch_size=2, num_workers=0)
    torch.manual_seed(0)
    this = SegmentationModule(nn.Conv2d(3, 4, 1), CrossEntropy(), num_classes=4)
    quiet_trainer().test(this, datamodule=data, verbose=False)
    total = torch.zeros(4, 4, dtype=torch.int64)
    with torch.no_grad():
        for one in data.test_dataloader():
            total += confusion_matrices(this(one.image).argmax(1), one.mask, 4).sum(0)
    assert torch.equal(torch.from_numpy(this.evaluation("test").matrices()[1]).sum(0), total)
    assert this.scores("test").mean["miou"] == scores(total).mean["miou"]


def test_a_network_wrapped_by_compile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"network\.compile\(\)"):
        SegmentationModule(torch.compile(network("Unet", "tu-test_resnet", num_classes=4)), CrossEntropy(), num_classes=4)  # type: ignore[arg-type]


class Mixed(SegmentationModule):
    """A subclass with two settings of its own, a constant and state."""

    def __init__(self, network: nn.Module, loss: nn.Module, *, num_classes: int, alpha: float, extra: nn.Module | None = None) -> None:
        super().__init__(network, loss, num_classes=num_classes)
        self.alpha, self.extra = alpha, extra
        self.seen = 0


class Twice(Mixed):
    def __init__(self, beta: tuple[int, ...], **settings: Any) -> None:
        super().__init__(Brightness(), CrossEntropy(), num_classes=2, **settings)
        self.beta = beta


class Forgetful(SegmentationModule):
    def __init__(self, alpha: float) -> None:
        super().__init__(Brightness(), CrossEntropy(), num_classes=2)
        self.doubled = 2 * alpha


BASE = {"ignore_index": 7, "mean": [0.5], "std": [0.25], "batch_norm": "frozen"}


def test_the_settings_of_a_module_are_those_that_change_a_run() -> None:
    this = module(ignore_index=7, mean=(0.5,), std=(0.25,), batch_norm="frozen", allow_double_decay=True)
    assert this.settings() == BASE
    with this.validating("train"):
        this.frozen_by_schedule.add("scale")
        assert this.settings() == BASE


def test_the_arguments_of_a_subclass_are_its_settings_and_nothing_else_is() -> None:
    extra = nn.Conv2d(1, 1, 1)
    own = {name: value for name, value in Twice((1, 2), alpha=0.5, extra=extra).settings().items() if name not in BASE}
    assert own == {"alpha": 0.5, "beta": (1, 2), "extra": extra}


def test_an_argument_that_is_not_kept_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Forgetful does not keep the argument 'alpha' .* write self\.alpha = alpha"):
        Forgetful(1.0).settings()


def test_a_validation_counts_for_the_split_that_it_is_told() -> None:
    data = SegmentationDataModule(Shapes(num_train=4, num_val=2, num_test=2, image_size=16, num_shapes=3), batch_size=2, num_workers=0)
    this = SegmentationModule(nn.Conv2d(3, 4, 1), CrossEntropy(), num_classes=4)
    trainer = quiet_trainer(limit_val_batches=1.0)
    with this.validating("train"):
        trainer.validate(this, dataloaders=data.train_evaluation_dataloader(), verbose=False)
    trainer.validate(this, datamodule=data, verbose=False)
    assert [name.partition("/")[0] for split in ("train", "val") for name in this.evaluation(split).names] == ["train"] * 2 + ["val"] * 2


def test_names_of_classes_come_from_the_data_where_there_are_some() -> None:
    data = SegmentationDataModule(Shapes(num_train=4, num_val=2, num_test=2, image_size=16, num_shapes=3), batch_size=2, num_workers=0)
    this = SegmentationModule(nn.Conv2d(3, 4, 1), CrossEntropy(), num_classes=4)
    assert this.class_names() == ("0", "1", "2", "3")
    quiet_trainer(limit_test_batches=1).test(this, datamodule=data, verbose=False)
    assert this.class_names() == data.class_names


class ByTerms(nn.Module):
    """An own loss whose terms stand only after a forward pass."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        self.terms = {"rest": logits.square().mean().detach()}
        return logits.square().mean()


class ForLogitsOfItsOwn(nn.Module):
    """An own loss that refuses drawn logits."""

    terms: dict[str, Tensor] = {}  # noqa: RUF012

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        if not logits.requires_grad and logits.shape[-1] == 8:
            raise RuntimeError("not these")
        return logits.square().mean()


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (CrossEntropy(), {}),
        (CrossEntropy(), {"boundary_iou": True, "calibration_error": True}),
        (WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": 0.5}), {}),
        (ByTerms(), {"boundary_iou": True}),
        (ForLogitsOfItsOwn(), {}),
    ],
)
def test_the_names_of_metrics_are_those_that_a_training_logs(
    loss: nn.Module, settings: dict[str, bool], shapes: SegmentationDataModule
) -> None:
    one = SegmentationModule(Small(), loss, num_classes=4, **settings)  # type: ignore[arg-type]
    before = torch.random.get_rng_state()
    names = one.metric_names(shapes.class_names)
    assert torch.equal(before, torch.random.get_rng_state())
    assert len(names) == len(set(names))
    trainer = quiet_trainer(max_epochs=1, limit_val_batches=1.0)
    trainer.fit(one, datamodule=shapes)
    assert set(names) == set(trainer.callback_metrics)


def test_a_module_is_loaded_from_its_arguments(tmp_path: Path) -> None:
    one = SegmentationModule(Small(), CrossEntropy(), num_classes=4)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(one, loader(), loader())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"seglab\.load\(path\) returns the trained network.*network=…, loss=…, num_classes=…"):
        SegmentationModule.load_from_checkpoint(tmp_path / "last.ckpt")
    again = SegmentationModule.load_from_checkpoint(tmp_path / "last.ckpt", network=Small(), loss=CrossEntropy(), num_classes=4)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in one.state_dict().items())
