"""The command `serve` of the panel *Reality*: a scenario as an endpoint, from its start to Ctrl-C. Input: a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.ask import Changes, ScenarioRef

if TYPE_CHECKING:
    from simulator.serve.app import App

PORT, LOOPBACK = 8485, "127.0.0.1"


def serve(
    scenario: ScenarioRef,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = PORT,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Loopback; another address lets other machines in.")] = LOOPBACK,
    time_scale: Annotated[float, typer.Option("--time-scale", metavar="K", help="Simulated seconds per second.")] = 1.0,
    answer_tokens: Annotated[
        int, typer.Option("--answer-tokens", metavar="N", min=1, help="Where answers end by themselves, unless ignore_eos is asked.")
    ] = 256,
    model_name: Annotated[
        str | None, typer.Option("--model-name", metavar="NAME", help="What requests call the model; its card's name by default.")
    ] = None,
    cell: Annotated[
        int | None, typer.Option("--cell", metavar="N", help="Which cell of a comparison, counted from 1.", show_default=False)
    ] = None,
    changes: Changes = None,
) -> None:
    """Serve a scenario as an OpenAI-compatible endpoint in real time, until Ctrl-C: its engine, its times, its watts, made-up words."""
    import math

    from simulator.cli.ask import _scenario
    from simulator.cli.screen import say
    from simulator.cli.version import version
    from simulator.errors import Mistake, UserError
    from simulator.serve.app import App
    from simulator.serve.scenario import one_cell, serve_scenario

    if not 0 < time_scale < math.inf:
        raise UserError(Mistake("serve", "--time-scale", f"{time_scale:g}", "> 0: simulated seconds per second"))
    asked = one_cell(_scenario(scenario, changes), cell)
    service, served = serve_scenario(asked, answer_tokens, time_scale, say, model_name)
    say(f"{served.model}, {len(service.fleet.ranks)} ranks, prompts and answers of up to {served.limit_tokens:,} tokens together")
    if host not in (LOOPBACK, "localhost", "::1"):
        say(f"listening on {host}: whoever reaches this address can ask; there is no key")
    _listen(App(service, served, version()), host, port)


def _listen(app: App, host: str, port: int) -> None:
    """Serves until Ctrl-C, or until the process is told to end."""
    import asyncio
    import os
    import signal

    from simulator.cli.screen import say
    from simulator.errors import Mistake, UserError
    from simulator.serve.app import listen

    shown = f"[{host}]" if ":" in host else host

    async def until_told() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await listen(app, host, port, lambda found: say(f"export OPENAI_BASE_URL=http://{shown}:{found}/v1"))
        except asyncio.CancelledError:
            say(f"ended; {app.service.calls} calls had come")

    try:
        asyncio.run(until_told())
    except OSError as error:
        raise UserError(Mistake("serve", "--port", str(port), "a free port", os.strerror(error.errno or 0))) from error
