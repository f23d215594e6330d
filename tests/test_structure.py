"""Networks share what follows from their structure exactly if they have the same."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from seglab import unet
from seglab.networks import stages
from seglab.networks.structure import cached_by_structure, structure


class Flagged(nn.Module):
    def __init__(self, skip: bool = False, tied: bool = False) -> None:
        super().__init__()
        self.skip = skip
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        if tied:
            self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.one(x) if self.skip else self.two(self.one(x))
        return result


def unet_with_activation(activation: type[nn.Module]) -> nn.Module:
    network = unet("resnet18", 4)
    network.get_submodule("encoder").relu = activation()
    return network


DIFFERENT: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "an attribute": (Flagged, lambda: Flagged(skip=True)),
    "a shared weight": (Flagged, lambda: Flagged(tied=True)),
    "a shape": (lambda: nn.Linear(3, 3), lambda: nn.Linear(3, 4)),
    "a dtype": (lambda: nn.Linear(3, 3), lambda: nn.Linear(3, 3).double()),
    "a bias": (lambda: nn.Linear(3, 3), lambda: nn.Linear(3, 3, bias=False)),
    "train and eval": (Flagged, lambda: Flagged().eval()),
    "what is frozen": (Flagged, lambda: Flagged().requires_grad_(False)),
    "an activation": (lambda: unet_with_activation(nn.ReLU), lambda: unet_with_activation(nn.GELU)),
    "number of classes": (lambda: unet("resnet18", 4), lambda: unet("resnet18", 5)),
}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_what_differs_has_another_structure_whatever_the_seed(difference: str) -> None:
    one, other = DIFFERENT[difference]
    first, again = one(), one()
    assert structure(first) is not None
    assert structure(first) == structure(again) != structure(other())


def test_a_name_that_is_defined_again_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Define a class again, as in a notebook whose cell was changed."""
    before = structure(Flagged())
    again = type("Flagged", (Flagged,), {"__module__": __name__})
    monkeypatch.setitem(globals(), "Flagged", again)
    assert structure(again()) is not None
    assert structure(again()) != before


def test_weights_are_no_part_of_the_structure() -> None:
    network = Flagged()
    before = structure(network)
    with torch.no_grad():
        network.one.weight.fill_(7)
    assert structure(network) == before


def test_what_was_found_is_remembered_and_nobody_can_change_it() -> None:
    asked = []

    @cached_by_structure
    def find(network: nn.Module) -> list[str]:
        asked.append(network)
        return [name for name, _ in network.named_parameters()]

    find(Flagged()).clear()
    assert find(Flagged()) == [name for name, _ in Flagged().named_parameters()]
    assert len(asked) == 1
    find(Flagged(tied=True))
    assert len(asked) == 2


def test_a_network_that_cannot_be_pickled_is_looked_at_each_time() -> None:
    network = Flagged()
    network.one.register_forward_hook(lambda *_: None)
    assert structure(network) is None
    assert stages(network) == stages(Flagged())
