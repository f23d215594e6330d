"""The parser of `seglab fit`, `test` and `validate`. It also reads the `config.yaml` of an earlier version."""

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

MOVED = {"optimizer": "model.optimizer", "lr_scheduler": "model.scheduler"}
"""Keys of version 0.2.0, which were null unless given, and the keys that replace them."""


class FitParser(LightningArgumentParser):
    """Ignores keys of `MOVED` that are null in a configuration file, and refuses the others."""

    @override
    def parse_string(self, content: str, path: Any = "", *args: Any, **kwargs: Any) -> Namespace:
        """Parse the content of a configuration file.

        Raises:
            ValueError: a key of `MOVED` has a value.
        """
        parsed: Namespace = super().parse_string(content, path, *args, **kwargs)
        for old, new in MOVED.items():
            if parsed.pop(old, None) is not None:
                raise ValueError(f"{path}: there is no {old} beside model and data; write it as {new}: {{class_path: ..., init_args: ...}}")
        return parsed
