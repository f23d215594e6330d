"""The verbs of an experiment script, and the parser that lists them. No torch."""

from collections.abc import Mapping

from jsonargparse import ArgumentParser

from seglab.script.help import Help

VERBS = {
    "run": "train and test every arm under every seed that has no result yet, then compare",
    "launch": "the same on a cluster: submit jobs for what has no result yet",
    "status": "what is done, running, failed and open, and which jobs are in the queue",
    "cancel": "cancel the jobs that `launch` has submitted",
    "compare": "the comparison of what is done, and report.html",
}
"""Purpose of each verb that the help lists."""


def script_parser(description: str | None, verbs: Mapping[str, ArgumentParser]) -> ArgumentParser:
    """Return the parser of a script whose docstring is `description`, with its verbs.

    The help does not list verbs that are not in `VERBS`.
    """
    parser = ArgumentParser(description=description, exit_on_error=False, allow_abbrev=False, formatter_class=Help)
    added = parser.add_subcommands(required=True, dest="command", title="verbs", metavar="VERB", description="VERB --help lists its flags.")
    for name, verb in verbs.items():
        if name in VERBS:
            verb.description = f"{VERBS[name][0].upper()}{VERBS[name][1:]}."
            added.add_subcommand(name, verb, help=VERBS[name])
        else:
            added.add_subcommand(name, verb)
    return parser
