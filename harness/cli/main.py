"""The command line: `giftbench`. Every command is a file of `harness.cli.commands`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from harness.cli.commands.boards import boards
from harness.cli.commands.compare import compare
from harness.cli.commands.distill import distill
from harness.cli.commands.doctor import doctor
from harness.cli.commands.export import export
from harness.cli.commands.import_set import import_
from harness.cli.commands.inspect import inspect
from harness.cli.commands.list import list_
from harness.cli.commands.new import new
from harness.cli.commands.plan import plan
from harness.cli.commands.remove import remove
from harness.cli.commands.rerun import rerun
from harness.cli.commands.run import run
from harness.cli.commands.show import show
from harness.cli.commands.status import status
from harness.cli.commands.submit import submit
from harness.cli.commands.table import table
from harness.cli.commands.verify import verify
from harness.cli.commands.work import work
from harness.core.errors import GiftbenchError
from harness.files.paths import UNFIT
from harness.running.stopping import Stopped, signals

#: Characters of a line on standard error; longer ones lose their middle, for what is wrong stands first and the remedy last.
LONGEST = 480


#: The commands in the order in which help lists them, by what they are for.
GROUPS = {
    "Run a board": ("run", "work", "plan", "status", "doctor"),
    "Read, check and share its results": ("table", "show", "compare", "verify", "rerun", "submit", "boards", "remove"),
    "Distilled sets": ("inspect", "import", "distill", "export"),
    "Names and plugins": ("list", "new"),
}


class _Group(TyperGroup):
    """Commands in groups, whose complaints about the command line are as short as all others."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands of each group, and those of none."""
        grouped = {name for names in GROUPS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in grouped)
        for title, names in {**GROUPS, "Others": others}.items():
            commands = [
                (name, self.commands[name].get_short_help_str(formatter.width - 12)) for name in names if name in self.commands
            ]
            if commands:
                with formatter.section(title):
                    formatter.write_dl(commands)

    def make_context(self, *words: Any, **settings: Any) -> Any:
        with _shortened():
            return super().make_context(*words, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _shortened():
            return super().invoke(ctx)


app = typer.Typer(
    name="giftbench",
    cls=_Group,
    help="How much is a distilled dataset worth, whoever trains on it, with whatever loss, optimizer and architecture?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help is printed in a third of the time
)
for _command in (
    run,
    work,
    plan,
    status,
    table,
    show,
    rerun,
    verify,
    submit,
    boards,
    remove,
    list_,
    new,
    distill,
    import_,
    compare,
    doctor,
    inspect,
    export,
):
    app.command(name=_command.__name__.rstrip("_"))(_command)


def main() -> None:
    """Run the command line. The user's mistakes, and what the system refuses, end in one line and exit status 2."""
    try:
        with _warnings_shown(), signals(lambda line: print(line, file=sys.stderr)):
            app()
    except GiftbenchError as error:
        print("giftbench:", line(str(error)), file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # of reading; what writes says more
        place = "" if error.filename is None else f"{error.filename}: "
        print("giftbench:", line(f"{place}{error.strerror or error}"), file=sys.stderr)
        sys.exit(2)
    except Stopped as error:
        print(f"giftbench: {error}", file=sys.stderr)
        sys.exit(error.status)


def line(message: str) -> str:
    """Return a message as one line of at most `LONGEST` printable characters, whatever a library's or a file's brings."""
    text = UNFIT.sub(lambda match: " " if match[0].isspace() else "?", message)
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 2 // 3]} … {text[3 - LONGEST // 3 :]}"


@contextmanager
def _shortened() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        words = getattr(error, "message", None)
        if isinstance(words, str) and hasattr(error, "format_message"):  # of the library that parses the command line
            error.message = line(words)  # type: ignore[attr-defined]
        raise


class _Lines(logging.Handler):
    """Prints each message, as it stands, on what is standard error by then: a bar that is being drawn makes room for it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(line(self.format(record)), file=sys.stderr)


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """Show what the harness warns of, and nothing else of what is logged, whatever libraries have set up for theirs."""
    log, handler = logging.getLogger("giftbench"), _Lines()
    propagate = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
