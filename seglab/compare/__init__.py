"""From finished runs to an answer: statistics, tables, plots and report. No module here imports torch.

The public names stand in `__init__.pyi` and are loaded on first use, so that `import seglab.compare` costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
