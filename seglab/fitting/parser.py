"""The parser of `seglab fit`, `test` and `validate`. It also reads the `config.yaml` of an earlier version."""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from seglab.script.augmentations import augmentation_named
from seglab.script.errors import one_line

MOVED = {"optimizer": "model.optimizer", "lr_scheduler": "model.scheduler"}
"""Keys of version 0.2.0, which were null unless given, and the keys that replace them."""


class FitParser(LightningArgumentParser):
    """Reads configuration files: ignores keys of `MOVED` that are null, and refuses keys of `MOVED` with a value.

    If a file cannot be read, the error names the file.
    """

    @override
    def parse_path(self, path: Any, *args: Any, **kwargs: Any) -> Namespace:
        """Parse a configuration file.

        Raises:
            ValueError: the file is not readable, is empty or is no YAML, or a key of `MOVED` has a value.
        """
        try:
            parsed: Namespace = super().parse_path(path, *args, **kwargs)
        except Exception as error:
            told = _of_augmentation(path) if "data.augmentation" in str(error) else None
            told = one_line(error) if told is None else told
            raise ValueError(f"--config {path}: {'is empty' if told.startswith('Unexpected config:') else told}") from error
        return parsed

    @override
    def parse_string(self, content: str, path: Any = "", *args: Any, **kwargs: Any) -> Namespace:
        """Parse the content of a configuration file.

        Raises:
            ValueError: a key of `MOVED` has a value.
        """
        parsed: Namespace = super().parse_string(content, path, *args, **kwargs)
        for old, new in MOVED.items():
            if parsed.pop(old, None) is not None:
                raise ValueError(f"there is no {old} beside model and data; write it as {new}: {{class_path: ..., init_args: ...}}")
        return parsed


def _of_augmentation(path: Any) -> str | None:
    """Return how to write the augmentation of a configuration file that was not parsed; None if its form is right."""
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    data = content.get("data") if isinstance(content, dict) else None
    given = data.get("augmentation") if isinstance(data, dict) else None
    if not isinstance(given, str) or (meaning := augmentation_named(given)) == given:
        return None
    return f"data.augmentation is {given}, a word of the command line; in a configuration file write {meaning}"
