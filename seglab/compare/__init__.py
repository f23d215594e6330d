"""From finished runs to an answer: statistics, table, plots and report. Nothing here imports torch.

Names are loaded when they are first asked for, so that `import seglab.compare` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seglab.compare.classes import ClassContrast, PerClass, per_class
    from seglab.compare.comparison import ArmSummary, Comparison, Contrast, Spread, compare
    from seglab.compare.folder import StudyFolder, compare_folder, read_folder
    from seglab.compare.report import write_report
    from seglab.compare.table import to_frame, to_markdown, to_table

__all__ = [
    "ArmSummary",
    "ClassContrast",
    "Comparison",
    "Contrast",
    "PerClass",
    "Spread",
    "StudyFolder",
    "compare",
    "compare_folder",
    "per_class",
    "read_folder",
    "to_frame",
    "to_markdown",
    "to_table",
    "write_report",
]

_HOMES = {
    "classes": {"ClassContrast", "PerClass", "per_class"},
    "comparison": {"ArmSummary", "Comparison", "Contrast", "Spread", "compare"},
    "folder": {"StudyFolder", "compare_folder", "read_folder"},
    "report": {"write_report"},
    "table": {"to_frame", "to_markdown", "to_table"},
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
