"""Freeze and unfreeze stages: gradients and optimizer state of parameters, evaluation mode of modules."""

from collections.abc import Iterator

from torch import nn
from torch.optim import Optimizer

from seglab.callbacks.trainee import Trainee


class TrainableStages:
    """Freezes and unfreezes the stages of a module's network.

    A frozen stage has `requires_grad=False`, no gradient and no optimizer state: with a gradient of zero, momentum and
    decay would move its weights. All its modules are in evaluation mode, so that norm statistics, dropout and drop-path
    are off. A parameter that was frozen by hand stays frozen, and a module in evaluation mode whose parameters are all
    frozen by hand stays in evaluation mode. A parameter that no output depends on stays frozen too, because DDP fails
    on it.
    """

    def __init__(self, module: Trainee) -> None:
        self.module = module
        self.names: frozenset[str] | None = None
        """Names of the stages that train; None before the training."""
        self._in_eval: list[nn.Module] = []

    def set(self, names: frozenset[str], optimizer: Optimizer) -> None:
        """Train the stages with these names and freeze all others."""
        module, self.names = self.module, names
        parameters = dict(module.network.named_parameters())
        by_hand = frozenset(name for name, parameter in parameters.items() if not parameter.requires_grad) - module.frozen_by_schedule
        trains = {name for stage, group in module.stages.stages.items() if stage.name in names for name in group} - by_hand
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in trains)
            if name not in trains:
                parameter.grad = None
                optimizer.state.pop(parameter, None)
        self._set_modes(names, by_hand)
        module.frozen_by_schedule = set(parameters) - trains - by_hand

    def keep_modes(self) -> None:
        """Put frozen modules into evaluation mode again, after a call of `train()`."""
        for module in self._in_eval:
            if module.training:
                module.eval()

    @property
    def parameters(self) -> int:
        """Number of scalar parameters that train."""
        return sum(parameter.numel() for parameter in self.module.network.parameters() if parameter.requires_grad)

    def _set_modes(self, names: frozenset[str], by_hand: frozenset[str]) -> None:
        """Set training and evaluation modes.

        Modules are looked up by path, because Lightning may have replaced batch norms.
        """
        module, network = self.module, self.module.network
        self._in_eval = list(_evaluating_by_hand(network, by_hand))
        for stage, paths in module.stages.modules.items():
            modules = [network.get_submodule(path) for path in paths]
            if stage.name not in names:
                self._in_eval += modules
            elif module.frozen_by_schedule & set(module.stages.stages[stage]):  # Lightning leaves a module in the mode that it had before
                for part in modules:
                    part.train()
        if module.batch_norm == "frozen":
            self._in_eval += batch_norms(network)
        self.keep_modes()


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """Return the batch norms of a network."""
    return [norm for norm in network.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]


def _evaluating_by_hand(network: nn.Module, by_hand: frozenset[str]) -> Iterator[nn.Module]:
    """Yield the modules in evaluation mode that have parameters of their own, all frozen by hand."""
    for path, module in network.named_modules():
        own = [f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]
        if own and not module.training and set(own) <= by_hand:
            yield module
