"""From finished runs to an answer: statistics, tables, plots and report. No module here imports torch.

The public names are listed in `__init__.pyi` and loaded on first use, so that `import seglab.compare` is fast.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
