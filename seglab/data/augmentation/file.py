"""A pipeline of albumentations in a file, as `A.save` writes it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import albumentations as A

_WRITE = "write it by albumentations' A.save(pipeline, 'pipeline.yaml', data_format='yaml')"
_FUNCTION = "name a function that makes the pipeline, as in --data.augmentation my_file.pipeline"


@dataclass(frozen=True)
class AugmentationFile:
    """Pipeline of albumentations from a YAML or JSON file. Its content is recorded, and its place is not.

    Args:
        path: the file, as `A.save(pipeline, path, data_format="yaml")` writes it. It is read once.

    Raises:
        ValueError: the file is missing, or holds no pipeline.
    """

    path: Path
    content: dict[str, Any] = field(init=False, repr=False)
    """The steps and their arguments, as in the file."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # a string will do
        object.__setattr__(self, "content", _read(self.path))
        if own := [name for name in _names(self.content) if "." in name and not name.startswith("albumentations.")]:
            raise ValueError(f"{self.path}: {own[0]} is no step of albumentations, and its code could not be recorded: {_FUNCTION}")
        self()

    def __call__(self) -> "A.Compose":
        """Make the pipeline."""
        import albumentations as A

        try:
            return A.from_dict({"transform": self.content})
        except KeyError as error:
            raise ValueError(f"{self.path}: albumentations has no step {error}: correct the file; {_WRITE}") from error
        except Exception as error:  # arguments are checked by pydantic, and by each step
            raise ValueError(f"{self.path}: {' '.join(f'{type(error).__name__}: {error}'.split())}: correct the file; {_WRITE}") from error


def _names(content: Any) -> Iterator[str]:
    """Yield the names of the classes of a pipeline and of its steps."""
    if isinstance(content, dict):
        yield from (str(value) for key, value in content.items() if key == "__class_fullname__")
        yield from (name for value in content.values() for name in _names(value))
    elif isinstance(content, list):
        yield from (name for value in content for name in _names(value))


def _read(path: Path) -> dict[str, Any]:
    """Return the pipeline in a file as plain data."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected a pipeline of albumentations: {_WRITE}")
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())}: {_WRITE}") from error
    content = found.get("transform") if isinstance(found, dict) else None
    if not isinstance(content, dict) or "__class_fullname__" not in content:
        raise ValueError(f"{path}: holds no pipeline of albumentations, which begins with `transform:`: {_WRITE}")
    return content
