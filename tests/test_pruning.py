"""Pruned networks give what whole ones give, borders included, and are as small as a count by hand says."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from seglab import cli
from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.networks import description, network, rebuilt, unet
from seglab.pruning import Cost, prune, prune_with_report
from seglab.pruning.liveness import BORDER, LAST, TIED
from seglab.pruning.program import check_equal, write_pruned
from seglab.pruning.surgery import OPAQUE

Network = TypeVar("Network", bound=nn.Module)
Mode = Literal["zeros", "reflect", "replicate", "circular"]


def randomised(network: Network, *, zero: float = 0.0, seed: int = 0) -> Network:
    """In float64 and eval mode, with random statistics, biases and weights, and this share of filters exactly zero."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 1:  # biases, batch norm
            tensor.data.copy_(torch.randn(tensor.shape, generator=generator))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var.data.uniform_(0.3, 1.5, generator=generator)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.groups in (1, module.in_channels):
            filters = module.weight.data if isinstance(module, nn.Conv2d) else module.weight.data.transpose(0, 1)
            filters[torch.rand(len(filters), generator=generator) < zero] = 0
    return network


def images(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_same_outputs(first: nn.Module, second: nn.Module, *shape: int) -> None:
    with torch.no_grad():
        expected = first(images(*shape))
        torch.testing.assert_close(second(images(*shape)), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def zeroed(layer: nn.Module, *filters: int) -> None:
    assert isinstance(layer.weight, Tensor)
    layer.weight.data[list(filters)] = 0


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        pytest.param("Unet", "resnet18", marks=pytest.mark.slow),
        ("FPN", "tu-test_resnet"),
        ("Linknet", "tu-test_efficientnet"),
        ("DeepLabV3Plus", "tu-test_resnet"),
    ],
)
def test_outputs_stay_and_costs_fall(architecture: str, encoder: str) -> None:
    whole = randomised(network(architecture, encoder, num_classes=3), zero=0.4)
    smaller, report = prune_with_report(whole, images(1, 3, 64, 64))
    assert type(smaller) is type(whole)
    for shape in ((2, 3, 64, 64), (1, 3, 96, 32), (1, 3, 67, 45) if architecture == "Unet" else (1, 3, 32, 32)):
        assert_same_outputs(whole, smaller, *shape)
    assert report.after.parameters == sum(p.numel() for p in smaller.parameters()) < report.before.parameters
    assert report.after.flops < report.before.flops
    assert 0 < report.zero - sum(report.kept.values()) <= report.removed == report.before.filters - report.after.filters


def test_scse_attention_and_several_outputs() -> None:
    import segmentation_models_pytorch as smp

    aux = {"classes": 2}
    whole = smp.Unet("tu-test_resnet", encoder_weights=None, classes=3, decoder_attention_type="scse", aux_params=aux)
    smaller, report = prune_with_report(randomised(whole, zero=0.4), images(1, 3, 32, 32))
    assert report.removed > 100
    with torch.no_grad():
        for ours, theirs in zip(smaller(images(2, 3, 64, 96)), whole(images(2, 3, 64, 96)), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))


def small(*, kernel: int = 1, padding: int = 0) -> nn.Sequential:
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, kernel, padding=padding)
    return randomised(nn.Sequential(*layers))


def test_costs_counted_by_hand() -> None:
    whole = small()
    zeroed(whole[0], 1, 2)
    smaller, report = prune_with_report(whole, images(1, 3, 8, 8))
    # parameters: 4·(27 + 1) + 4·2 + 2·(4 + 1), with 2 filters for 4 then; 2 FLOPs for each of 27·4 and 4·2 weights and
    # 64 pixels
    assert report.before == Cost(130, 2 * (108 + 8) * 64, 6)
    assert report.after == Cost(66, 2 * (54 + 4) * 64, 4)
    assert (report.zero, report.removed, report.kept) == (2, 2, {})
    assert {name: tuple(tensor.shape) for name, tensor in smaller.named_parameters()} == {
        "0.weight": (2, 3, 3, 3), "0.bias": (2,), "1.weight": (2,), "1.bias": (2,), "3.weight": (2, 2, 1, 1), "3.bias": (2,)
    }  # fmt: skip
    assert smaller.get_submodule("0").out_channels == smaller.get_submodule("1").num_features == 2
    assert_same_outputs(whole, smaller, 2, 3, 9, 7)


