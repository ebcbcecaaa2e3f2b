"""The command line. Every module beside this one is a command: it prints, and never decides.

A command module has `register(app)`, which adds it to the application, and imports heavy rooms only inside
its functions, so that `iceway --help` is quick. Exit codes: 0 done, 1 the call or check failed, 2 usage,
3 environment (something outside the program is missing or refuses), 130 interrupted before it was done (servers
and `answer` are done when they are told to end: 0). Errors are one or two lines on stderr: the cause and the next
step.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from enum import IntEnum
from typing import Annotated

import typer

import iceway
from iceway.core.errors import EnvironmentFailure, IcewayError, UsageError

app = typer.Typer(
    name="iceway",
    help="Gets calls through: SIP front end, edge, client, lab and explanations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Exit(IntEnum):
    """What the process tells its caller."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ENVIRONMENT = 3
    INTERRUPTED = 130


def main() -> None:
    """The `iceway` program."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; iceway's own errors are printed, bugs are raised."""
    try:
        result = app(args=arguments, standalone_mode=False)
    except EnvironmentFailure as failure:
        _complain(failure.cause, failure.remedy)
        return Exit.ENVIRONMENT
    except UsageError as error:
        _complain(str(error))
        return Exit.USAGE
    except IcewayError as error:
        _complain(str(error))
        return Exit.FAILED
    except typer.Abort:
        return Exit.FAILED
    except Exception as error:
        # Typer has no public name for click's usage errors, and newer ones bring their own click.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return int(getattr(error, "exit_code", Exit.USAGE))
    return result if isinstance(result, int) else Exit.DONE


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"iceway {iceway.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell every step on stderr.")] = False,
) -> None:
    from iceway.io import logging

    logging.configure(verbose=verbose)


def _complain(cause: str, remedy: str = "") -> None:
    typer.echo(f"iceway: {cause}", err=True)
    if remedy:
        typer.echo(f"  {remedy}", err=True)


def _register_commands() -> None:
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        if not module.name.startswith("_"):  # those help commands, and are none
            importlib.import_module(f"{__name__}.{module.name}").register(app)
    _unwrap(app)


def _unwrap(group: typer.Typer) -> None:
    """Lines of a docstring end where the source's do; those of a help text end where the terminal does."""
    for command in group.registered_commands:
        if command.callback is not None and command.callback.__doc__:
            paragraphs = inspect.cleandoc(command.callback.__doc__).split("\n\n")
            command.help = "\n\n".join(" ".join(one.split()) for one in paragraphs)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _unwrap(inner.typer_instance)


_register_commands()
