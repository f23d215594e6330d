"""Errors of several arms, told together."""

from collections.abc import Mapping


def raise_failures(failures: Mapping[str, Exception]) -> None:
    """Raise the errors of arms, with a note that names the arms; nothing if there are none.

    Arms that fail alike share one error.

    Args:
        failures: the error of each arm that has failed, by arm.

    Raises:
        Exception: the error, if all are alike.
        ExceptionGroup: the errors, if they differ.
    """
    alike: dict[tuple[object, ...], list[str]] = {}
    for arm, error in failures.items():
        alike.setdefault((type(error), str(error), *getattr(error, "__notes__", [])), []).append(arm)
    errors = []
    for arms in alike.values():
        error = failures[arms[0]]
        error.add_note(f"arm {arms[0]}" if len(arms) == 1 else f"arms {', '.join(arms)}")
        errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("several arms cannot be trained", errors)
