"""The command line: verbs, exit statuses, and the only part that prints.

Results go to stdout, the log and errors to stderr. With `--json` what a verb answers is JSON on stdout, and so is an
error: `{"error": message}`. Exit status: 0 good, 1 an expected failure, 2 bad usage, 130 interrupted. What a verb needs
is imported when it runs, so that help comes at once.
"""

from specdis.cli.shell import main
from specdis.cli.verbs import app

__all__ = ["app", "main"]
