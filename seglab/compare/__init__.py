"""From finished runs to an answer: statistics, table, plots and report. Nothing here imports torch.

Names are loaded when they are first asked for, so that `import seglab.compare` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seglab.compare.class_table import classes_to_table
    from seglab.compare.classes import ClassContrast, PerClass, per_class
    from seglab.compare.comparison import ArmSummary, Comparison, Contrast, Spread, compare
    from seglab.compare.effects import Effect
    from seglab.compare.factorial import Factorial, compare_factors
    from seglab.compare.factorial_table import factors_to_markdown, factors_to_table
    from seglab.compare.folder import StudyFolder, compare_folder, compare_folder_factors, read_folder
    from seglab.compare.report import write_report
    from seglab.compare.table import to_frame, to_markdown, to_table

__all__ = [
    "ArmSummary",
    "ClassContrast",
    "Comparison",
    "Contrast",
    "Effect",
    "Factorial",
    "PerClass",
    "Spread",
    "StudyFolder",
    "classes_to_table",
    "compare",
    "compare_factors",
    "compare_folder",
    "compare_folder_factors",
    "factors_to_markdown",
    "factors_to_table",
    "per_class",
    "read_folder",
    "to_frame",
    "to_markdown",
    "to_table",
    "write_report",
]

_HOMES = {
    "class_table": {"classes_to_table"},
    "classes": {"ClassContrast", "PerClass", "per_class"},
    "comparison": {"ArmSummary", "Comparison", "Contrast", "Spread", "compare"},
    "effects": {"Effect"},
    "factorial": {"Factorial", "compare_factors"},
    "factorial_table": {"factors_to_markdown", "factors_to_table"},
    "folder": {"StudyFolder", "compare_folder", "compare_folder_factors", "read_folder"},
    "report": {"write_report"},
    "table": {"to_frame", "to_markdown", "to_table"},
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
