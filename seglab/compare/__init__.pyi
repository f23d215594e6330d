"""The public names of `seglab.compare`, and where each is defined. `__init__.py` loads them from this list on first use."""

from .folder import StudyFolder as StudyFolder
from .folder import compare_folder as compare_folder
from .folder import compare_folder_factors as compare_folder_factors
from .folder import read_folder as read_folder
from .numbers.classes import ClassContrast as ClassContrast
from .numbers.classes import PerClass as PerClass
from .numbers.classes import per_class as per_class
from .numbers.comparison import ArmSummary as ArmSummary
from .numbers.comparison import Comparison as Comparison
from .numbers.comparison import Contrast as Contrast
from .numbers.comparison import Spread as Spread
from .numbers.comparison import compare as compare
from .numbers.effects import Effect as Effect
from .numbers.factorial import Factorial as Factorial
from .numbers.factorial import compare_factors as compare_factors
from .report import write_report as write_report
from .tables.class_table import classes_to_table as classes_to_table
from .tables.factorial_table import factors_to_markdown as factors_to_markdown
from .tables.factorial_table import factors_to_table as factors_to_table
from .tables.table import to_frame as to_frame
from .tables.table import to_markdown as to_markdown
from .tables.table import to_table as to_table
