"""Convert a parsed command line to a plan."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import Namespace

from seglab.running.plan import Plan, Script, Selection
from seglab.running.resources import Resources
from seglab.script.flag_types import is_factory, type_of
from seglab.script.parser import StudyFunction, changed_flags_of, flags_of, study_parameters, study_parser
from seglab.study.study import Study

Flags = TypeVar("Flags", Resources, Selection)


def plan_of(function: StudyFunction, given: Namespace, built: Namespace, said: str | None = None) -> Plan:
    """Return the plan of a command line.

    Args:
        function: the script's study function.
        given: the flags of the verb as the user typed them.
        built: the same flags, with classes instantiated.
        said: the name of the study under default flags, as the script says it.

    Raises:
        ValueError: the study or a flag is not valid.
    """
    parameters = study_parameters(function, given)
    flags = flags_of(function, parameters)
    place = [*(["--root", given.root] if given.root != "runs" else []), *(["--name", given.name] if given.name is not None else [])]
    short = (*changed_flags_of(function, parameters), *place) if given.get("dry_run") else ()
    _check_factories(function, parameters, built)
    study = _study(function, {name: built[name] for name in vars(parameters)})
    if said not in (None, study.name) and flags == flags_of(function, study_parser(function).get_defaults()):
        raise ValueError(f"main(..., name={said!r}): the study is named {study.name!r}, and status would look elsewhere; correct the name")
    if given.name is not None:
        study = dataclasses.replace(study, name=given.name)
    resources, selection = _fields(Resources, built), _fields(Selection, given)
    study = resources.applied_to(study)
    if selection.setting is not None and study.budget is None:
        raise ValueError(f"--setting {selection.setting}: the arms of {study.name!r} are not tuned")
    return Plan(
        study,
        Path(given.root),
        Script(_start(), flags, short),
        resources,
        selection,
        accept_code=given.get("accept_code"),
        amend=given.get("amend"),
        try_arms=given.get("try_arms", True),
    )


def _start() -> tuple[str, ...]:
    """Return the words after `python` that start this script again, as each worker does.

    Raises:
        ValueError: the script is not in a file.
    """
    path, module = sys.argv[0], sys.modules["__main__"].__spec__
    if module is not None and module.origin == path:  # python -m package.script: without `-m`, its imports could fail
        return "-m", module.name
    if path in ("-c", "-", ""):
        raise ValueError("the script of a study is started again by each worker, and this one is in no file: save it, and run the file")
    return (path,)


def _check_factories(function: StudyFunction, given: Namespace, built: Namespace) -> None:
    """Build each class once that the study builds itself, such as a loss. An error of its constructor gets the name of its flag.

    Classes within the data, such as an augmentation, are instances already.
    """
    for action in study_parser(function)._actions:
        name = action.dest
        if name in built and isinstance(given.get(name), Namespace) and is_factory(type_of(action)):
            try:
                built[name]()
            except Exception as error:  # whatever a user's constructor raises
                error.add_note(f"--{name} {given[name]['class_path']}")
                raise


def default_name(function: StudyFunction, said: str | None) -> str:
    """Return the name of the study that the script builds by default, for verbs that only read: the name that `main` is given, if any."""
    if said is not None:
        return said
    parser = study_parser(function)
    return _study(function, vars(parser.instantiate(parser.parse_args([])))).name


def _study(function: StudyFunction, arguments: Mapping[str, Any]) -> Study:
    study: object = function(**arguments)
    if not isinstance(study, Study):
        lacks = "; does it lack a return?" if study is None else ""
        raise ValueError(
            f"{function.__name__} returned {'None' if study is None else f'a {type(study).__name__}'}; expected a Study{lacks}"
        )
    return study


def _fields(kind: type[Flags], given: Mapping[str, Any] | Namespace) -> Flags:
    """Build a dataclass whose fields are flags from the values of the flags."""
    return kind(**{field.name: given[field.name] for field in dataclasses.fields(kind)})
