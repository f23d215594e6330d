"""Weights whose scale does not matter, against what scaling them really does to the output."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seglab.networks import network, unet
from seglab.networks.invariance import scale_free


class TwoHeads(nn.Module):
    """A convolution whose output goes into a norm and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        found = self.shared(image)
        logits: Tensor = self.last(self.norm(found) + found)
        return logits


class Twice(nn.Module):
    """One convolution used twice, with a norm behind one of the uses."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.shared(self.norm(self.shared(image)))
        return logits


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet resnet18": lambda: unet("resnet18", 3),
    "fpn": lambda: network("FPN", "resnet18", num_classes=3),  # group norms without bias in its decoder
    "mobilenet": lambda: unet("tu-mobilenetv3_small_050", 3),
    "batch": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1)),
    "group": lambda: nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.GroupNorm(3, 6), nn.ReLU(), nn.Conv2d(6, 2, 1)),
    "group with bias": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(3, 6), nn.ReLU(), nn.Conv2d(6, 2, 1)),
    "instance": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.ReLU(), nn.Conv2d(6, 2, 1)),
    "transposed": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1)),
    "transposed in groups": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1)
    ),
    "depthwise": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
    ),
    "no norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)),
    "past the norm": TwoHeads,
    "used twice": Twice,
    "norm after the activation": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)),
    "norm first": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
}

EXPECTED = {
    "batch": {"0.weight": "filter"},
    "group": {"0.weight": "tensor"},
    "instance": {"0.weight": "filter"},
    "transposed": {"1.weight": "filter"},
    "transposed in groups": {"1.weight": "filter"},
    "depthwise": {"2.weight": "filter"},
}


def built(name: str) -> nn.Module:
    """In double precision, with norms whose ε is nothing beside the variances, and no dropout."""
    torch.manual_seed(0)
    made = NETWORKS[name]()
    module: Any
    for module in made.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-14
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return made.train()


def filter_dimension(made: nn.Module, name: str) -> int:
    return 1 if isinstance(made.get_submodule(name.rpartition(".")[0]), nn.ConvTranspose2d) else 0


def change(made: nn.Module, name: str, factors: Tensor, image: Tensor, before: Tensor) -> float:
    """Return the change of the output, relative to its size, when a weight is multiplied."""
    weight = made.get_parameter(name)
    with torch.no_grad():
        kept = weight.clone()
        weight.mul_(factors)
        after = made(image)
        weight.copy_(kept)
    return float((after - before).norm() / before.norm())


@pytest.mark.parametrize("name", NETWORKS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=2, deadline=None)
def test_what_is_said_to_be_free_is_free(name: str, seed: int) -> None:
    made = built(name)
    free = scale_free(made)
    made.double()
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, 32, 32, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        before = made(image)
        weights = [key for key, parameter in made.named_parameters() if parameter.ndim == 4]
        for key in [weights[int(place)] for place in torch.randperm(len(weights), generator=generator)[:8]]:
            weight = made.get_parameter(key)
            dim = filter_dimension(made, key)
            shape = [weight.shape[i] if i == dim and free[key] == "filter" else 1 for i in range(4)]
            factors = torch.empty(shape, dtype=torch.float64).uniform_(0.3, 3.0, generator=generator)
            difference = change(made, key, factors, image, before)
            if free[key] in ("filter", "tensor"):
                assert difference < 1e-6, key


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_said_to_matter_matters(name: str) -> None:
    """Weights of plain convolutions: if the scale is said to matter but does not, a control would miss them."""
    made = built(name)
    free = scale_free(made)
    assert {key: value for key, value in free.items() if value != "no"} == EXPECTED.get(name, {k: v for k, v in free.items() if v != "no"})
    made.double()
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        before = made(image)
        matter = [key for key, value in free.items() if value == "no" and made.get_parameter(key).ndim == 4]
        for key in matter[:10]:
            weight = made.get_parameter(key)
            factors = torch.linspace(0.5, 2.0, weight.shape[0], dtype=torch.float64).view(-1, 1, 1, 1)
            assert change(made, key, factors, image, before) > 1e-6, key


def test_a_tensor_before_a_group_norm_is_not_free_by_filter() -> None:
    made = built("group").double()
    image = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        before = made(image)
    assert change(made, "0.weight", torch.linspace(0.5, 2, 6, dtype=torch.float64).view(-1, 1, 1, 1), image, before) > 1e-3


def test_in_a_resnet_all_but_the_head_is_free() -> None:
    made = unet("resnet18", 3)
    found = scale_free(made)
    convolutions = {f"{path}.weight" for path, module in made.named_modules() if isinstance(module, nn.Conv2d)}
    assert {name for name, value in found.items() if value == "filter"} == convolutions - {"segmentation_head.0.weight"}


def test_looking_changes_nothing() -> None:
    """No statistics of norm layers, no draws, no gradients."""
    made = unet("tu-test_resnet", 3)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    state = torch.get_rng_state()
    scale_free(made)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())


class Particular(nn.Module):
    """Looks at values, which the meta device does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layer(image * (2.0 if float(image.mean()) > 0 else 1.0))
        return logits


def test_a_network_that_does_not_run_without_values_is_unknown() -> None:
    assert set(scale_free(Particular()).values()) == {"unknown"}


class AlsoGiven(nn.Module):
    """A convolution whose output goes into a norm, and out of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        found = self.layer(image)
        return self.norm(found), found


class SubPixel(nn.Module):
    """Four channels become the pixels of one before the norm, which sees them together."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(2)

    def forward(self, image: Tensor) -> Tensor:
        n, _, h, w = image.shape
        pixels = self.layer(image).view(n, 2, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
        logits: Tensor = self.norm(pixels.reshape(n, 2, 2 * h, 2 * w))
        return logits


def test_what_is_also_an_output_is_not_free() -> None:
    assert scale_free(AlsoGiven())["layer.weight"] == "no"


def test_filters_that_a_norm_sees_together_are_not_free_one_by_one() -> None:
    assert scale_free(SubPixel())["layer.weight"] != "filter"


class Insists(nn.Module):
    """Has a word to say about its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[-1] < 100, "small images only"
        logits: Tensor = self.layer(image)
        return logits


def test_a_network_that_refuses_the_image_is_unknown() -> None:
    assert set(scale_free(Insists()).values()) == {"unknown"}


@pytest.mark.parametrize(
    "made",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double(),
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)),
    ],
    ids=["double", "grouped"],
)
def test_whatever_comes_first_the_network_is_understood(made: nn.Module) -> None:
    assert scale_free(made)["0.weight"] == "filter"


def test_compiling_hides_nothing() -> None:
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    made.compile(backend="aot_eager")
    assert scale_free(made)["0.weight"] == "filter"