def test_the_bias_by_hand() -> None:
    whole = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 3, bias=False)).double()
    with torch.no_grad():
        whole.get_parameter("0.weight").copy_(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1))
        whole.get_parameter("0.bias").copy_(torch.tensor([0.5, 2.0]))
    smaller = prune(whole, images(1, 1, 5, 5))
    taken = whole.get_parameter("2.weight")[0, 1].sum()
    torch.testing.assert_close(smaller.get_parameter("2.bias"), 2 * taken.detach()[None])
    assert_same_outputs(whole, smaller, 1, 1, 6, 5)


def test_one_constant_stays_for_zero_padded_borders() -> None:
    whole = small(kernel=3, padding=1)
    zeroed(whole[0], 0, 1, 2)
    whole.get_parameter("1.bias").data.fill_(1.0)
    whole.get_buffer("1.running_mean").data.zero_()
    whole.get_parameter("0.bias").data.copy_(torch.tensor([0.5, 0.7, 0.9, 0.1]))
    whole.get_parameter("1.weight").data.fill_(1.0)
    smaller, report = prune_with_report(whole, images(1, 3, 8, 8))
    assert (report.zero, report.removed, report.kept) == (3, 2, {BORDER: 1})
    assert_same_outputs(whole, smaller, 2, 3, 8, 8)
    whole.get_parameter("0.bias").data.fill_(-100.0)  # behind the ReLU they are 0, which zero padding does not change
    smaller, report = prune_with_report(whole, images(1, 3, 8, 8))
    assert (report.removed, report.kept) == (3, {})
    assert_same_outputs(whole, smaller, 2, 3, 8, 8)
    assert prune_with_report(smaller, images(1, 3, 8, 8))[1].removed == 0  # once is enough


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(
    zero=st.sets(st.integers(0, 5)),
    unread=st.sets(st.integers(0, 5), max_size=3),
    padding=st.sampled_from(
        [(0, "zeros"), (1, "zeros"), (2, "zeros"), ("same", "zeros"), (1, "reflect"), (1, "replicate"), (1, "circular")]
    ),
    activation=st.sampled_from([nn.ReLU(), nn.Hardswish(), nn.GELU(), nn.Sigmoid(), nn.Identity(), nn.LeakyReLU(inplace=True)]),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_choice_of_zero_filters(
    zero: set[int], unread: set[int], padding: tuple[int | str, Mode], activation: nn.Module, bias: bool, seed: int
) -> None:
    amount, mode = padding
    second = nn.Conv2d(6, 3, 3, padding=amount, padding_mode=mode, bias=bias)
    whole = randomised(nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, bias=bias), nn.BatchNorm2d(6), activation, second), seed=seed)
    zeroed(whole.get_submodule("0"), *zero)
    second.weight.data[:, list(unread)] = 0
    smaller, report = prune_with_report(whole, images(1, 2, 7, 7))
    assert_same_outputs(whole, smaller, 2, 2, 7, 7)
    assert_same_outputs(whole, smaller, 1, 2, 12, 9)
    gone = zero | unread
    assert report.zero == len(zero)
    assert mode == "circular" or report.removed >= min(len(gone), 5) - 1  # circular padding is not seen through
    assert report.removed <= len(gone)


def test_without_zero_filters_nothing_happens() -> None:
    whole = randomised(unet("tu-test_resnet", 3))
    before = copy.deepcopy(whole.state_dict())
    smaller, report = prune_with_report(whole, images(1, 3, 32, 32))
    assert report.before == report.after
    assert (report.zero, report.removed, report.kept) == (0, 0, {})
    for state in (smaller.state_dict(), whole.state_dict()):
        assert list(state) == list(before)
        assert all(torch.equal(state[name], before[name]) for name in before)


