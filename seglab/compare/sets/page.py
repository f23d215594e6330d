"""Write the page of a comparison over several data sets: one self-contained file, beside the folders of the studies."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from seglab.compare.criteria import Criteria
from seglab.compare.report import in_file_name, report_name
from seglab.compare.sets import wording
from seglab.compare.sets.answer import OverSets
from seglab.compare.sets.picture import picture
from seglab.compare.sets.table import sets_table
from seglab.records import write_text

LONGEST_NAME = 80
"""Largest number of characters of the names of the data sets in the name of a page."""


def write_sets_page(found: OverSets, folder: Path) -> Path:
    """Write the page into `folder`, whole or not at all, and return its path.

    Each choice of data sets has a page of its own.
    """
    target = folder / page_name([each.name for each in found.sets], found)
    write_text(target, render(found))
    return target


def page_name(names: Sequence[str], found: OverSets) -> str:
    """Return the name of the page's file, such as `report-sets-voc-camvid.html`.

    No report of a study has such a name.
    """
    criteria = next((each.comparison.criteria for each in found.sets if each.comparison.criteria.exploratory), found.criteria)
    return f"report-sets-{in_file_name('-'.join(names), LONGEST_NAME)}{_suffix(criteria)}.html"


def _suffix(criteria: Criteria) -> str:
    """Return what the report of a study has in its name if it is exploratory, such as `-val-loss`."""
    return report_name(criteria).removeprefix("report").removesuffix(".html")


def render(found: OverSets) -> str:
    """Return the page. All text that comes from files is escaped."""
    import jinja2
    from markupsafe import Markup

    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        found=found,
        criteria=found.criteria,
        style=Markup(_style()),
        sentences=[(arm.verdict, wording.sentence(arm, found)) for arm in found.arms],
        table=sets_table(found),
        picture=picture(found),
        protocol=wording.protocol(found),
    )


def _style() -> str:
    """Return the style sheet of a study's report, which this page shares."""
    page = resources.files("seglab.compare").joinpath("report.html").read_text(encoding="utf-8")
    return page[page.index("<style>") + len("<style>") : page.index("</style>")]
