"""The words that `--data.augmentation` takes beside import paths: presets, and files of pipelines. No torch."""

import json

NAMED = {
    "default": "seglab.default_augmentation",
    "light": "seglab.LightAugmentation",
    "strong": "seglab.StrongAugmentation",
    "none": "null",
}
"""Import path of each preset; null for no augmentation."""

FLAG = ".augmentation"
"""End of the name of the flag. Its beginning is the name of the data module."""


def augmentation_named(text: str) -> str:
    """Return the value that a parser takes for an augmentation as a user types it.

    >>> augmentation_named("light"), augmentation_named("my_file.pipeline")
    ('seglab.LightAugmentation', 'my_file.pipeline')
    >>> augmentation_named("pipeline.yaml")
    '{"class_path": "seglab.AugmentationFile", "init_args": {"path": "pipeline.yaml"}}'
    """
    if text.endswith((".yaml", ".yml", ".json")) and not text.startswith("{"):
        return json.dumps({"class_path": "seglab.AugmentationFile", "init_args": {"path": text}})
    return NAMED.get(text.lower(), text)


def unknown_augmentation(text: str) -> str | None:
    """Return what is wrong with a value that is one word and no preset; None for other values."""
    if not text.isidentifier() or text.lower() in (*NAMED, "null", "true", "false"):
        return None
    return f"there is no augmentation {text!r}; expected {', '.join(NAMED)}, a YAML file, or the import path of a function, as in my_file.pipeline"
