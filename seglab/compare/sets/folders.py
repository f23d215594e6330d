"""Read the studies of several data sets, and check that they compare the same arms."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from seglab.compare.criteria import Criteria
from seglab.compare.findings import Findings, analyse
from seglab.compare.folder import StudyFolder, read_folder
from seglab.compare.numbers.looks import reached_looks
from seglab.compare.sets.answer import DataSet, OverSets
from seglab.compare.sets.comparing import compare_sets
from seglab.compare.sets.settings import check_settings, settings_notes


def read_sets(folders: Sequence[Path]) -> list[StudyFolder]:
    """Read one study for each data set.

    Raises:
        ValueError: a folder is named twice, does not exist or has no result; two studies have the same test images; or
            an arm has other settings in one study, except those that follow from the data set.
    """
    resolved = [folder.resolve() for folder in folders]
    for place, folder in enumerate(folders):
        if resolved[place] in resolved[:place]:
            raise ValueError(f"{folder}: is named twice; expected one folder for each data set")
    studies = [read_folder(folder) for folder in folders]
    for study in studies:
        if not study.results:
            problems = "".join(f"; {problem}" for problem in study.problems)
            raise ValueError(f"{study.folder}: has no finished run to compare; run its study, or leave it out{problems}")
    check_settings({str(study.folder): study.record for study in studies if study.record is not None})
    return studies


def analyse_sets(studies: Sequence[StudyFolder], criteria: Sequence[Criteria] | None = None) -> OverSets:
    """Compare the arms of studies on several data sets. None stands for `study.criteria()` of each study.

    Raises:
        ValueError: see `compare` and `compare_sets`.
    """
    chosen = [study.criteria() for study in studies] if criteria is None else criteria
    names = set_names([study.folder for study in studies])
    sets, findings = [], {}
    for name, study, own in zip(names, studies, chosen, strict=True):
        try:
            findings[name] = analyse(study, own)
            sets.append(DataSet(name, findings[name].comparison, _waits(study, own)))
        except ValueError as error:
            raise ValueError(f"{study.folder}: {error}") from None
    found = compare_sets(sets)
    unknown = [f"{study.folder}: no readable study.json, so its settings are not checked" for study in studies if study.record is None]
    records = {name: study.record for name, study in zip(names, studies, strict=True) if study.record is not None}
    return replace(found, notes=(*unknown, *settings_notes(records), *found.notes, *_notes_of(findings)))


def set_names(folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders, with those of their parents if two are equal.

    >>> set_names([Path("runs/l2-voc"), Path("runs/l2-camvid")]), set_names([Path("voc/l2"), Path("camvid/l2")])
    (['l2-voc', 'l2-camvid'], ['voc/l2', 'camvid/l2'])
    """
    paths = [folder.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len({*names}) == len(names):
            return names
    return [str(path) for path in paths]


def _waits(study: StudyFolder, criteria: Criteria) -> str:
    """Return why the study gives no final numbers yet; an empty text if all its declared seeds are done."""
    declared = criteria.declared
    if declared is None or not declared.seeds:
        return ""
    if declared.always_valid:
        return "its tests hold after any number of seeds; a test over data sets does not"
    last = reached_looks(study.results, criteria, study.endings)[-1]
    if last.reason:
        return last.reason
    return "" if len(last.seeds) == len(declared.seeds) else f"interim: a look at {len(last.seeds)} of {len(declared.seeds)} seeds"


def _notes_of(findings: Mapping[str, Findings]) -> list[str]:
    """Return the notes and signs of bad health of the studies, each once, with the names of its data sets."""
    names: dict[str, list[str]] = {}
    for name, found in findings.items():
        for note in (*found.comparison.notes, *found.health):
            names.setdefault(note, []).append(name)
    return [f"{', '.join(own)}: {note}" for note, own in names.items()]
