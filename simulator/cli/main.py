"""The command ``agentwatt``: its help panels, its version, and how a user's mistake ends. Input is the command line."""

import atexit
import gc
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from simulator.cli import ask, know, reality, sets
from simulator.cli.calibrate import calibrate
from simulator.cli.drift import drift
from simulator.cli.exit_codes import ExitCode
from simulator.cli.fit import fit
from simulator.cli.record import record
from simulator.cli.serve import serve
from simulator.cli.size import size
from simulator.cli.streams import FULL, give_up_stdout, open_what_is_closed
from simulator.cli.sweep import sweep
from simulator.cli.ui import ui
from simulator.cli.validate import validate
from simulator.errors import UserError


class Commands(TyperGroup):
    """The commands, with mistakes told in one line each on stderr, and no traceback."""

    def main(self, *words: Any, **more: Any) -> Any:
        open_what_is_closed()
        return super().main(*words, **more)

    def make_context(self, info_name: str | None, args: list[str], *words: Any, **more: Any) -> Any:
        if bad := next((word for word in args if word != _text(word)), None):
            print(f"command line; found {_text(bad)!r}, which is not UTF-8; allowed: text", file=sys.stderr)
            raise typer.Exit(ExitCode.BAD_INPUT)
        try:
            return super().make_context(info_name, args, *words, **more)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(ExitCode.INTERRUPTED) from None

    def invoke(self, ctx: Any) -> Any:
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()
            return found
        except UserError as error:
            for mistake in error.mistakes:
                print(_one_line(str(mistake)), file=sys.stderr)
            raise typer.Exit(ExitCode.BAD_INPUT) from None
        except OSError as error:
            if error.errno not in FULL:
                raise
            give_up_stdout()
            print(f"{error.filename or 'stdout'}: a place that cannot be written; {error.strerror}", file=sys.stderr)
            raise typer.Exit(ExitCode.BAD_INPUT) from None
        except MemoryError:
            print("out of memory: fewer agents, workers, KV blocks, seeds or trajectories take less", file=sys.stderr)
            raise typer.Exit(ExitCode.BAD_INPUT) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _text(word: str) -> str:
    """A word with question marks for bytes that are no text: no page or table could hold them."""
    return word.encode("utf-8", "replace").decode()


def _one_line(text: str) -> str:
    """Without line breaks and control characters, which a hostile name in a file could carry."""
    return "".join(c if c.isprintable() else " " for c in text)


app = typer.Typer(
    name="agentwatt",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="How many concurrent agents does this hardware hold at this SLO, and per megawatt?",
)
app.command("run", rich_help_panel="Ask")(ask.run)
app.command("capacity", rich_help_panel="Ask")(ask.capacity)
app.command("compare", rich_help_panel="Ask")(ask.compare)
app.command("shape", rich_help_panel="Ask")(ask.shape)
app.command("size", rich_help_panel="Ask")(size)
app.command("sweep", rich_help_panel="Ask")(sweep)
app.command("ui", rich_help_panel="Ask")(ui)
app.add_typer(know.profiles, name="profiles", rich_help_panel="Know")
app.add_typer(sets.trajectories, name="trajectories", rich_help_panel="Know")
app.command("validate", rich_help_panel="Know")(validate)
app.command("fit", rich_help_panel="Know")(fit)
app.command("record", rich_help_panel="Know")(record)
app.command("calibrate", rich_help_panel="Reality")(calibrate)
app.command("drift", rich_help_panel="Reality")(drift)
app.command("serve", rich_help_panel="Reality")(serve)
app.command("measure-gpu", rich_help_panel="Reality")(reality.measure_gpu)


def _version(asked: bool) -> None:
    if asked:
        from simulator.cli.version import version

        print(version())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """How many concurrent agents does this hardware hold at this SLO, and per megawatt?"""


atexit.register(gc.freeze)  # or Python looks through all that drawing has loaded once more before it ends, a sixth of a second


if __name__ == "__main__":
    app()
