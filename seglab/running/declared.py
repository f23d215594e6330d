"""Declared analysis of a study: binding from the first result on, changed only by an amendment shown for ever."""

import dataclasses
import datetime
from pathlib import Path

from seglab.compare.declared import analysis_changes, shown
from seglab.records import Amendment, Analysis, StudyRecord


def agreed_analysis(
    folder: Path, recorded: StudyRecord | None, wanted: Analysis, why: str | None
) -> tuple[Analysis, tuple[Amendment, ...]]:
    """Return the analysis that the study in `folder` declares from now on, and all amendments.

    Without a result the request is declared. After the first result, fewer arms or seeds are no change: the rest stays
    open. A folder without a declared analysis, of seglab 0.3 or older, declares that of the request.

    Args:
        folder: folder of the study.
        recorded: its record; None if there is none.
        wanted: analysis of the request.
        why: reason for a change; None accepts no change.

    Raises:
        ValueError: the request changes the declared analysis after the first result, without a reason.
    """
    if why is not None and not why.strip():
        raise ValueError("--amend: the reason is empty; say why the analysis changes, as in --amend 'more seeds after a review'")
    there = None if recorded is None else recorded.analysis
    amendments = () if recorded is None else recorded.amendments
    finished = len(list(folder.glob("*/seed-*/result.json")))
    if there is None or finished == 0:
        return wanted, amendments
    lines = changed(there, wanted)
    if why is None:
        if lines:
            raise ValueError(
                f"{folder}: its analysis was declared before its results, of which {finished} are there. {'; '.join(lines)} "
                "(declared → requested). Request what was declared, choose another folder with --name or --root, or change it by "
                "--amend 'why', which every comparison will show"
            )
        return there, amendments
    after = amended(there, wanted)
    if after == there:
        return there, amendments
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return after, (*amendments, Amendment(now, why, there, after, finished))


def new_declaration(recorded: StudyRecord | None, agreed: StudyRecord) -> list[str]:
    """Return a line if an old folder gets its first declared analysis, or its analysis is amended; else no line."""
    now = agreed.analysis
    if recorded is None or now is None or recorded.analysis == now:
        return []
    if recorded.analysis is None:
        return [
            f"study.json had no declared analysis, as in seglab 0.3; declared from now on: {now.metric} against {now.baseline}, "
            f"{len(now.arms)} arms, {len(now.seeds)} seeds"
        ]
    if len(agreed.amendments) > len(recorded.amendments):
        return [f"amended, as every comparison will say: {'; '.join(analysis_changes(recorded.analysis, now))}"]
    return []


def idle_amendment(recorded: StudyRecord | None, agreed: StudyRecord) -> str:
    """Return the line that --amend has changed nothing, and why; empty if it has amended the declared analysis."""
    if recorded is not None and len(agreed.amendments) > len(recorded.amendments):
        return ""
    if recorded is None or recorded.analysis is None or recorded.analysis != agreed.analysis:
        return "--amend: nothing to amend, as no result has followed a declared analysis yet. The request is declared, and the reason is not kept"
    return (
        "--amend: changes nothing, as the request has the declared analysis. --arm and --seed select runs, and neither drops an arm: leave the "
        "arm out of the Study, or out of the flag that lists its arms"
    )


def changed(there: Analysis, wanted: Analysis) -> list[str]:
    """Return a line for each part of a declared analysis that a request changes. Fewer arms or seeds change nothing."""
    lines = [
        f"{name}: {shown(old)} → {shown(new)}"
        for name in ("baseline", "metric", "margin", "alpha", "looks", "always_valid")
        if (old := getattr(there, name)) != (new := getattr(wanted, name))
    ]
    if new_arms := [arm for arm in wanted.arms if arm not in there.arms]:
        lines.append(f"arms: {shown(there.arms)} → also {shown(new_arms)}")
    known = (*there.seeds, *there.added_seeds)
    if new_seeds := [seed for seed in wanted.seeds if seed not in known]:
        lines.append(f"seeds: {shown(known)} → also {shown(new_seeds)}")
    return lines


def amended(there: Analysis, wanted: Analysis) -> Analysis:
    """Return the analysis after an amendment: that of the request, except that seeds which are new become exploratory.

    If the tests hold after any number of seeds, and did so before, new seeds join the declared ones. No amendment drops
    a declared seed: whoever stops at the number of seeds whose p pleases is wrong too often.

    Raises:
        ValueError: the request has none of the declared seeds.
    """
    joins = there.always_valid and wanted.always_valid
    seeds = tuple(dict.fromkeys((*there.seeds, *wanted.seeds))) if joins else there.seeds
    added = tuple(dict.fromkeys(seed for seed in (*there.added_seeds, *wanted.seeds) if seed not in seeds))
    if not {*there.seeds} & {*wanted.seeds}:
        raise ValueError(f"--amend: the request has none of the declared seeds ({shown(there.seeds)}); choose another folder with --name")
    dropped = tuple(arm for arm in (*there.arms, *there.dropped_arms) if arm not in wanted.arms)
    return dataclasses.replace(wanted, seeds=seeds, added_seeds=added, dropped_arms=dropped)
