"""The named mutants: for each law of docs/invariants.md mistakes that its test must notice. And what the drawn survivors mean."""

EQUAL = "tests/oracle/test_equal_logs.py::test_event_logs_are_equal"
BROKE = "tests/oracle/test_worlds_that_broke.py"
SCHEDULES = "tests/oracle/test_option_schedules.py"
LAW = "tests/laws/test_laws.py::"
KNOWN = "tests/theory/test_known_answers.py::"

LAWS: list[tuple[str, list[tuple[str, str, str]], str]] = [
    (
        "conservation of calls",
        [
            ("reference", "self.issued += 1", "self.issued += 2"),
            ("reference", "if self.calls_left[call.agent] > 0:", "if self.calls_left[call.agent] > 1:"),
        ],
        EQUAL,
    ),
    (
        "conservation of calls",
        [
            ("kernel", "state.clock[ISSUED] += 1", "state.clock[ISSUED] += 2"),
            ("kernel", "if call + 1 < lanes[lane, L_END]:", "if call + 2 < lanes[lane, L_END]:"),
            ("kernel", "    lanes[parent, L_PENDING] -= 1\n".replace("    ", "        ", 1), ""),
        ],
        LAW + "test_nothing_is_lost",
    ),
    ("the clock never goes back", [("reference", "landing_ps = max(rank.host_free_ps, self.now + 1)", "landing_ps = self.now - 1")], EQUAL),
    (
        "the clock never goes back",
        [
            (
                "kernel",
                "push_send(state.sends, state.clock, child, max(clock[NOW], ended_ps + threads[row, H_DELAY]))",
                "push_send(state.sends, state.clock, child, ended_ps + threads[row, H_DELAY] - 1)",
            )
        ],
        LAW + "test_nothing_is_lost",
    ),
    ("order of plays", [("reference", "play * play_stride(len(fleet.order))", "play * (len(fleet.start_ps) + 1)")], EQUAL),
    (
        "order of plays",
        [("kernel", "lanes[lane, L_PLAY] * world.rules[U_STRIDE]", "lanes[lane, L_PLAY] * (world.rules[U_AGENTS] + 1)")],
        LAW + "test_an_agent_meets_every_trajectory_before_one_again",
    ),
    (
        "blocks: free + used = total",
        [
            ("blocks", "                self.queue[block] = None\n", "                self.queue[block - block % 2] = None\n"),
            ("reference_rank", "        self.pool.give_back(hold.fixed)\n", ""),
        ],
        EQUAL,
    ),
    (
        "blocks: free + used = total",
        [
            (
                "kernel",
                "ranks[rank, R_PLAIN] += held + world.pools[state.ranks[rank, R_POOL]][P_FIXED] - lanes[lane, L_HASHED]",
                "ranks[rank, R_PLAIN] += held - lanes[lane, L_HASHED]",
            ),
        ],
        LAW + "test_nothing_is_lost",
    ),
    (
        "blocks: free + used = total",
        [
            (
                "kernel",
                "    release_blocks(world, state, target, lane, lanes[lane, L_HELD])\n    state.ranks[target, R_PARKED] -= 1",
                "    state.ranks[target, R_PARKED] -= 1",
            ),
        ],
        BROKE + "::test_a_decode_seat_given_back_wakes_an_idle_worker_whose_queue_it_was_too_small_for",
    ),
    (
        "holders recounted from scratch",
        [
            ("blocks", "            self.holders[block] += 1", "            self.holders[block] = 1"),
            ("blocks", "            self.holders[block] -= 1", "            self.holders[block] = 0"),
            ("kernel", "        slots[slot, S_REFS] += 1", "        slots[slot, S_REFS] = 1"),
        ],
        EQUAL,
    ),
    (
        "work conserving",
        [
            (
                "reference",
                "        self.stir(rank.worker)  # one",
                '        if call.state == "waiting":\n            self.stir(rank.worker)  # one',
            ),
        ],
        BROKE + "::test_a_call_that_queues_for_a_seat_wakes_an_idle_decode_worker_whose_head_fits_beside_it",
    ),
    (
        "work conserving",
        [
            (
                "reference_rank",
                "        self.sim.stir(self.worker)  # a call that gave way here and waits to be computed again may fit now\n",
                "",
            )
        ],
        BROKE + "::test_a_decode_seat_given_back_wakes_an_idle_worker_whose_queue_it_was_too_small_for",
    ),
    (
        "work conserving",
        [
            ("reference", "        self.stir(source.worker)\n", ""),
            ("reference", "        self.stir(target.worker)\n", ""),
            ("kernel", "    state.workers[state.ranks[target, R_WORKER], W_LOAD] += 1\n", ""),
            (
                "kernel",
                "    land_back(state.lanes, state.ranks, rank, lane)\n    state.workers[state.ranks[rank, R_WORKER], W_LOAD] += 1\n",
                "    land_back(state.lanes, state.ranks, rank, lane)\n",
            ),
        ],
        EQUAL,
    ),
    (
        "causality",
        [
            (
                "kernel",
                "wake_ps = max(clock[NOW], lanes[lane, L_READY_PS] + lanes[lane, L_TOOL_PS])",
                "wake_ps = max(clock[NOW], lanes[lane, L_READY_PS] + lanes[lane, L_TOOL_PS] // 2)",
            ),
        ],
        LAW + "test_causality",
    ),
    (
        "causality",
        [("reference", "wake_ps = max(self.now, ended_ps + int(self.world.calls.tool_ps[number]))", "wake_ps = self.now")],
        EQUAL,
    ),
    (
        "joins",
        [("kernel", "lanes[parent, L_READY_PS] = max(lanes[parent, L_READY_PS], wake_ps)", "lanes[parent, L_READY_PS] = wake_ps")],
        LAW + "test_a_thread_goes_on_when_all_that_it_spawned_is_over",
    ),
    ("joins", [("reference", "ended_ps = max(ended_ps, ready_ps)", "ended_ps = min(ended_ps, ready_ps)")], EQUAL),
    (
        "oracle boundary",
        [
            (
                "kernel",
                "return blocks_for(rules, kind, lanes[lane, L_PROMPT] + kind[P_MAX_NEW]) + kind[P_FIXED]",
                "return blocks_for(rules, kind, lanes[lane, L_PROMPT] + lanes[lane, L_OUTPUT]) + kind[P_FIXED]",
            ),
        ],
        LAW + "test_no_scheduler_reads_a_recorded_output_length",
    ),
    (
        "oracle boundary",
        [
            (
                "kernel",
                "return min(max(0, kind[P_MAX_NEW] - output_so_far(world, state, rank, lane)), kind[P_CLIP])",
                "return state.lanes[lane, L_OUTPUT]",
            ),
        ],
        SCHEDULES + "::test_a_call_that_did_not_fit_is_not_tried_again_before_something_is_given_back",
    ),
    (
        "energy between floor and cap",
        [
            (
                "kernel",
                "        pj = min(wanted_pj(world, state, rank, duration_ps, queries), kind[P_CAP_MW] * quotient(duration_ps, 1000))",
                "        pj = wanted_pj(world, state, rank, duration_ps, queries)",
            ),
            ("kernel", "quotient(kind[P_GPUS] * pj, 1_000_000)", "quotient(kind[P_GPUS] * pj, 1_000)"),
            ("kernel", "kind[P_FLOOR_MW] * duration_ns + load_pj,", "load_pj,"),
        ],
        LAW + "test_energy_lies_between_floor_and_cap",
    ),
    (
        "books agree with the log",
        [("kernel", "    row[2] += energy_uj\n", ""), ("kernel", "        totals[T_BUSY] += busy_ns\n", "")],
        LAW + "test_books_agree_with_the_log",
    ),
    (
        "determinism",
        [
            (
                "kernel",
                "        self.load, self.state = flat(world), new_state(world, events)\n",
                "        world.fleet.start_ps[:] += 1\n        self.load, self.state = flat(world), new_state(world, events)\n",
            )
        ],
        LAW + "test_determinism",
    ),
    (
        "logging changes nothing",
        [
            (
                "kernel",
                "    if clock[NOW] >= rules[U_WINDOW]:\n        totals[ranks[rank, R_POOL], column] += amount",
                "    if clock[NOW] >= rules[U_WINDOW] and clock[LOGGING] == 1:\n        totals[ranks[rank, R_POOL], column] += amount",
            )
        ],
        EQUAL,
    ),
    (
        "order of input changes nothing",
        [("kernel", "trajectory = world.runs[turn % (len(world.runs) - 1), J_ORDER]", "trajectory = turn % (len(world.runs) - 1)")],
        LAW + "test_order_of_trajectories_changes_nothing",
    ),
    (
        "times scale",
        [
            ("kernel", "duration_ps = kind[P_FLOOR_PS] + shared_ps + slowest", "duration_ps = kind[P_FLOOR_PS] + shared_ps + slowest + 1"),
            ("kernel", "        length_ps += max(one[P_PORT_FIXED], other[P_PORT_FIXED])", "        length_ps += 1000"),
        ],
        LAW + "test_time_scales",
    ),
    (
        "transfers are conserved",
        [
            ("kernel", "    lanes[lane, L_MOVED] += tokens\n", ""),
            ("kernel", "    count(world.rules, state.clock, state.totals, state.ranks, target, T_MOVED, tokens)\n", ""),
        ],
        LAW + "test_transfers_are_conserved",
    ),
    ("transfers are conserved", [("reference", "        self.sent_tokens += tokens\n", "")], EQUAL),
    (
        "KV lands when its move said",
        [("kernel", "landing_ps = max(start_ps + length_ps + world.rules[U_LATENCY], now + 1)", "landing_ps = now + 1")],
        LAW + "test_kv_lands_when_its_move_said_and_nothing_is_decoded_before",
    ),
    (
        "zero load is the law's own sum",
        [
            ("kernel", "chunk[C_PAIRS] += tokens * (2 * before + tokens)", "chunk[C_PAIRS] += tokens * (before + tokens)"),
            (
                "reference_rank",
                "return sum(tokens * (2 * before + tokens) for tokens, before in self.chunks)",
                "return sum(tokens * (before + tokens) for tokens, before in self.chunks)",
            ),
        ],
        KNOWN + "test_zero_load_ttft_and_tpot_are_the_law_s_own",
    ),
    (
        "M/D/1",
        [("kernel", "= state.clock[NOW] + duration_ps\n", "= state.clock[NOW] + duration_ps + duration_ps // 8\n")],
        KNOWN + "test_md1_mean_wait",
    ),
    (
        "machine repair",
        [
            (
                "kernel",
                "wake_ps = max(clock[NOW], lanes[lane, L_READY_PS] + lanes[lane, L_TOOL_PS])",
                "wake_ps = max(clock[NOW], lanes[lane, L_READY_PS] + lanes[lane, L_TOOL_PS] // 2)",
            )
        ],
        KNOWN + "test_machine_repair_throughput",
    ),
    (
        "runs of steps",
        [
            ("kernel", "(over or blocks > 0 or now >= same_until_ps)", "(over or blocks > 0)"),
            ("kernel", "(over or blocks > 0 or now >= same_until_ps)", "(over or now >= same_until_ps)"),
            ("kernel", "return min(end_ps, window_ps) if state.clock[NOW] < window_ps else end_ps", "return end_ps"),
            ("kernel", "blocks < 0 or taken == left or now >= until_ps", "blocks < 0 or now >= until_ps"),
        ],
        "tests/oracle/test_coasting.py",
    ),
    (
        "Little, and a full batch",
        [
            (
                "kernel",
                "        totals[T_DECODE_SEQ] += decoding * busy_ns\n",
                "        totals[T_DECODE_SEQ] += served + decoding * busy_ns\n",
            ),
            ("kernel", "ranks[rank, R_DECODING], step + steps - 1, lanes", "ranks[rank, R_DECODING], step + steps, lanes"),
        ],
        KNOWN + "test_little_and_a_full_batch",
    ),
    (
        "an infinite cache",
        [
            (
                "kernel",
                "    hit, idle = match(world, state, rank, lane, most)\n",
                "    hit, idle = match(world, state, rank, lane, most // 2)\n",
            )
        ],
        KNOWN + "test_infinite_cache_hits_what_the_trajectories_share",
    ),
]
"""(law, mutants as (file, text, text in its place), the test that holds it)"""

