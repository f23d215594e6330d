"""Audit a data set: look at all samples, and return the findings, worst first."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from seglab.data.audit.finding import SEVERITIES, Audited, Finding, Place
from seglab.data.audit.findings import duplicates, files, images, labels, order
from seglab.data.audit.survey import Survey, survey


@dataclass(frozen=True)
class Report:
    """The result of an audit."""

    audited: Audited
    survey: Survey
    findings: tuple[Finding, ...]


def audit(audited: Audited, progress: Callable[[int, int], None] | None = None) -> Report:
    """Look at all samples of a data set, and return the findings.

    Args:
        audited: the data set.
        progress: called with (samples seen, samples in all).
    """
    return report_on(audited, survey(audited, progress))


def report_on(audited: Audited, seen: Survey) -> Report:
    """Return the findings on samples that were looked at."""
    found = [
        *files.findings(audited, seen.looks),
        *labels.findings(audited, seen.looks),
        *order.findings(audited, seen.fits),
        *duplicates.findings(seen.looks),
        *images.findings(seen.looks),
    ]
    return Report(audited, seen, worst_first(found))


def with_findings_of_source(folder: Report, source: Report) -> tuple[Finding, ...]:
    """Return the findings on a source that reads a folder, with pictures from the folder.

    Of the findings on the folder these are added: the kinds of masks that the source converts, and masks that follow
    other images in the order of all names, which the splits of the source may cut.
    """
    places = {folder.audited.image_file(look.place): look.place for look in folder.survey.looks}

    def moved(place: Place) -> tuple[Place, ...]:
        found = places.get(source.audited.image_file(place))
        return () if found is None else (found,)

    of_source = [
        replace(finding, pictures=tuple(tuple(other for place in group for other in moved(place)) for group in finding.pictures))
        for finding in source.findings
    ]
    known = {finding.title for finding in of_source}
    of_folder = [*files.kinds(folder.audited, folder.survey.looks), *order.findings(folder.audited, folder.survey.fits)]
    return worst_first([*of_source, *(finding for finding in of_folder if finding.title not in known)])


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of their severity."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