def test_the_network_stays_as_it_is() -> None:
    whole = randomised(unet("tu-test_resnet", 3), zero=0.5).train()
    before = copy.deepcopy(whole.state_dict())
    smaller = prune(whole, images(1, 3, 32, 32))
    assert whole.training
    assert smaller.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())
    smaller(images(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in smaller.get_submodule("decoder").parameters())


def test_a_layer_without_any_filter_left() -> None:
    whole = small()
    zeroed(whole[0], 0, 1, 2, 3)
    smaller, report = prune_with_report(whole, images(1, 3, 8, 8))
    assert (report.zero, report.removed, report.kept) == (4, 3, {LAST: 1})
    assert_same_outputs(whole, smaller, 2, 3, 8, 8)


def test_what_only_zero_filters_read_goes_too() -> None:
    whole = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 1)))
    whole.get_parameter("2.weight").data[:4, 1:] = 0  # the last filter alone reads the inputs 1 to 3 …
    zeroed(whole.get_submodule("2"), 4)
    smaller, report = prune_with_report(whole, images(1, 3, 8, 8))
    assert [smaller.get_submodule(name).out_channels for name in ("0", "2")] == [1, 4]
    assert (report.zero, report.removed) == (1, 4)
    assert_same_outputs(whole, smaller, 2, 3, 8, 8)


class Custom(nn.Module):
    """A first convolution, its image through `between`, and a convolution behind."""

    def __init__(self, between: Callable[["Custom", Tensor], Tensor], *, width: int = 6, padding: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, groups=6)
        self.grouped = nn.Conv2d(6, 6, 1, groups=2)
        self.up = nn.ConvTranspose2d(6, 6, 4, 2, 1)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 6, 1), nn.Sigmoid())
        self.flat = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.ones(1, 6, 1, 1))
        self.last = nn.Conv2d(width, 2, 3, padding=padding)
        self.between = between

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.last(self.between(self, self.first(image)))
        return result


ALL = 3
"""Filters 0, 1 and 2 of the first convolution are zero, with biases -1, 1 and 2."""


@pytest.mark.parametrize(
    ("between", "removed", "reason"),
    [
        (lambda net, x: F.relu_(x), ALL, None),
        (lambda net, x: net.norm(x), ALL, None),
        (lambda net, x: F.max_pool2d(x, 3, 2, 1), ALL, None),
        (lambda net, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), ALL, None),
        (lambda net, x: F.avg_pool2d(x, 3, 2, 1), 0, TIED),
        (lambda net, x: F.avg_pool2d(x.relu(), 3, 2, 1), 1, TIED),
        (lambda net, x: F.avg_pool2d(x, 2, divisor_override=3), 0, TIED),
        (lambda net, x: F.interpolate(x, scale_factor=2, mode="bilinear"), ALL, None),
        (lambda net, x: F.interpolate(x, size=(9, 9), mode="nearest"), ALL, None),
        (lambda net, x: F.pad(x, (1, 1, 1, 1)), 0, TIED),
        (lambda net, x: F.pad(x, (1, 1, 1, 1), value=2.0), 1, TIED),
        (lambda net, x: F.pad(x, (1, 1, 1, 1), mode="reflect"), ALL, None),
        (lambda net, x: F.pad(x, (0, 0, 0, 0, 1, 0))[:, 1:], 0, "used by pad.default"),
        (lambda net, x: x[:, :, 1:-1, 1:], ALL, None),
        (lambda net, x: x.mean((2, 3), keepdim=True).expand_as(x), 0, "used by expand.default"),
        (lambda net, x: F.dropout(x, 0.5, net.training), ALL, None),
        (lambda net, x: net.depthwise(x), ALL, None),
        (lambda net, x: net.up(x.relu()), 2, BORDER),  # 1 is 0 behind the ReLU; of the others one carries both
        (lambda net, x: net.grouped(x), 0, "used by conv2d.default"),
        (lambda net, x: net.squeeze(x) * x, 0, TIED),
        (lambda net, x: net.squeeze(x) * x.relu(), 1, TIED),
        (lambda net, x: x + net.second(x), 0, TIED),
        (lambda net, x: x + x.relu(), ALL, None),
        (lambda net, x: torch.where(x > 0, x, x.exp()), ALL, None),
        (lambda net, x: x * net.scale, 0, "used by mul.Tensor"),
        (lambda net, x: net.flat.bias.mean() * x, 0, "used by mul.Tensor"),
        (lambda net, x: x.clamp(-0.5, 0.5) / 3 - 1, ALL, None),
        (lambda net, x: F.softmax(x, 1), 0, "used by softmax.int"),
        (lambda net, x: x.flip(1), 0, "used by flip.default"),
        (lambda net, x: net.flat(x.movedim(1, -1)).movedim(-1, 1), 0, "used by permute.default"),
        (lambda net, x: F.group_norm(x, 3), 0, "used by group_norm.default"),
        (lambda net, x: net.second(net.second(x)), 0, "used by conv2d.default"),
        (lambda net, x: x.add_(1).relu_().mul_(2), ALL, None),
        (lambda net, x: x.sign(), ALL, None),  # also of NaN, which says that a channel is not known, a number
        (lambda net, x: x * x.mean((1, 2, 3), keepdim=True), 0, "used by mean.dim"),
        (lambda net, x: torch.cat([x, x.relu()], 0), 0, "used by cat.default"),
        (lambda net, x: x.abs().sum(1, keepdim=True) * x, 0, "used by sum.dim_IntList"),
    ],
)  # fmt: skip
def test_every_operation_on_constants(between: Callable[[Custom, Tensor], Tensor], removed: int, reason: str | None) -> None:
    whole = randomised(Custom(between))
    zeroed(whole.first, 0, 1, 2)
    whole.get_parameter("first.bias").data[:3] = torch.tensor([-1.0, 1.0, 2.0])
    smaller, report = prune_with_report(whole, images(1, 2, 10, 10))
    assert_same_outputs(whole, smaller, 2, 2, 10, 10)
    assert_same_outputs(whole, smaller, 1, 2, 8, 13)
    left = smaller.get_submodule("first").out_channels
    assert left == 6 - removed, report
    assert (set(report.kept) == {reason}) if reason is not None else (report.kept == {})