JUDGED: dict[str, str] = {
    # by the beginning of its name
    "kernel book_steps: totals[T_SHARED] += steps * shared_ns totals[T_CONTEXT]": "Equivalent: two sums that know nothing of each other.",
    "kernel growth: more > free_blocks": (
        "Equivalent in results: a run that would just have found its blocks ends, and the next step is taken by itself; only the share of "
        "steps taken in runs differs."
    ),
    "kernel look_ahead_sends: prefetch": "Equivalent: a hint to the processor's cache, which is nothing without the JIT.",
    "kernel release: keep_tail(world, state, rank, lane, tokens) hash_blocks": (
        "Equivalent: the one writes the store of ends, the other the tree of slots."
    ),
    "kernel leave_slot: min(tokens": (
        "Equivalent: beyond the end of a call's path its last node has nothing, for a node ends where a prompt ends, and what is shared is "
        "cut at the next node of the asking call. A test of a fixed slot with a recorded history was added all the same."
    ),
    "reference_rank unclaim: self.sim.try_claims(self) self.sim.stir(self.worker)": (
        "Equivalent: both only schedule, and what goes first in an instant is said by phases, not by the order of scheduling."
    ),
}
"""Why a survivor survives, by the beginning of its name."""


def judgement(name: str) -> str:
    """What was found of a survivor; empty when nobody has looked."""
    return next((why for beginning, why in JUDGED.items() if name.startswith(beginning)), "")
