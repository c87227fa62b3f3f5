"""Rate matching on paper: the largest load that the pools of a fleet hold. Inputs are a fleet and the terms of a workload."""

from simulator.capacity.shape_estimate import Estimate
from simulator.capacity.shape_mixed import estimate_mixed
from simulator.capacity.shape_split import estimate_split
from simulator.capacity.shape_terms import Terms
from simulator.engine.world import ROLE_DECODE, ROLE_MIXED, ROLE_PREFILL, Fleet


def estimate(terms: Terms, fleet: Fleet) -> Estimate | None:
    """What a fleet holds; None unless it has one mixed pool, or one prefill and one decode pool."""
    pools = {pool.role: pool for pool in fleet.pools}
    if len(fleet.pools) == 1 and ROLE_MIXED in pools:
        return estimate_mixed(terms, fleet, pools[ROLE_MIXED])
    if len(fleet.pools) == 2 and set(pools) == {ROLE_PREFILL, ROLE_DECODE}:
        return estimate_split(terms, fleet, pools[ROLE_PREFILL], pools[ROLE_DECODE])
    return None
