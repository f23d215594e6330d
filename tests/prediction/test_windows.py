"""Windows cover each pixel, equal the plain forward pass where possible, have no seams, and hold one band at a time."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Windows
from seglab.networks import TrainedNetwork, network
from seglab.sample import Batch
from seglab.windows import bands, hann, starts
from tests.nets import Small
from tests.trainers import quiet_trainer

SIDES = st.integers(1, 40)


def whole(net: Any, image: Tensor, windows: Windows | None) -> Tensor:
    with torch.no_grad():
        return torch.cat(list(bands(net, image, windows)), dim=-2)


@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from([0.0, 0.1, 0.5, 0.75, 0.99]))
def test_windows_cover_a_side_with_the_overlap_asked_for(length: int, window: int, overlap: float) -> None:
    window = min(length, window)
    found = starts(length, window, overlap)
    assert (found[0], found[-1]) == (0, length - window)
    assert all(1 <= after - before <= max(1, int(window * (1 - overlap))) for before, after in pairwise(found))


def test_weights_are_those_of_hann() -> None:
    assert torch.allclose(hann(4, "cpu"), torch.tensor([0.1464466, 0.8535534, 0.8535534, 0.1464466]))
    assert hann(20_000, "cpu").min() > 0


@settings(deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_a_constant_network_leaves_no_seams(height: int, width: int, rows: int, columns: int, overlap: float) -> None:
    """Float32 rounds a weighted mean of equal values in its last digits."""
    values = torch.tensor([3.7, -0.1, 1e4]).view(1, 3, 1, 1)
    logits = whole(
        lambda image: values.expand(len(image), 3, *image.shape[-2:]), torch.rand(2, 1, height, width), Windows((rows, columns), overlap)
    )
    torch.testing.assert_close(logits, values.expand(2, 3, height, width), rtol=2e-6, atol=0)


@settings(deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([0.0, 0.5, 0.8]))
def test_a_network_of_single_pixels_gives_what_it_gives_as_a_whole(
    height: int, width: int, rows: int, columns: int, overlap: float
) -> None:
    """Each pixel has a value of its own: a window in the wrong place would be seen."""
    torch.manual_seed(0)
    net, image = nn.Conv2d(3, 5, 1), torch.rand(2, 3, height, width)
    torch.testing.assert_close(whole(net, image, Windows((rows, columns), overlap)), whole(net, image, None), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (31, 48), (7, 5), (32, 1)])
def test_an_image_in_one_window_is_the_plain_forward_pass_bit_for_bit(size: tuple[int, int]) -> None:
    net = TrainedNetwork(network("FPN", "tu-test_resnet", num_classes=3), "abc", (0.5,), (0.2,)).eval()
    image = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    with torch.no_grad():
        expected = net(image)
    assert torch.equal(whole(net, image, Windows((32, 48))), expected)


def test_a_pixel_is_the_mean_of_its_windows_with_their_weights() -> None:
    """By hand: two windows of 4 columns over 6, which share two. The network returns the column in the window."""
    columns = torch.arange(4.0).expand(1, 1, 1, 4)
    image = torch.zeros(1, 1, 1, 6)
    a, b = float(hann(4, "cpu")[0]), float(hann(4, "cpu")[1])
    expected = [0, 1, (b * 2 + a * 0) / (a + b), (a * 3 + b * 1) / (a + b), 2, 3]
    assert whole(lambda _: columns, image, Windows((1, 4), 0.5)).flatten().tolist() == pytest.approx(expected, rel=1e-6)


def test_only_one_band_is_held() -> None:
    net, image = nn.Conv2d(3, 5, 3, padding=1), torch.rand(1, 3, 400, 20)
    with torch.no_grad():
        heights = [band.shape[-2] for band in bands(net, image, Windows((32, 20), 0.5))]
    assert sum(heights) == 400
    assert max(heights) <= 32


@pytest.mark.parametrize(
    ("size", "overlap", "message"),
    [
        ((0, 8), 0.5, r"window is \[0, 8\]: expected rows and columns of at least 1"),
        ((8,), 0.5, r"window is \[8\]"),
        ((8, 8), 1.0, "overlap is 1.0: expected 0 to below 1"),
        ((8, 8), -0.1, "overlap is -0.1"),
        ((8, 8), float("nan"), "overlap is nan"),
    ],
)
def test_windows_that_cannot_be_are_refused(size: Any, overlap: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Windows(size, overlap)
    with pytest.raises(ValueError, match=message):
        SegmentationDataModule(Shapes(), window=size, overlap=overlap)


def data(**settings: Any) -> SegmentationDataModule:
    return SegmentationDataModule(
        Shapes(num_train=8, num_val=4, num_test=4, image_size=48, num_shapes=3), batch_size=4, num_workers=0, **settings
    )


def module() -> SegmentationModule:
    torch.manual_seed(0)
    return SegmentationModule(Small(), CrossEntropy(), num_classes=4).eval()


def scored(**settings: Any) -> dict[str, float]:
    this = module()
    (logged,) = quiet_trainer().test(this, datamodule=data(**settings), verbose=False)
    return dict(logged)


def test_an_evaluation_by_windows_scores_the_logits_of_the_windows() -> None:
    windows = Windows((20, 16), 0.25)
    (batch,) = data().test_dataloader()
    this = module()
    logits = whole(this, batch.image, windows)
    this.evaluation("test").update(logits, batch)
    found = scored(window=(20, 16), overlap=0.25)
    assert found["test/miou"] == pytest.approx(float(this.scores("test").mean["miou"]))
    with torch.no_grad():
        assert found["test/loss"] == pytest.approx(float(CrossEntropy()(logits, batch.mask.long())))
    assert found != scored()
    assert scored(window=(48, 48)) == scored(), "images in one window"


def test_images_of_several_sizes_are_each_computed_alone() -> None:
    this, windows = module(), Windows((16, 16))
    quiet_trainer().test(this, datamodule=data(window=(16, 16)), verbose=False)  # the module keeps its trainer
    torch.manual_seed(1)
    image = torch.randint(0, 256, (2, 3, 24, 40), dtype=torch.uint8)
    sizes = torch.tensor([[24, 30], [20, 40]])
    batch = Batch(image, torch.zeros(2, 24, 40, dtype=torch.uint8), ("a", "b"), sizes, sizes)
    with torch.no_grad():
        logits = this.full_logits(batch)
    assert torch.equal(logits[:1, :, :, :30], whole(this, image[:1, :, :, :30], windows))
    assert torch.equal(logits[1:, :, :20], whole(this, image[1:, :, :20], windows))


def test_windows_are_part_of_the_identity_only_if_they_are_used() -> None:
    plain = data().identity()
    assert "window" not in plain
    assert data(overlap=0.25).identity() == plain
    assert data(window=(16, 24)).identity() == {**plain, "window": (16, 24), "overlap": 0.5}
