"""Audit a data set: look at all samples, and return the findings, worst first."""

from collections.abc import Callable
from dataclasses import dataclass

from seglab.data.audit.finding import SEVERITIES, Audited, Finding
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
    seen = survey(audited, progress)
    found = [
        *files.findings(audited, seen.looks),
        *labels.findings(audited, seen.looks),
        *order.findings(audited, seen.fits),
        *duplicates.findings(seen.looks),
        *images.findings(seen.looks),
    ]
    return Report(audited, seen, tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))))