@pytest.mark.parametrize("padding", [0, 1])
def test_concatenation(padding: int) -> None:
    whole = randomised(Custom(lambda net, x: torch.cat([x, net.second(x), x.relu()], 1), width=18, padding=padding))
    zeroed(whole.first, 0, 1)
    zeroed(whole.second, 2, 3)
    smaller, report = prune_with_report(whole, images(1, 2, 10, 10))
    assert_same_outputs(whole, smaller, 2, 2, 10, 10)
    assert report.removed >= 3 - padding


def test_residual_sums_tie() -> None:
    """A filter of a sum goes where the other is zero as well, and stays where it is not."""
    whole = randomised(Custom(lambda net, x: x + net.norm(net.second(x.relu()))))
    zeroed(whole.first, 0, 1)
    zeroed(whole.second, 1, 2)
    smaller, report = prune_with_report(whole, images(1, 2, 10, 10))
    assert_same_outputs(whole, smaller, 2, 2, 10, 10)
    assert smaller.get_submodule("first").out_channels == smaller.get_submodule("second").out_channels == 5
    assert (report.zero, report.removed, report.kept) == (4, 2, {TIED: 2})


@pytest.mark.parametrize("used", ["second", "other"])
def test_weights_that_are_shared_stay(used: str) -> None:
    whole = randomised(Custom(lambda net, x: net.get_submodule(used)(x.relu())))
    whole.second, whole.other = (nn.Conv2d(6, 6, 3, padding=1, bias=False).double() for _ in range(2))
    whole.other.weight = whole.second.weight
    zeroed(whole.first, 0)
    zeroed(whole.second, 1)
    whole.get_parameter("first.bias").data[0] = -1
    smaller, report = prune_with_report(whole, images(1, 2, 10, 10))
    assert_same_outputs(whole, smaller, 2, 2, 10, 10)
    assert report.removed == 0
    assert report.kept == {"used by conv2d.default": 1, OPAQUE: 2}


