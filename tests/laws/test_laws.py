"""Laws that hold in every world, whatever its options: each with the mistake it would catch.

Invariants of the moment (conservation, block accounting, holders recounted, the clock) are checked by the reference after every event and
carry over to the kernel through `tests/oracle`; here stand the laws that compare whole runs.
"""

from collections.abc import Iterator

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from simulator.engine import Output, World, simulate_kernel
from simulator.engine.growth import most_blocks
from simulator.engine.world import (
    CALL_COLUMNS,
    EVENT_CHUNK,
    EVENT_FIRST,
    EVENT_LAND,
    EVENT_LAST,
    EVENT_LOAD,
    EVENT_MOVE,
    EVENT_RELEASE,
    EVENT_STEP,
    FIRST_BY_DECODE,
    RESERVE_FULL,
    RESERVE_INPUT,
    RESERVE_RATIO,
    ROLE_DECODE,
    ROLE_PREFILL,
    TOTAL_COLUMNS,
    Pool,
    play_stride,
)
from simulator.hardware.power import FULL_CLOCK
from simulator.workload.arrays import Calls, Threads
from tests.oracle.worlds import worlds

many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
TIMES = [at for at, name in enumerate(CALL_COLUMNS) if name.endswith("_ps")]
PS = 10**12


def same(ours: Output, theirs: Output) -> bool:
    return all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in Output._fields)


def column(output: Output, name: str) -> np.ndarray:
    return output.calls[:, CALL_COLUMNS.index(name)]


def with_pools(world: World, pools: Iterator[Pool] | tuple[Pool, ...], **fleet: int) -> World:
    return world._replace(fleet=world.fleet._replace(pools=tuple(pools), **fleet))


def to_the_end(world: World) -> World:
    """The same world, run until every agent has retired, with its books open from the start."""
    return world._replace(stop=world.stop._replace(window_ps=0, min_plays=10**6, max_plays=0, max_ps=10**6 * PS))


def events_of(output: Output, kind: int) -> np.ndarray:
    return output.events[output.events[:, 1] == kind]


def pool_of_worker(world: World) -> np.ndarray:
    """Pool number by worker number."""
    return np.repeat(np.arange(len(world.fleet.pools)), [pool.workers for pool in world.fleet.pools])


@many
@given(worlds())
def test_nothing_is_lost(world: World) -> None:
    """When every agent has retired, each call of each play was sent and has ended once, every block is free again, and no event stands
    before an earlier one. Catches a lost wake-up, a call that ends twice, a block that leaks."""
    world = to_the_end(world)
    output, fleet = simulate_kernel(world, events=True), world.fleet
    agents, plays, first = len(fleet.start_ps), world.stop.max_plays_per_agent, world.calls.first
    asked, stride = [], play_stride(len(fleet.order))
    for agent, play in np.ndindex(agents, plays):
        trajectory = fleet.order[(agent + play * stride) % len(fleet.order)]
        asked += [(agent, play, trajectory, call) for call in range(first[trajectory + 1] - first[trajectory])]
    answered = zip(*(column(output, name).tolist() for name in ("agent", "play", "trajectory", "call")), strict=True)
    assert sorted(answered) == asked
    assert output.calls_issued == len(asked)
    assert output.plays_finished == agents * plays
    assert (np.diff(output.events[:, 0]) >= 0).all(), "the clock never goes back"
    pool_of = pool_of_worker(world)
    free = {(worker, rank): free for _, _, worker, rank, _, _, free, _ in events_of(output, EVENT_RELEASE).tolist()}
    for (worker, _), blocks in free.items():
        pool = fleet.pools[
            pool_of[worker]
        ]  # of a prefill rank the last blocks come back with a landing, which does not tell how many are free
        assert blocks == pool.blocks_per_rank or pool.role == ROLE_PREFILL


