"""The words that `--data.augmentation` takes beside import paths: presets, and files of pipelines. No torch."""

import inspect
import json
from collections.abc import Mapping, Sequence

from seglab.script.classes import FORM, imported
from seglab.suggestions import did_you_mean

_MISSING = object()

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


def augmentation_fault(flag: str, text: str, arguments: Sequence[str]) -> str | None:
    """Return what is wrong with an augmentation as typed, after the name of its flag; None if nothing is seen.

    Args:
        flag: the flag, with its dashes.
        text: its value.
        arguments: names of the arguments that are typed below the flag.
    """
    if text.isidentifier() and text.lower() not in (*NAMED, "null", "true", "false"):
        return (
            f"{flag}: there is no augmentation {text!r}{did_you_mean(text, NAMED)}; expected {', '.join(NAMED)}, a YAML file, "
            "or the import path of a function, as in my_file.pipeline"
        )
    path = NAMED.get(text.lower(), text)
    file, _, name = path.rpartition(".")
    if augmentation_named(text).startswith("{") or (path != "null" and not (file and all(map(str.isidentifier, path.split("."))))):
        return None
    try:
        found = None if path == "null" else getattr(imported(file), name, _MISSING)
    except ValueError as error:
        return f"{flag}: {str(error).removesuffix(f'; {FORM}')}; expected the import path of a function, as in my_file.pipeline"
    if found is _MISSING:
        return f"{flag}: {file} has no function {name!r}{did_you_mean(name, vars(imported(file)))}"
    if found is not None and not callable(found):
        return f"{flag}: {path} is {found!r}: expected a function that returns an albumentations.Compose"
    if isinstance(found, type) and not any("__call__" in vars(base) for base in found.__mro__):
        return f"{flag}: {path} is a class without __call__; expected a function that returns the pipeline, as in def pipeline(): return {name}(…)"
    known: Mapping[str, object] = inspect.signature(found).parameters if isinstance(found, type) else {}
    if unknown := [one for one in arguments if one not in ("help", *known)]:
        has = f"no argument {unknown[0]!r}{did_you_mean(unknown[0], known)}; {flag}.help {path} lists them" if known else "no arguments"
        return f"{flag}.{unknown[0]}: {text} has {has}"
    return None
