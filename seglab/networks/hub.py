"""Names of weights on the hub in SMP and timm, and how to fetch the weights for a machine without a network."""

from seglab.networks.files import SUFFIXES


def hub_weights(encoder: str, weights: str) -> str | bool:
    """Return SMP's value for these weights: their name, or True for a timm encoder.

    Raises:
        ValueError: if this encoder has no such weights.
    """
    import segmentation_models_pytorch as smp
    import timm

    if name := timm_name(encoder):
        if weights != "imagenet" or not timm.models.is_model_pretrained(name):
            raise ValueError(
                f"{encoder!r} has no weights {weights!r}. A timm encoder carries their name itself: weights='imagenet' with "
                f"one of {timm.list_pretrained(f'{name}*')[:5]} after 'tu-'; a file must end in {', '.join(SUFFIXES)}"
            )
        return True
    available = list(smp.encoders.encoders[encoder]["pretrained_settings"])
    if weights not in available:
        raise ValueError(
            f"{encoder!r} has no weights {weights!r}, but {available} or a file that ends in {', '.join(SUFFIXES)}; "
            "None, which is null in a flag, trains from scratch"
        )
    return weights


def timm_name(encoder: str) -> str:
    """Return the timm model of an encoder `tu-…`, or of an encoder `timm-…` that SMP passes on to timm.

    Return an empty string for other encoders.
    """
    import segmentation_models_pytorch as smp

    if smp.encoders.is_equivalent_to_timm_universal(encoder):
        return encoder.replace("timm-", "tf_" if "mobilenetv3" in encoder else "")
    return encoder.removeprefix("tu-") if encoder.startswith("tu-") else ""


def how_to_fetch(architecture: str, encoder: str, weights: str) -> str:
    """Return instructions for weights that are not on this machine and cannot be downloaded."""
    call = f"seglab.network({architecture!r}, {encoder!r}, num_classes=2, weights={weights!r})"
    return (
        f"the weights {weights!r} of {encoder!r} are neither on this machine nor could they be downloaded. Where there is a network, run "
        f'python -c "import seglab; {call}" and copy ~/.cache/huggingface ($HF_HOME) from there, or give a file as weights; '
        "HF_HUB_OFFLINE=1 spares the wait for tries to download"
    )