@many
@given(worlds())
def test_an_agent_meets_every_trajectory_before_one_again(world: World) -> None:
    """Whatever the number of agents. Catches a stride that shares a factor with the number of trajectories, so that an agent comes round
    to the same few."""
    world, trajectories = to_the_end(world), len(world.fleet.order)
    output = simulate_kernel(world._replace(stop=world.stop._replace(max_plays_per_agent=2 * trajectories)))
    plays = np.unique(np.column_stack([column(output, name) for name in ("agent", "play", "trajectory")]), axis=0)
    for agent in range(len(world.fleet.start_ps)):
        met = plays[plays[:, 0] == agent, 2]
        assert len(met) == 2 * trajectories
        assert len(set(met[:trajectories])) == trajectories
        assert np.array_equal(met[:trajectories], met[trajectories:])


@many
@given(worlds())
def test_determinism(world: World) -> None:
    """The same world gives the same bytes. Catches state that outlives a run."""
    assert same(simulate_kernel(world, events=True), simulate_kernel(world, events=True))


@many
@given(worlds(), st.randoms(use_true_random=False))
def test_order_of_trajectories_changes_nothing(world: World, random) -> None:  # type: ignore[no-untyped-def]
    """Trajectories listed in another order are the same load. Catches an index where an identity is meant."""
    count = len(world.calls.first) - 1
    shuffled = list(range(count))
    random.shuffle(shuffled)
    calls, threads = reordered(world.calls, world.threads, shuffled)
    place = np.argsort(shuffled)
    other = simulate_kernel(world._replace(calls=calls, threads=threads, fleet=world.fleet._replace(order=place[world.fleet.order])))
    mapped, trajectory = other.calls.copy(), CALL_COLUMNS.index("trajectory")
    mapped[:, trajectory] = np.array(shuffled)[mapped[:, trajectory]]
    assert np.array_equal(simulate_kernel(world).calls, mapped)


def reordered(calls: Calls, threads: Threads, order: list[int]) -> tuple[Calls, Threads]:
    """Calls and threads with the trajectories in another order; ``child`` counts rows of the thread table, so it moves along."""
    rows = np.concatenate([np.arange(calls.first[t], calls.first[t + 1]) for t in order])
    lines = np.concatenate([np.arange(threads.first[t], threads.first[t + 1]) for t in order])
    ends = np.cumsum([0] + [calls.first[t + 1] - calls.first[t] for t in order]).astype(np.int64)
    line_ends = np.cumsum([0] + [threads.first[t + 1] - threads.first[t] for t in order]).astype(np.int64)
    lengths = np.diff(threads.call)[lines]
    new_line = np.argsort(lines)
    child = np.where(threads.child >= 0, new_line[threads.child], -1)[rows]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return (
        Calls(ends, *(array[rows] for array in calls[1:])),
        Threads(line_ends, starts, threads.delay_ps[lines], child, threads.children[rows]),
    )


@many
@given(worlds(), st.sampled_from([2, 3, 7]))
def test_time_scales(world: World, k: int) -> None:
    """Machines, links and tools ``k`` times slower give every time ``k`` times later. Catches a time unit lost on the way.

    Fractions of a picosecond are rounded, so the coefficients are made whole; and what takes no time takes one picosecond at any scale, so
    loads and transfers are given some. There is no power cap: the watts of a slower machine are others.
    """
    whole = with_pools(world, (exact(pool) for pool in world.fleet.pools), link_latency_ps=max(1000, world.fleet.link_latency_ps))
    fleet, threads, stop = whole.fleet, whole.threads, whole.stop
    slow = whole._replace(
        calls=whole.calls._replace(tool_ps=whole.calls.tool_ps * k),
        threads=threads._replace(delay_ps=threads.delay_ps * k),
        fleet=fleet._replace(
            start_ps=fleet.start_ps * k,
            pools=tuple(slower(pool, k) for pool in fleet.pools),
            link_latency_ps=fleet.link_latency_ps * k,
        ),
        stop=stop._replace(window_ps=stop.window_ps * k, min_window_ps=stop.min_window_ps * k, max_ps=stop.max_ps * k),
    )
    fast_calls = simulate_kernel(whole).calls.copy()
    times = fast_calls[:, TIMES]
    fast_calls[:, TIMES] = np.where(times >= 0, times * k, -1)
    assert np.array_equal(fast_calls, simulate_kernel(slow).calls)


