"""The command `ui` of the panel *Ask*: the what-if page on loopback, until Ctrl-C. Inputs come from its form."""

from __future__ import annotations

from typing import Annotated

import typer

PORT = 8486


def ui(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="On loopback; 0 takes a free one.")] = PORT,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """What-ifs on a local page: systems, SLO, load, power cap and prices in, quick answers out, until Ctrl-C."""
    import webbrowser

    from simulator.cli.ask import footings_of
    from simulator.cli.provenance import provenance_of
    from simulator.cli.screen import say, tell_first_compile
    from simulator.cli.version import version
    from simulator.ui.app import make_app
    from simulator.ui.listen import listen
    from simulator.ui.work import Work, two_processes

    tell_first_compile(say)
    say("starting two processes and reading the load")
    work = Work(two_processes)
    app = make_app(work, version(), footings_of, provenance_of)

    def ready(address: str) -> None:
        say(f"{address}  (Ctrl-C ends it)")
        if not no_open:
            webbrowser.open(address)

    try:
        listen(app, port, ready)
    finally:
        work.close()
