"""Training and evaluation modes of a network's modules: a module in the wrong mode changes numbers without an error."""

from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from seglab.networks.loaded import some


def check_modes(network: nn.Module) -> None:
    """Check that `eval()` and `train()` of a network reach its modules. The modes stay as they are.

    A `train()` of the network's own may skip modules: that of SMP skips the encoder after `freeze_encoder()`, so that
    drop-path stays on in an evaluation.

    Raises:
        ValueError: `eval()` leaves a module in training mode, or `train()` leaves a module in evaluation mode although
            its parameters train.
    """
    before = modes_of(network)
    try:
        _set_flags(dict.fromkeys(before, True))
        network.eval()
        skipped = _in_training_mode(network)
        _set_flags(dict.fromkeys(before, False))
        network.train()
        held = _in_evaluation_mode(network)
    finally:
        _set_flags(before)
    name = type(network).__name__
    if skipped:
        raise ValueError(
            f"{name}.eval() leaves {some(skipped, 1)} in training mode, where drop-path, dropout and norms change what an evaluation sees. "
            "freeze_encoder() of segmentation_models_pytorch and a train() of the network's own do so: undo it (unfreeze_encoder()), and freeze "
            "by a schedule such as FrozenEncoder()"
        )
    if held:
        raise ValueError(
            f"{name}.train() leaves {some(held, 1)} in evaluation mode although its parameters train: correct its train(). Batch norms stay "
            "in evaluation mode by batch_norm='frozen', and whole stages by a schedule such as FrozenEncoder()"
        )


def check_training(network: nn.Module, frozen: Iterable[nn.Module] = ()) -> None:
    """Check that each module whose parameters train is in training mode, except the modules `frozen`.

    Raises:
        ValueError: a module is in evaluation mode.
    """
    if held := _in_evaluation_mode(network, frozen):
        raise ValueError(
            f"{some(held, 1)} of {type(network).__name__} would train in evaluation mode, without dropout and with the running statistics of "
            "norms: call network.train() first. batch_norm='frozen' keeps only batch norms in evaluation mode"
        )


def check_evaluation(network: nn.Module) -> None:
    """Check that each module of a network is in evaluation mode.

    Raises:
        ValueError: a module is in training mode.
    """
    if skipped := _in_training_mode(network):
        raise ValueError(
            f"{some(skipped, 1)} of {type(network).__name__} would be evaluated in training mode, with dropout and the norms of the batch: "
            "a hook or a train() of its own has left it so; eval() has to reach every module"
        )


def modes_of(module: nn.Module) -> dict[nn.Module, bool]:
    """Return whether each module is in training mode, parents before their children."""
    return {part: part.training for part in module.modules()}


def set_modes(modes: Mapping[nn.Module, bool]) -> None:
    """Call `train(mode)` of each module that is in another mode, parents before their children, which the call reaches
    too.

    Setting the attribute `training` alone would skip a `train()` of a module's own, such as the one by which a network
    of `torchvision.models.feature_extraction` exchanges its graph.
    """
    for module, mode in modes.items():
        if module.training is not mode:
            module.train(mode)


def _set_flags(modes: Mapping[nn.Module, bool]) -> None:
    for module, mode in modes.items():
        module.training = mode


def _in_training_mode(network: nn.Module) -> Sequence[str]:
    return [name or "the network" for name, module in network.named_modules() if module.training]


def _in_evaluation_mode(network: nn.Module, but: Iterable[nn.Module] = ()) -> Sequence[str]:
    """Return the names of the modules in evaluation mode that have parameters of their own that train."""
    others = set(but)
    return [
        name or "the network"
        for name, module in network.named_modules()
        if not module.training and module not in others and any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    ]