def exact(pool: Pool) -> Pool:
    return pool._replace(
        law=pool.law._replace(ctx_fp=121 << 10, pair_fp=1205 << 11, expert_ps=pool.law.expert_ps // pool.ranks * pool.ranks),
        power=pool.power._replace(slow_fp=FULL_CLOCK),
        port_token_fp=pool.port_token_fp >> 10 << 10,
        host_token_fp=pool.host_token_fp >> 10 << 10,
        host_fixed_ps=max(1000, pool.host_fixed_ps),
    )


def slower(pool: Pool, k: int) -> Pool:
    times = ("port_fixed_ps", "port_token_fp", "host_fixed_ps", "host_token_fp")
    law = pool.law._replace(**{name: getattr(pool.law, name) * k for name in pool.law._fields})
    return pool._replace(law=law, **{name: getattr(pool, name) * k for name in times})


@many
@given(worlds())
def test_causality(world: World) -> None:
    """A call passes its stages in order, and its thread sends the next one no sooner than its tool is done."""
    output = simulate_kernel(world)
    send, admit, first, last = (column(output, f"{name}_ps") for name in ("send", "admit", "first", "last"))
    assert (send <= admit).all()
    assert (admit < first).all()
    assert (first <= last).all()
    assert ((last > first) | (column(output, "output_tokens") == 1)).all()
    number = world.calls.first[column(output, "trajectory")] + column(output, "call")
    lane = column(output, "agent") * world.threads.width + column(output, "thread")
    for each in np.unique(lane):
        own = lane == each
        assert (send[own][1:] >= last[own][:-1] + world.calls.tool_ps[number[own]][:-1]).all()


@many
@given(worlds())
def test_a_thread_goes_on_when_all_that_it_spawned_is_over(world: World) -> None:
    """The next call of a thread is sent a tool's time after the last call and all below it; later only where a pipelined engine has not let
    go of the call yet. Catches a join that waits for the first child, or forgets grandchildren."""
    world = to_the_end(world)
    output, calls, threads = simulate_kernel(world), world.calls, world.threads
    keys = zip(*(column(output, name).tolist() for name in ("agent", "play", "trajectory", "call")), strict=True)
    times = zip(column(output, "send_ps").tolist(), column(output, "last_ps").tolist(), strict=True)
    when = dict(zip(keys, times, strict=True))
    prompt_release = all(pool.sched.pipeline_depth == 1 for pool in world.fleet.pools) or not calls.stops.any()

    def ended(play: tuple[int, int, int], row: int) -> int:
        """When a call and all that it spawned have ended, tools of inner threads included but for the very last."""
        end = when[*play, row - int(calls.first[play[2]])][1]
        for child in range(int(threads.child[row]), int(threads.child[row] + threads.children[row])):
            final = int(threads.call[child + 1]) - 1
            end = max(end, ended(play, final) + int(calls.tool_ps[final]))
        return end

    for agent, play, trajectory, call in when:
        row = int(calls.first[trajectory]) + call
        thread = int(np.searchsorted(threads.call, row, side="right")) - 1
        ready_ps = ended((agent, play, trajectory), row) + int(calls.tool_ps[row])
        following = when.get((agent, play, trajectory, call + 1)) if row + 1 < threads.call[thread + 1] else None
        if following and prompt_release:
            assert following[0] == ready_ps
        elif following:
            assert following[0] >= ready_ps
        for child in range(int(threads.child[row]), int(threads.child[row] + threads.children[row])):
            born = when[agent, play, trajectory, int(threads.call[child] - calls.first[trajectory])][0]
            asked_ps = when[agent, play, trajectory, call][1] + int(threads.delay_ps[child])
            assert born == asked_ps if prompt_release else born >= asked_ps


@many
@given(worlds())
def test_energy_lies_between_floor_and_cap(world: World) -> None:
    """No step draws less than its busy GPUs' floor or more than their cap, pool by pool. Catches a unit slip of a thousand."""
    output = simulate_kernel(world, events=True)
    steps = events_of(output, EVENT_STEP)
    pool_of_step = pool_of_worker(world)[steps[:, 2]]
    for number, pool in enumerate(world.fleet.pools):
        own = steps[pool_of_step == number]
        gpus = pool.power.gpus_per_rank * pool.ranks
        duration_ns, energy_uj = own[:, 5] // 1000, own[:, 6]
        assert (energy_uj <= pool.power.cap_mw * duration_ns * gpus // 10**6).all()
        least_mw = min(pool.power.floor_mw, pool.power.light_mw, pool.power.cap_mw)
        assert (energy_uj >= least_mw * duration_ns * gpus // 10**6 - pool.ranks).all()


@many
@given(worlds())
def test_books_agree_with_the_log(world: World) -> None:
    """Series, totals and log count the same steps, energy and busy time, in each pool."""
    world = world._replace(stop=world.stop._replace(window_ps=0))
    output = simulate_kernel(world, events=True)
    steps = events_of(output, EVENT_STEP)
    pool_of_step = pool_of_worker(world)[steps[:, 2]]
    for number in range(len(world.fleet.pools)):
        own, series = steps[pool_of_step == number], output.series[number]
        totals = dict(zip(TOTAL_COLUMNS, output.totals[number].tolist(), strict=True))
        assert totals["steps"] == len(own) == series[:, 0].sum()
        assert totals["energy_uj"] == own[:, 6].sum() == series[:, 2].sum()
        assert totals["busy_ns"] == (own[:, 5] // 1000).sum() == series[:, 1].sum()


@many
@given(worlds())
def test_transfers_are_conserved(world: World) -> None:
    """What moves is what calls moved, what prefill pools sent and what decode pools got; likewise for host tiers. Catches a chunk that is
    sent twice, or by a call that did not have to move."""
    output = simulate_kernel(to_the_end(world), events=True)
    totals = {name: output.totals[:, at] for at, name in enumerate(TOTAL_COLUMNS)}
    roles = np.array([pool.role for pool in world.fleet.pools])
    moved = events_of(output, EVENT_MOVE)[:, 5].sum()
    assert moved == column(output, "moved_tokens").sum()
    assert moved == totals["moved_tokens"][roles == ROLE_PREFILL].sum() == totals["moved_tokens"][roles == ROLE_DECODE].sum()
    assert (column(output, "moved_tokens") <= column(output, "prompt_tokens")).all()
    loaded = events_of(output, EVENT_LOAD)[:, 5].sum()
    assert loaded == totals["host_loaded_tokens"].sum() >= column(output, "host_tokens").sum(), "calls count what they found at first"
    assert (column(output, "host_tokens") <= column(output, "cached_tokens")).all()


@many
@given(worlds())
def test_kv_lands_when_its_move_said_and_nothing_is_decoded_before(world: World) -> None:
    """Each landing belongs to the last transfer or load of its call, at the time that was given out; a decode rank computes nothing for a
    call whose KV is on its way. Catches a seat that decodes on blocks still empty."""
    output = simulate_kernel(to_the_end(world), events=True)
    away: dict[tuple[int, bool], int] = {}
    claimed: set[int] = set()
    workers = pool_of_worker(world)
    for time_ps, kind, worker, _, lane, _, b, c in output.events.tolist():
        if kind in (EVENT_MOVE, EVENT_LOAD):
            assert time_ps <= b <= c
            assert time_ps < c
            away[lane, kind == EVENT_LOAD] = c
            claimed |= {lane} if kind == EVENT_MOVE else set()
        elif kind == EVENT_LAND:
            assert away.pop((lane, c == 1)) == time_ps
        elif kind == EVENT_CHUNK:
            moving = (lane, False) in away
            assert not moving or world.fleet.pools[workers[worker]].role == ROLE_PREFILL
            assert (lane, True) not in away
        elif kind == EVENT_LAST:
            away.pop((lane, False), None)  # it ended with its first token, some chunks already sent
    assert not away
    assert_stages_in_order(world, output)


def assert_stages_in_order(world: World, output: Output) -> None:
    stage = {name: column(output, f"{name}_ps") for name in ("send", "claim", "admit", "prefilled", "moved", "landed", "first", "last")}
    landed, gone = stage["landed"] >= 0, stage["moved"] >= 0
    assert (landed == gone).all(), "a finished call that began to move has arrived"
    assert (stage["send"] <= stage["admit"]).all()
    assert (stage["admit"] < stage["prefilled"]).all()
    moves = {name: times[landed] for name, times in stage.items()}
    assert (moves["prefilled"] <= moves["moved"]).all()
    nothing = column(output, "moved_tokens")[landed] == 0
    # Ports that take no time let a call that queued for them land at once.
    free = world.fleet.link_latency_ps == 0 and any(pool.port_fixed_ps == pool.port_token_fp == 0 for pool in world.fleet.pools)
    at_once = (moves["moved"] == moves["landed"]) & (nothing | free)
    assert ((moves["moved"] < moves["landed"]) | at_once).all(), "only nothing moves in no time"
    assert (moves["landed"] < moves["last"]).all()
    if world.fleet.first_token == FIRST_BY_DECODE:
        assert (moves["landed"] < moves["first"]).all()
    else:
        assert (moves["first"] == moves["prefilled"]).all()
    before = stage["admit"] if world.fleet.prealloc else stage["last"]
    claims = stage["claim"] >= 0
    assert (stage["claim"][claims] <= before[claims]).all()
    assert (claims | ~landed).all(), "nothing lands where no seat was claimed"
    decoders = np.array([pool.role == ROLE_DECODE for pool in world.fleet.pools])
    assert (decoders[column(output, "pool")] == landed).all(), "who moves ends at a decode pool, and nobody else"


@many
@given(worlds(), st.integers(1, 40), st.sampled_from([RESERVE_INPUT, RESERVE_RATIO, RESERVE_FULL]))
def test_no_scheduler_reads_a_recorded_output_length(world: World, longer: int, reserve: int) -> None:
    """Until a call ends, a longer one in its place goes the same way. Catches an oracle: an admission that knows the answer's length."""
    assume(all(pool.sched.drafts == 0 for pool in world.fleet.pools))
    pools = [pool._replace(sched=pool.sched._replace(prefix_cache=0, admit_reserve=reserve)) for pool in world.fleet.pools]
    world = world._replace(stop=world.stop._replace(min_plays=10**6))
    calls = world.calls
    number = int(calls.first[world.fleet.order[0]])
    output_tokens = calls.output_tokens.copy()
    output_tokens[number] += longer
    other = world._replace(calls=calls._replace(output_tokens=output_tokens, decode_steps=output_tokens - 1))
    room = [max(pool.blocks_per_rank, *(int(most_blocks(w, pool).max()) for w in (world, other))) for pool in pools]
    roomy = tuple(pool._replace(blocks_per_rank=blocks) for pool, blocks in zip(pools, room, strict=True))
    short, long = (simulate_kernel(with_pools(w, roomy), events=True).events for w in (world, other))
    ends = short[(short[:, 1] == EVENT_LAST) & (short[:, 4] >= 0)]
    ends_ps = [int(row[0]) for row in ends if row[5] == calls.output_tokens[number]]
    until = min(ends_ps, default=int(min(short[-1, 0], long[-1, 0])))
    for log in (short, long):
        log[log[:, 1] == EVENT_FIRST, 5:7] = 0
    ours, theirs = short[short[:, 0] < until], long[long[:, 0] < until]
    assert np.array_equal(ours, theirs)