@pytest.mark.parametrize(("padding", "removed"), [(0, 3), (1, 1)])
def test_a_filter_that_reads_constants_alone(padding: int, removed: int) -> None:
    """Fold a filter that is a constant itself, unless its padding cuts theirs off."""
    layers = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=padding), nn.Conv2d(4, 2, 1)
    whole = randomised(nn.Sequential(*layers))
    zeroed(layers[0], 0, 1)
    layers[1].weight.data[2, 2:] = 0
    smaller, report = prune_with_report(whole, images(1, 3, 10, 10))
    assert_same_outputs(whole, smaller, 2, 3, 10, 10)
    assert (report.zero, report.removed) == (2, removed)


def test_a_filter_that_batch_norm_scales_by_zero() -> None:
    whole = small()
    whole.get_parameter("1.weight").data[1] = 0
    smaller, report = prune_with_report(whole, images(1, 3, 8, 8))
    assert (report.zero, report.removed) == (0, 1)
    assert_same_outputs(whole, smaller, 2, 3, 8, 8)


def test_float32_and_frozen_parameters() -> None:
    whole = small(kernel=3, padding=1).float()
    zeroed(whole[0], 0, 1)
    whole[0].requires_grad_(False)
    smaller = prune(whole, torch.zeros(1, 3, 8, 8))
    assert {p.dtype for p in smaller.parameters()} == {torch.float32}
    assert [p.requires_grad for p in smaller.parameters()] == [False, False, True, True, True, True]
    image = images(2, 3, 16, 16).float()
    torch.testing.assert_close(smaller(image), whole(image), rtol=1e-4, atol=1e-5)


