"""Fair comparisons of regularization and transfer learning in image segmentation.

The public names stand in `__init__.pyi` and are loaded on first use: `import seglab`, and reading results, must not
wait for torch.
"""

import sys

import lazy_loader

from seglab import garbage

__version__ = "0.3.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if sys.argv[1:2] in (["status"], ["cancel"], ["compare"]):  # perhaps of a script, whose answer needs none of its imports
    from seglab.script import early

    early.answer(sys.modules["__main__"], sys.argv[1:])
elif sys.argv[1:] in (["--help"], ["-h"]):  # perhaps of a script, whose help lists its verbs alone
    from seglab.script import early

    early.print_help(sys.modules["__main__"])
elif sys.argv[1:2] in (["run"], ["launch"]):  # perhaps of a script, whose imports or definitions may fail before it calls `main`
    from seglab.script import early

    garbage.collect_rarely()
    early.explain_errors(sys.modules["__main__"])
    early.share_threads(sys.argv[1:])
    early.answer_finished(sys.modules["__main__"], sys.argv[1:])
elif sys.argv[1:2] in (["work"], ["work-tuning"], ["execute"]):  # perhaps of a script, which a job has started
    garbage.collect_rarely()
