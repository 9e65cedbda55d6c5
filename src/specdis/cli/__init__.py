"""The command line: verbs, exit statuses, and the only part that prints.

Results go to stdout, the log and errors to stderr. With `--json` the result of a verb is JSON on stdout, and so is an
error: `{"error": message}`. Exit status: 0 success, 1 an expected failure, 2 wrong usage, 130 interrupted. A verb
imports its modules when it runs, so that help appears at once.
"""

from specdis.cli.shell import main
from specdis.cli.verbs import app

__all__ = ["app", "main"]