def test_errors_of_images_and_networks() -> None:
    class Branching(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image if bool(image.sum() > 0) else -image

    with pytest.raises(ValueError, match=r"Sequential does not run on an image of shape \(1, 5, 8, 8\)"):
        prune(small(), images(1, 5, 8, 8))
    with pytest.raises(ValueError, match=r"does not run on an image of shape.*divisible by 32"):
        prune(network("Linknet", "tu-test_resnet", num_classes=2), torch.zeros(1, 3, 33, 64))
    with pytest.raises(ValueError, match=r"Branching cannot be pruned, because torch\.export cannot trace it"):
        prune(Branching(), images(1, 3, 8, 8))


def test_a_difference_is_found(tmp_path: Path) -> None:
    whole = small()
    other = copy.deepcopy(whole)
    other.get_parameter("3.bias").data[0] += 1e-6
    check_equal(whole, copy.deepcopy(whole), images(1, 3, 8, 8))
    with pytest.raises(ValueError, match="gives other outputs on images of"):
        check_equal(whole, other, images(1, 3, 8, 8))
    by_size = randomised(Custom(lambda net, x: x * x.shape[-1]))  # the trace takes the width for a constant
    zeroed(by_size.first, 0)
    with pytest.raises(ValueError, match=r"gives other outputs on images of \(15, 22\)"):
        write_pruned(by_size, tmp_path / "a.pt2", size=(8, 8), metadata={}, channels=2)
    assert list(tmp_path.iterdir()) == []


class Ended(NamedTuple):
    code: object
    out: str
    err: str


Seglab = Callable[..., Ended]


@pytest.fixture
def seglab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Seglab:
    """The command, in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["seglab", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(ended.value.code, *capfd.readouterr())

    return run


def save_checkpoint(path: Path, whole: nn.Module) -> None:
    """Save what Lightning writes of a module, as far as it matters."""
    module = SegmentationModule(whole, CrossEntropy(), num_classes=3, mean=(0.1, 0.2, 0.3), std=(1.0,))
    content = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    torch.save(content, path)


LOADING = """
import json, sys
sys.modules["seglab"] = None  # importing it fails
import torch
files = {"seglab.json": ""}
program = torch.export.load("last.pruned.pt2", extra_files=files).module()
torch.save((program(torch.load("images.pt")), json.loads(files["seglab.json"])), "outputs.pt")
"""


@pytest.mark.weekly
def test_the_program_needs_no_seglab(seglab: Seglab, tmp_path: Path) -> None:
    whole = randomised(unet("tu-test_resnet", 3), zero=0.4).float()
    save_checkpoint(tmp_path / "last.ckpt", whole)
    ended = seglab("prune", "last.ckpt", "--size", 32, 64)
    assert (ended.code, ended.err) == (0, "")
    for word in ("parameters", "GFLOPs", "filters were zero", "MB", "ms an image", "program: last.pruned.pt2"):
        assert word in ended.out
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", "last.pruned.pt2"}
    image = images(3, 3, 32, 64).float()
    torch.save(image, "images.pt")
    subprocess.run([sys.executable, "-c", LOADING], check=True, cwd=tmp_path)
    outputs, metadata = torch.load("outputs.pt")
    with torch.no_grad():
        expected = whole(image)
    torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert metadata["class_names"] == ["0", "1", "2"]
    assert metadata["mean"] == pytest.approx([0.1, 0.2, 0.3])
    assert metadata["std"] == [1.0]
    assert metadata["network"] == json.loads(json.dumps(description(whole)))
    assert (tmp_path / "last.pruned.pt2").stat().st_size < sum(4 * p.numel() for p in whole.parameters())


@pytest.mark.parametrize("architecture", ["Unet", "FPN", "Segformer"])
def test_networks_are_rebuilt_from_their_description(architecture: str) -> None:
    whole = network(architecture, "tu-test_resnet", num_classes=5, in_channels=2)
    again = rebuilt(json.loads(json.dumps(description(whole))))
    assert description(again) == description(whole)
    again.load_state_dict(whole.state_dict())


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({"class": "mine.Network", "repr_sha256": "0"}, "mine.Network is no network of segmentation_models_pytorch"),
        ({}, "None is no network of segmentation_models_pytorch"),
        ({"class": "segmentation_models_pytorch.Wnet", "config": {}}, "has no segmentation_models_pytorch.Wnet; it has .*Unet"),
        ({"class": "segmentation_models_pytorch.Unet", "config": {"depth": 3}}, "cannot build .*Unet as it is described: .*'depth'"),
        (
            {"class": "segmentation_models_pytorch.Unet", "config": {"encoder_name": "resnet0"}},
            "cannot build .*Unet as it is described: .*resnet0",
        ),
    ],
)
def test_descriptions_that_cannot_be_rebuilt(described: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        rebuilt(described)


def refusal(ended: Ended) -> str:
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


def test_bad_input_to_the_command(seglab: Seglab, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "good.ckpt", network("Linknet", "tu-test_resnet", num_classes=3))
    save_checkpoint(tmp_path / "own.ckpt", Custom(lambda net, x: x))
    (tmp_path / "text.ckpt").write_text("nothing")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    content = torch.load(tmp_path / "good.ckpt")
    content["state_dict"].pop("network.segmentation_head.0.weight")
    torch.save(content, tmp_path / "less.ckpt")
    before = set(tmp_path.iterdir())
    for words, expected in (
        ((), ("CKPT",)),
        (("nowhere.ckpt",), ("nowhere.ckpt is no file", "last.ckpt")),
        (("text.ckpt",), ("text.ckpt holds no weights: it is damaged",)),
        (("other.ckpt",), ("other.ckpt is no checkpoint of seglab",)),
        (("own.ckpt",), ("Custom is no network of segmentation_models_pytorch",)),
        (("less.ckpt",), ("less.ckpt: the weights do not fit", "segmentation_head.0.weight")),
        (("good.ckpt", "--size", "33", "64"), ("(1, 3, 33, 64)", "divisible by 32")),
        (("good.ckpt", "--size", "0", "64"), ("size", "(0, 64)")),
        (("good.ckpt", "--size", "x", "64"), ("--size", "got x")),
        (("good.ckpt", "--size", "64"), ("--size",)),
        (("good.ckpt", "--output", "no/where.pt2"), ("--output", "no/where.pt2")),
        (("good.ckpt", "--output", "."), ("--output",)),
    ):
        line = refusal(seglab("prune", *words))
        for part in expected:
            assert part in line, line
    assert set(tmp_path.iterdir()) == before
