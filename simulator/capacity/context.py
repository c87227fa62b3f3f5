"""The context limit: the longest call that every pool of a deployment can hold. Inputs are a deployment and the calls of a world."""

from simulator.engine.growth import most_blocks
from simulator.engine.world import World
from simulator.errors import Mistake, UserError
from simulator.hardware.deployment import Deployment, WorkerPool


def context_limit(deployment: Deployment) -> tuple[int, str]:
    """Most tokens (prompt and output) a call may have, and what says so: the deployment, or the KV pool of a rank where calls decode.

    Raises
    ------
    UserError
        When some pool has no room for any call.
    """
    for pool in deployment.pools:
        if _room(deployment, pool) < 2:
            room = f"{pool.blocks_per_rank} blocks, of which a sequence holds {pool.fixed_blocks} besides its tokens"
            hint = "the weights leave no KV memory"
            place = f"pools.{pool.name}.blocks_per_rank" if len(deployment.pools) > 1 else "blocks_per_rank"
            raise UserError(Mistake(deployment.name, place, room, "room for at least one call", hint))
    tightest = min((pool for pool in deployment.pools if pool.role != "prefill"), key=lambda pool: _room(deployment, pool))
    fits = _room(deployment, tightest)
    if deployment.max_context_tokens and deployment.max_context_tokens <= fits:
        return deployment.max_context_tokens, f"the deployment's max_context_tokens ({deployment.max_context_tokens:,})"
    return fits, f"the KV pool of a rank{_named(deployment, tightest)} ({fits:,} tokens)"


def _room(deployment: Deployment, pool: WorkerPool) -> int:
    """Tokens of the longest call that a rank of the pool can hold."""
    return (pool.blocks_per_rank - pool.fixed_blocks) * deployment.block_tokens - pool.lookahead


def tightened(limit: int, world: World, deployment: Deployment) -> tuple[int, str] | None:
    """A lower limit for calls that hold more blocks than a rank has, and what says so; None when all calls fit every pool."""
    lacks = [int(most_blocks(world, pool).max()) - pool.blocks_per_rank for pool in world.fleet.pools]
    missing = max(lacks)
    if missing <= 0:
        return None
    longest = int((world.calls.prompt_tokens + world.calls.output_tokens).max())
    lower = min(limit, longest) - missing * deployment.block_tokens
    return lower, f"the KV pool of a rank{_named(deployment, deployment.pools[lacks.index(missing)])} ({lower:,} tokens)"


def _named(deployment: Deployment, pool: WorkerPool) -> str:
    return f" of pool {pool.name}" if len(deployment.pools) > 1 else ""
