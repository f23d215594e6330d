"""Convert a parsed command line to plans: one for each study of the script."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import Namespace

from seglab.running.plan import Plan, Script, Selection
from seglab.running.resources import Resources
from seglab.script.flag_types import is_factory, type_of
from seglab.script.parser import StudyFunction, changed_flags_of, flags_of, required_flags, study_parameters, study_parser
from seglab.study.study import Study
from seglab.suggestions import did_you_mean

Flags = TypeVar("Flags", Resources, Selection)


def plans_of(function: StudyFunction, given: Namespace, built: Namespace, said: str | None = None) -> list[Plan]:
    """Return the plan of a command line; of several studies, the plan of each, or of the one that --name chooses.

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
    studies = _studies(function, {name: built[name] for name in vars(parameters)})
    _check_name(studies, said, defaults=flags == flags_of(function, _defaults(function, parameters)))
    if given.name is not None:
        studies = [dataclasses.replace(studies[0], name=given.name)] if len(studies) == 1 else [_chosen(studies, given.name)]
    resources, selection = _fields(Resources, built), _fields(Selection, given)
    studies = [resources.applied_to(study) for study in studies]
    if selection.setting is not None and (plain := [study.name for study in studies if study.budget is None]):
        raise ValueError(f"--setting {selection.setting}: the arms of {plain[0]!r} are not tuned")
    return [
        Plan(
            study,
            Path(given.root),
            Script(start_words(), flags, short),
            resources,
            selection,
            accept_code=given.get("accept_code"),
            amend=given.get("amend"),
            try_arms=given.get("try_arms", True),
        )
        for study in studies
    ]


def _defaults(function: StudyFunction, parameters: Namespace) -> Namespace:
    """Return the defaults of a study function's parameters, and the given value of each parameter that has none."""
    defaults = study_parser(function).get_defaults()
    for name in required_flags(function):
        defaults[name] = parameters[name]
    return defaults


def _check_name(studies: Sequence[Study], said: str | None, *, defaults: bool) -> None:
    """Raise a ValueError if the script gives `main` another name than that of its study under default flags."""
    if said is None:
        return
    if len(studies) > 1:
        raise ValueError(f"main(..., name={said!r}): the script has {len(studies)} studies, each with a name; leave it out")
    if defaults and said != studies[0].name:
        raise ValueError(
            f"main(..., name={said!r}): the study is named {studies[0].name!r}, and status would look elsewhere; correct the name"
        )


def _chosen(studies: Sequence[Study], name: str) -> Study:
    found = next((study for study in studies if study.name == name), None)
    if found is None:
        names = [study.name for study in studies]
        raise ValueError(
            f"--name {name}: the script has the studies {', '.join(names)}{did_you_mean(name, names)}; name one, or none for all"
        )
    return found


def start_words() -> tuple[str, ...]:
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
    """Build each class once that the study builds itself, such as a loss.

    An error of its constructor gets the name of its flag.

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


def default_names(function: StudyFunction, said: str | None) -> list[str]:
    """Return the names of the studies that the script builds by default, or the name that `main` is given.

    The verbs that only read use these names.

    Raises:
        ValueError: the study function has a parameter without a default, so that no study is built by default.
    """
    if said is not None:
        return [said]
    if required := required_flags(function):
        flags = ", ".join(f"--{name}" for name in required)
        raise ValueError(
            f"the name of the study may depend on {flags}, without a default: give --name, or say the name in the script, as in "
            f"main({function.__name__}, name=...)"
        )
    parser = study_parser(function)
    return [study.name for study in _studies(function, vars(parser.instantiate(parser.parse_args([]))))]


def _studies(function: StudyFunction, arguments: Mapping[str, Any]) -> list[Study]:
    """Return the studies of a script.

    Raises:
        ValueError: the function returns something else, or studies that cannot be compared over their data sets.
    """
    found: object = function(**arguments)
    studies: list[Study] = []
    for study in found if isinstance(found, list | tuple) else [found]:
        if not isinstance(study, Study):
            lacks = "; does it lack a return?" if study is None else ""
            what = "None" if study is None else f"a {type(study).__name__}"
            raise ValueError(f"{function.__name__} returned {what}; expected a Study{lacks}")
        studies.append(study)
    if not studies:
        raise ValueError(f"{function.__name__} returned an empty list; expected a Study for each data set")
    for other in studies[1:]:
        _check_alike(studies[0], other)
    if len({study.name for study in studies}) < len(studies):
        names = ", ".join(study.name for study in studies)
        raise ValueError(f"{function.__name__} returned studies of one name: {names}; expected another name for each data set")
    return studies


def _check_alike(one: Study, other: Study) -> None:
    """Raise a ValueError unless two studies ask the same question."""
    for what in ("baseline", "metric", "alpha"):
        mine, theirs = getattr(one, what), getattr(other, what)
        if mine != theirs:
            raise ValueError(
                f"the studies {one.name} and {other.name} have the {what} {mine} and {theirs}: expected one {what} for all data sets"
            )
    if {*one.arms} != {*other.arms}:
        raise ValueError(
            f"the study {one.name} has the arms {', '.join(one.arms)}, and {other.name} has {', '.join(other.arms)}: expected the same arms on all "
            "data sets"
        )


def _fields(kind: type[Flags], given: Mapping[str, Any] | Namespace) -> Flags:
    """Build a dataclass whose fields are flags from the values of the flags."""
    return kind(**{field.name: given[field.name] for field in dataclasses.fields(kind)})
