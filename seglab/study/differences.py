"""Find the differences between two records of a study, or two descriptions.

The user can accept an edit of code that changes no number: the record then lists the edit, and its description of the
runs stays as it was.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from seglab.records import AcceptedEdit, Changed, StudyRecord, changed_since, settings_of


def changes(recorded: StudyRecord, now: StudyRecord) -> list[str]:
    """Return a line for each difference in the shared settings and in the arms of both records.

    Accepted edits are not differences, and a newer version of the numbers is not if it changed the numbers of no arm of
    `now`.
    """
    shared = _as_recorded(now.shared, recorded.shared, recorded)
    if _same_numbers(recorded, now):
        shared = {**shared, "numerics": recorded.shared.get("numerics")}
    lines = differences({"study": recorded.study, **recorded.shared}, {"study": now.study, **shared})
    for arm, settings in now.arms.items():
        if arm in recorded.arms:
            there = settings_of(recorded.arms[arm])
            lines += [f"arm {arm}: {line}" for line in differences(there, settings_of(_as_recorded(settings, there, recorded)))]
    return lines


def shift_changes(recorded: StudyRecord, now: StudyRecord) -> list[str]:
    """Return a line for each difference in a shift that both records name.

    A shift that only one of them names is no difference.
    """
    common = [name for name in now.shifts if name in recorded.shifts]
    pairs = {name: (recorded.shifts[name], _as_recorded(now.shifts[name], recorded.shifts[name], recorded)) for name in common}
    return [f"shift {name}: {line}" for name, (there, here) in pairs.items() for line in differences(there, here)]


def accept(recorded: StudyRecord, now: StudyRecord, why: str) -> StudyRecord:
    """Return the record with every edit of the user's code from `recorded` to `now` accepted, for the reason `why`."""
    edits = dict[tuple[str, str | None, str | None], None]()
    pairs = [(recorded.shared, now.shared), *((recorded.arms[arm], now.arms[arm]) for arm in now.arms if arm in recorded.arms)]
    pairs += [(recorded.shifts[name], now.shifts[name]) for name in now.shifts if name in recorded.shifts]
    for there, here in pairs:
        old, new = there.get("code", {}), here.get("code", {})
        edits |= {(name, old.get(name), new.get(name)): None for name in [*old, *new] if old.get(name) != new.get(name)}
    known = {(edit.name, edit.recorded, edit.now) for edit in recorded.accepted}
    return dataclasses.replace(recorded, accepted=(*recorded.accepted, *(AcceptedEdit(*edit, why) for edit in edits if edit not in known)))


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return a line per value that differs between two descriptions: `path: old → new`, or an edited definition's name.

    An option that one description lacks equals an option that is off, None or False. Therefore a new option of a
    library's class does not change the description of a user's class that extends it.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if path.rpartition(".")[2] == "code":
            return [_edited(name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
        keys = [key for key in dict.fromkeys([*old, *new]) if not _is_off_and_new(key, old, new)]
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    return [] if old == new else [f"{path}: {_short(old)} → {_short(new)}"]


def _is_off_and_new(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    values = [description[key] for description in (old, new) if key in description]
    return len(values) == 1 and (values[0] is None or values[0] is False)


def _same_numbers(recorded: StudyRecord, now: StudyRecord) -> bool:
    """Return whether no version of the numbers since `recorded` changed the numbers of an arm of `now`.

    A class of the user's own may use a changed class that the description does not name. Its arm counts as changed,
    unless the class is the network.
    """
    changed = changed_since(recorded.shared.get("numerics"))
    return changed is not None and not any(_is_changed(arm, changed) for arm in now.arms.values())


def _is_changed(arm: Mapping[str, Any], changed: Sequence[Changed]) -> bool:
    """Return whether an arm uses a changed class, or a class of the user's own, beside the network."""
    settings = [value for name, value in settings_of(arm).items() if name not in ("network", "code")]
    return bool(changed) and (bool(_texts(settings) & {*arm.get("code", {})}) or any(_uses(settings, each) for each in changed))


def _uses(value: Any, changed: Changed) -> bool:
    """Return whether settings contain a changed class, with the settings without which its numbers stayed."""
    if isinstance(value, Mapping):
        if value.get("class") == changed.name and all(value.get(name) for name in changed.only_with):
            return True
        return any(_uses(item, changed) for name, item in value.items() if name != "class")
    return any(_uses(item, changed) for item in value) if isinstance(value, list | tuple) else bool(value == changed.name)


def _texts(value: Any) -> set[str]:
    if isinstance(value, Mapping | list | tuple):
        return {text for item in (value.values() if isinstance(value, Mapping) else value) for text in _texts(item)}
    return {value} if isinstance(value, str) else set()


def _edited(name: str, old: str | None, new: str | None) -> str:
    how = "is used, and was not" if old is None else "is no longer used" if new is None else "has been edited"
    return f"the code of {name} {how}"


def _as_recorded(now: Mapping[str, Any], there: Mapping[str, Any], record: StudyRecord) -> Mapping[str, Any]:
    """Return the description `now`, with the recorded hash of each accepted edit of the user's code."""
    code, old = dict(now.get("code", {})), there.get("code", {})
    for edit in record.accepted:
        if code.get(edit.name) == edit.now and old.get(edit.name) == edit.recorded:
            code.pop(edit.name, None)
            if edit.recorded is not None:
                code[edit.name] = edit.recorded
    return {**now, "code": code} if "code" in now else now


def _short(value: Any) -> str:
    text = value["class"].rpartition(".")[2] if isinstance(value, Mapping) and isinstance(value.get("class"), str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
