"""Common parts of all verbs: options, results as text or JSON, failures as messages and exit statuses."""

from __future__ import annotations

import atexit
import inspect
import io
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer
from typer.core import TyperGroup

from specdis import __version__, log
from specdis.errors import SpecdisError


class Reply(NamedTuple):
    """The result of a verb.

    Parameters
    ----------
    content
        For programs, printed with `--json`.
    lines
        For people.
    good
        Whether the exit status is 0; otherwise 1.
    """

    content: Any
    lines: Iterable[object]
    good: bool = True


AsJson = Annotated[bool, typer.Option("--json", help="Print results and errors as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log details.")]


class _Verbs(TyperGroup):
    """Converts failures to messages and exit statuses."""

    as_json = False

    def main(self, args: Any = None, *rest: Any, **options: Any) -> Any:
        self.as_json = "--json" in (sys.argv[1:] if args is None else args)
        status = 1
        try:
            try:
                # typer prints wrong usage itself, except as JSON.
                status = super().main(args, *rest, **options | {"standalone_mode": not self.as_json}) or 0
            finally:
                print(end="", flush=True)  # writing the rest of the output can fail too
        except BrokenPipeError:  # the reader of the output has closed it
            _write_no_more()
        except Exception as error:
            usage = getattr(error, "format_message", None)
            self._fail(_unexpected(error) if usage is None else usage())
            status = getattr(error, "exit_code", 1)
            _write_no_more()
        sys.exit(status)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SpecdisError as error:
            log.logger.debug("the traceback", exc_info=error)
            self._fail(str(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            self._fail("interrupted. Repeat the command to resume.")
            raise typer.Exit(130) from None

    def _fail(self, message: str) -> None:
        if self.as_json:
            with suppress(OSError):
                print(json.dumps({"error": message}, indent=2), flush=True)
                return
        print(f"specdis: {message}", file=sys.stderr)


def _write_no_more() -> None:
    """Discard the rest of the output, so that it does not fail again at the end of the process."""
    with suppress(AttributeError, OSError):  # closed, or not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unexpected(error: Exception) -> str:
    """Report a failure of the system, or one of the software with its traceback in a file."""
    log.logger.debug("the traceback", exc_info=error)
    if isinstance(error, OSError) and error.errno is not None:
        place = error.filename or "the output"
        return (
            f"{place}: expected to read or write it, found: {error.strerror}. Correct the path or its permissions, or "
            "free some space."
        )
    import tempfile
    import traceback

    said = " ".join(f"{type(error).__name__}: {error}".split())
    account = f"specdis {__version__}: {sys.argv}\n\n{''.join(traceback.format_exception(error))}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="specdis-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(account)
    except OSError:
        return f"{said}. This is a bug in specdis: please report it to its developers with these lines.\n{account}"
    return f"{said}. This is a bug in specdis: please report it to its developers with the file {file.name}"


app = typer.Typer(
    cls=_Verbs,
    help="Stellar distances from survey spectra and Gaia parallaxes (SPECDis, Li et al. 2025).",
    epilog="Example: specdis demo --out demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def verb(example: str) -> Callable[[Callable[..., Reply]], Callable[..., None]]:
    """Make a verb from a function: add the common options, print its result, and end its help with an example.

    Parameters
    ----------
    example
        A command that works.
    """
    common = {"as_json": AsJson, "quiet": Quiet, "verbose": Verbose}

    def made(function: Callable[..., Reply]) -> Callable[..., None]:
        @wraps(function)
        def command(*, as_json: bool, quiet: bool, verbose: bool, **arguments: Any) -> None:
            if quiet or verbose:
                _log(quiet, verbose)
            try:
                answer = function(**arguments)
            finally:
                log.hide_progress()
            print_reply(answer, as_json)

        hints = get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(function).parameters.items()
        ]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
            for name, kind in common.items()
        ]
        command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        command.__annotations__ = {**hints, **common, "return": None}
        app.command(epilog=f"Example: {example}")(command)
        return command

    return made


def print_reply(answer: Reply, in_json: bool) -> None:
    """Print the answer of a command on stdout, as lines or as strict JSON."""
    if in_json:
        from specdis.storage import as_json

        print(json.dumps(as_json(answer.content), indent=2, default=str))
    else:
        for line in answer.lines:
            print(line)
    if not answer.good:
        raise typer.Exit(1)


def _log(quiet: bool, verbose: bool) -> None:
    log.to_stderr(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"specdis {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    _log(quiet, verbose)


def main() -> None:
    """Run the command line; SIGTERM acts like an interrupt, so that a batch system can end a run."""
    interrupted: list[int] = []
    atexit.register(_end, interrupted)  # registered first, it runs last
    for request in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(request) != signal.SIG_IGN:  # as with nohup
            signal.signal(request, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):  # and not closed
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that the locale cannot write
    try:
        app(prog_name="specdis")
    except SystemExit as end:
        if end.code == 130:
            interrupted.append(130)
            warnings.simplefilter("ignore")  # of libraries, about unfinished work
        raise


def _end(interrupted: Sequence[int]) -> None:
    """End an interrupted process at once: JAX may still compute, and would crash at the end of Python."""
    for status in interrupted:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(status)
