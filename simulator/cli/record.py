"""The command `record` of the panel *Know*: a recorder in front of an endpoint, from its start to the file. Input: an address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from io import FileIO

    from simulator.record.proxy import Proxy

PORT = 8484
SWITCH_S = 0.0005
"""How long one thread may work while another waits: a prompt that is read must not hold up a stream that passes."""


def record(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Base URL of an OpenAI-compatible endpoint.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write: .jsonl or .jsonl.gz.", show_default=False)],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="On loopback; 0 takes a free one.")] = PORT,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="Label of every trajectory; may be repeated.", show_default=False),
    ] = None,
    ask_usage: Annotated[bool, typer.Option("--ask-usage", help="Ask for token counts in streams where the client does not.")] = False,
) -> None:
    """Record what agents ask of an endpoint, as numbers only, until Ctrl-C; agents use it by OPENAI_BASE_URL."""
    import os
    import secrets

    from simulator.cli.files import append_only
    from simulator.cli.screen import say
    from simulator.cli.sets import refuse_name
    from simulator.cli.version import version
    from simulator.errors import Mistake, UserError
    from simulator.record.ledger import Ledger
    from simulator.record.proxy import Proxy
    from simulator.wire.address import address_of
    from simulator.workload.journal import Recorded, journal_header, journal_line

    refuse_name(out)
    if out.exists():
        raise UserError(
            Mistake(str(out), "--out", "a file that is there already", "a new file", "a recording is never written over another")
        )
    upstream = address_of(to, "record", "--to")
    named = _labels(labels or [])
    journal = out.with_name(f"{out.name}.journal")
    name = out.name.split(".")[0]
    file = append_only(journal)
    lost: list[str] = []
    """Why the journal took no more."""
    try:
        if why := _unwritten(file, journal_header(name, named, version())):
            journal.unlink()
            raise UserError(Mistake(str(journal), "", why, hint="make room, or give another --out"))

        def write(call: Recorded) -> None:
            if not lost and (why := _unwritten(file, journal_line(call))):
                lost.append(why)
                say(f"{journal}: {why}; agents are served on, their calls from here on are not recorded")

        try:
            proxy = Proxy(upstream, port, Ledger(write), secrets.token_bytes(32), ask_usage, say)
        except OSError as error:
            journal.unlink()
            raise UserError(Mistake("record", "--port", str(port), "a free port", os.strerror(error.errno or 0))) from error
        say(f"recording calls to {upstream.host}; journal: {journal}")
        if upstream.scheme == "http" and not upstream.local:
            say(f"{upstream.host} is asked over http: keys and prompts travel unencrypted")
        say(f"export OPENAI_BASE_URL={proxy.base_url}")
        open_calls = _serve(proxy)
    finally:
        file.close()
    _finish(journal, out, open_calls)
    if lost:
        hint = f"{out} has the calls before that; make room, and record on into another file"
        raise UserError(Mistake(str(journal), "", lost[0], hint=hint))


def _unwritten(file: FileIO, line: bytes) -> str:
    """Writes a line of the journal; returns why it could not, or an empty text. A line that was cut is left out by readers."""
    try:
        return "" if file.write(line) == len(line) else "a disk that is full"
    except OSError as error:
        return f"a place that cannot be written: {error.strerror}"


def _serve(proxy: Proxy) -> int:
    """Serves until Ctrl-C, or until the process is told to end; returns how many calls were open then."""
    import signal
    import sys

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    sys.setswitchinterval(SWITCH_S)
    try:
        proxy.serve_forever()
    except KeyboardInterrupt:
        proxy.ledger.seal()
    finally:
        signal.signal(signal.SIGTERM, before)
        left = len(proxy.open_calls)
        proxy.server_close()
    return left


def _finish(journal: Path, out: Path, open_calls: int) -> None:
    """The native file in place of the journal, or nothing when nothing was recorded."""
    from simulator.cli.files import remove_journal
    from simulator.cli.screen import say
    from simulator.cli.sets import write_set
    from simulator.errors import UserError
    from simulator.workload.journal import read_journal

    if open_calls:
        say(f"{open_calls} calls were not over and are left out")
    try:
        found = read_journal(journal)
    except UserError as error:
        if any(mistake.field != "call" for mistake in error.mistakes):
            raise
        say("no call was recorded; nothing is written")
        journal.unlink()
        return
    try:
        write_set(found, out)
    except (KeyboardInterrupt, UserError):
        say(f"{journal} has every finished call; to end it: agentwatt trajectories convert {journal} {out}")
        raise
    remove_journal(journal)


def _labels(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for label in given:
        name, equals, value = label.partition("=")
        if not equals or not name or name in found:
            raise typer.BadParameter(f"--label takes NAME=VALUE, each name once, not {label!r}")
        found[name] = value
    return found
