"""Import what most workers need before they need it."""

from collections.abc import Callable

from seglab.garbage import collect_as_usual, collect_rarely
from seglab.networks.architecture import architectures
from seglab.tracking import WandbMode, import_wandb, resolved_mode


def imports_of_a_worker(mode: WandbMode) -> Callable[[], None]:
    """Return a function that imports SMP, albumentations and, unless `mode` stands for disabled, wandb."""

    def prepare() -> None:
        collect_rarely()
        try:
            architectures()
            import albumentations  # noqa: F401

            if resolved_mode(mode) != "disabled":
                import_wandb()
        finally:
            collect_as_usual()

    return prepare
