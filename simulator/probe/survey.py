"""What an endpoint is and can do, all in one. Inputs are its pages and trials on it."""

from simulator.calibration.cell import Endpoint
from simulator.probe.client import Client
from simulator.probe.pages import read_pages
from simulator.probe.trials import Trials


async def survey(client: Client, model: str | None, salt: int) -> Endpoint:
    """Finds out what an endpoint can do; each thing that it lacks leaves a note.

    Parameters
    ----------
    model : str or None
        None takes the only one there is.
    salt : int
        Of the prompts that are tried.

    Raises
    ------
    UserError
        When it is no endpoint that can be asked.
    Unreachable
        When it takes no connection.
    """
    told = await read_pages(client, model)
    limits = told.limits
    trials = Trials(
        client,
        Endpoint(
            client.address.origin + client.address.path, told.model, told.dialect, told.version,
            token_ids=False, ignore_eos=False, min_tokens=False, stream_usage=False, cached_tokens=False,
            max_context_tokens=limits.get("max_context_tokens"), max_seqs=limits.get("max_seqs"), block_tokens=limits.get("block_tokens"),
            kv_blocks=limits.get("kv_blocks"), token_budget=limits.get("token_budget"), vocabulary=0, facts=told.facts,
        ),
    )  # fmt: skip
    if told.dialect == "none":
        trials.notes.append("it has no metrics that can be read: the client's clocks are all there is")
    if told.dialect == "sglang" and not {"max_seqs", "block_tokens", "token_budget"} & told.limits.keys():
        trials.notes.append("it does not tell its seats, block and token budget by names that are known: experiments have to find them")
    if told.limits.get("max_context_tokens") is None:
        trials.notes.append("it does not say how long a context may be")
    await trials.find_path(told.api)
    await trials.look_at_counts()
    await trials.find_prompts(told)
    await trials.look_at_cache(salt)
    trials.learn(notes=tuple(trials.notes))
    return trials.known
