"""Runs that people have already: three formats read, a hidden law recovered, what they lack told, bad ones refused with the place."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.calibration.cell import Span
from simulator.calibration.live import read_run
from simulator.calibration.live_fit import Fit
from simulator.calibration.live_overlay import playing
from simulator.calibration.past_cells import lanes, past_cells, prompts_of
from simulator.calibration.past_check import check_held
from simulator.calibration.past_fit import excluded, fit_past, missing
from simulator.calibration.past_law import Columns, decode_features
from simulator.calibration.past_run import PastRequest, PastRun, read_past_run
from simulator.cli.past import told_endpoint, told_limits
from simulator.errors import UserError
from tests.unit.past_files import WRITERS, aiperf, benchmark, conversations, played, table, vllm_bench, write

LAW = {"floor_s": 0.0025, "sequence_s": 128e-6, "context_token_s": 0.3e-6, "prefill_token_s": 55e-6, "prefill_pair_s": 27e-9}
BUDGET, SEATS = 512, 24
TOLD = {"token_budget": BUDGET, "max_seqs": SEATS}


@pytest.fixture(scope="module")
def runs() -> list[list[PastRequest]]:
    """Benchmarks of the same server at three concurrencies."""
    return [played(LAW, benchmark(*size), BUDGET, SEATS) for size in ((1, 40), (4, 20), (12, 12))]


def fitted(paths: list[Path], told: dict[str, int]) -> tuple[Fit, list[PastRun]]:
    found = [read_past_run(path) for path in paths]
    return fit_past(found, past_cells(found), told_endpoint("hidden", told)), found


@pytest.mark.parametrize("kind", WRITERS)
def test_a_law_comes_back_out_of_each_format_within_2_percent(kind: str, runs: list[list[PastRequest]], tmp_path: Path) -> None:
    fit, found = fitted(write(tmp_path, kind, runs), TOLD)
    for run, asked in zip(found, runs, strict=True):
        assert (len(run.requests), run.failed) == (len(asked), 0)
        for one, other in zip(run.requests, asked, strict=True):
            assert (one.prompt_tokens, one.output_tokens, one.cached_tokens) == (other.prompt_tokens, other.output_tokens, None)
            assert one.end_s - one.first_s == pytest.approx(other.end_s - other.first_s, abs=2e-6)
    assert {one.name: one.value for one in fit.coefficients} == pytest.approx(LAW | {"request_s": 0.002}, rel=0.02)
    assert (fit.measured.valid_seqs, fit.measured.valid_context_tokens > 1700) == (12, True)
    assert fit.measured.known["token_budget"].source == "as whoever calibrated told"


def test_what_was_held_out_is_predicted(runs: list[list[PastRequest]], tmp_path: Path) -> None:
    fit, found = fitted(write(tmp_path, "requests.csv", runs), TOLD)
    checked = check_held(fit, playing(fit.measured), past_cells(found))
    assert [level.agents for level in checked.levels] == [1, 4, 12]
    assert max(abs(level.error("output_tok_s")) for level in checked.levels) < 0.02
    assert max(abs(level.error("tpot_p50_s")) for level in checked.levels) < 0.05
    assert checked.word == "trust"


def test_a_token_budget_that_nobody_tells_is_the_one_that_predicts_best(runs: list[list[PastRequest]], tmp_path: Path) -> None:
    fit, _ = fitted(write(tmp_path, "vllm.json", runs[:2]), {"max_seqs": SEATS})
    known = fit.measured.known["token_budget"]
    assert (known.value, known.quality) == (BUDGET, "fitted")


def test_noise_leaves_what_matters(tmp_path: Path) -> None:
    """Steps that vary by 3 %: answers left out are predicted within 5 %, whatever single coefficients come out at."""
    noisy = [played(LAW, benchmark(*size), BUDGET, SEATS, noise=0.03) for size in ((1, 60), (4, 40), (12, 25))]
    fit, found = fitted(write(tmp_path, "aiperf.jsonl", noisy), TOLD)
    left_out = next(one for one in fit.errors if (one.how, one.quantity) == ("leave-one-out", "decode"))
    assert left_out.median < 0.05
    checked = check_held(fit, playing(fit.measured), past_cells(found))
    assert max(abs(level.error("output_tok_s")) for level in checked.levels) < 0.1


def test_cached_tokens_are_played_as_the_file_says(tmp_path: Path) -> None:
    talks = [played(LAW, conversations(*size), BUDGET, SEATS) for size in ((1, 8), (6, 7))] + [played(LAW, benchmark(1, 20), BUDGET, SEATS)]
    paths = [tmp_path / f"{number}.csv" for number in range(3)]
    for path, run in zip(paths, talks, strict=True):
        path.write_text(table(run, cached=True), encoding="utf-8")
    assert sum(one.cached_tokens or 0 for one in talks[1]) > 0.5 * sum(one.prompt_tokens for one in talks[1])
    fit, found = fitted(paths, TOLD)
    assert {one.name: one.value for one in fit.coefficients} == pytest.approx(LAW | {"request_s": 0.002}, rel=0.1)
    levels = check_held(fit, playing(fit.measured), past_cells(found)).levels
    assert [level.error("cache_hit") for level in levels] == pytest.approx([0.0] * len(levels), abs=0.01)
    assert not any("cached" in note for note in missing(found, told_endpoint("hidden", TOLD)))


def test_aiperf_tells_conversations_and_cached_tokens(tmp_path: Path) -> None:
    talk = played(LAW, conversations(2, 3), BUDGET, SEATS)
    (tmp_path / "profile_export.jsonl").write_text(aiperf(talk, cached=True), encoding="utf-8")
    found = read_past_run(tmp_path / "profile_export.jsonl")
    assert [(one.conversation, one.cached_tokens) for one in found.requests] == [(one.conversation, one.cached_tokens) for one in talk]


def request(start_s: float, first_s: float, end_s: float, prompt: int = 100, output: int = 11, **more: object) -> PastRequest:
    return PastRequest(start_s, first_s, end_s, (end_s - first_s) / (output - 1), prompt, output, **more)  # type: ignore[arg-type]


def test_who_followed_whom() -> None:
    a, b, c, d = request(0, 1, 2), request(0.5, 1, 3), request(2.1, 3, 4), request(3.5, 4, 5)
    assert lanes([a, b, c, d]) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    talk = [replace(a, conversation="x"), b, c, replace(d, conversation="x")]
    assert lanes(talk) == [(0, 0), (1, 0), (2, 0), (0, 1)], "a lane whose conversation goes on is kept for it"


def test_prompts_share_what_was_found() -> None:
    first = request(0, 1, 2, prompt=100, conversation="x")
    told = [first, request(3, 4, 5, prompt=150, cached_tokens=64, conversation="x"), request(6, 7, 8, prompt=90, cached_tokens=32)]
    assert prompts_of(told, 0)[1] == (Span(0, 0, 64), Span(1, 0, 86))
    assert prompts_of(told, 0)[2] == (Span(0, 0, 32), Span(2, 0, 58)), "of the latest prompt that is long enough"
    untold = [first, request(3, 4, 5, prompt=150, conversation="x"), request(6, 7, 8, prompt=90)]
    assert prompts_of(untold, 0) == [(Span(0, 0, 100),), (Span(0, 0, 100), Span(1, 0, 50)), (Span(2, 0, 90),)]


def test_the_accounts_of_two_that_overlap() -> None:
    """The first decodes 10 steps from 1 to 3; half of them beside the other's prefill of 100 tokens, until 2, then beside its steps."""
    at = Columns.of([request(0, 1, 3, prompt=50), request(0.5, 2, 4, prompt=100)])
    steps, sequences, context, prefilled, pairs, queries = decode_features(at, 0)
    assert (steps, sequences) == (10, 10 + 5)
    assert prefilled == pytest.approx(100), "prompts are computed one after another: this one from the other's first token on"
    assert pairs == pytest.approx(100 * 50)
    assert queries == pytest.approx(15 + 100)
    assert context == pytest.approx(10 * (50 + 5) + 5 * (100 + 2.5))


def test_what_files_lack_is_told(runs: list[list[PastRequest]], tmp_path: Path) -> None:
    (path,) = write(tmp_path, "requests.csv", runs[:1])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0] + ",error", *(line + "," for line in lines[1:]), "9,0.1,0.2,10,5,HTTP 500"]))
    found = read_past_run(path)
    assert [one.why for one in excluded([found])] == ["1 of 41 requests: failed"]
    notes = " / ".join(missing([found], told_endpoint("hidden", {})))
    for said in ("a client's", "no cached tokens", "max_seqs, block_tokens, kv_blocks, token_budget", "side by side hardly vary (1 to 1)"):
        assert said in notes
    assert "prompt lengths hardly" not in notes


def test_bursts_say_nothing_of_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("start_s,ttft_s,latency_s,prompt_tokens,output_tokens\n0,1,1.001,10,50\n2,1,2,10,50\n")
    assert [one.tpot_s for one in read_past_run(tmp_path / "a.csv").requests] == [None, pytest.approx(1 / 49)]


GOOD = {"input_lens": [9, 9], "output_lens": [2, 2], "ttfts": [0.1, 0.1], "itls": [[0.1], [0.1]], "start_times": [0, 1], "errors": ["", ""]}
LINE = json.loads(aiperf([request(0, 1, 2)]))
HEAD = "start_s,ttft_s,latency_s,prompt_tokens,output_tokens"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", json.dumps(GOOD | {"ttfts": [0.1]}), "a.json: ttfts; found 1 entries; allowed: 2, as input_lens has"),
        (
            "a.json",
            json.dumps({k: v for k, v in GOOD.items() if k != "itls"}),
            "itls; found nothing; allowed: a list with an entry a request",
        ),
        ("a.json", json.dumps({k: v for k, v in GOOD.items() if k != "start_times"}), "version that writes start times with --save-result"),
        ("a.json", json.dumps(GOOD | {"input_lens": [9, -1]}), "[1].input_lens; found -1; allowed: a whole number >= 1"),
        ("a.json", json.dumps(GOOD | {"itls": [[0.1], ["x"]]}), "[1].itls; found ['x']; allowed: a list of seconds >= 0"),
        ("a.json", json.dumps(GOOD | {"errors": ["no", "no"]}), "2 requests, none of which went well"),
        ("a.json", '{"mean_ttft_ms": 3.0}', "--save-result --save-detailed"),
        ("a.json", '{"other": 1}', "found no format that is known; allowed: AIPerf's profile_export.jsonl, the JSON of vllm bench serve"),
        ("a.json", "", "no format that is known"),
        ("a.jsonl", json.dumps(LINE | {"metrics": {}}), "a.jsonl:1: metrics.time_to_first_token; found nothing; allowed: the time to the"),
        (
            "a.jsonl",
            json.dumps(LINE) + "\n" + json.dumps(LINE | {"metrics": LINE["metrics"] | {"request_latency": {"value": "x", "unit": "ms"}}}),
            "a.jsonl:2: metrics.request_latency.value; found 'x'; allowed: a number >= 0",
        ),
        (
            "a.jsonl",
            json.dumps(LINE | {"metrics": LINE["metrics"] | {"time_to_first_token": {"value": 1, "unit": "weeks"}}}),
            "metrics.time_to_first_token.unit; found 'weeks'; allowed: ns, us, ms, s",
        ),
        ("a.jsonl", json.dumps(LINE) + "\n{", "a.jsonl:2"),
        ("a.csv", "start_s,ttft_s\n1,2\n", "a.csv:1: latency_s, prompt_tokens, output_tokens; found no such column"),
        ("a.csv", f"{HEAD}\n0,1,2,ten,5\n", "a.csv:2: prompt_tokens; found 'ten'; allowed: a whole number >= 1"),
        (
            "a.csv",
            f"{HEAD}\n0,1,2,10,5\n0,1,0.5,10,5\n",
            "a.csv:3: latency; found 0.5 s; allowed: at least the time to the first token, 1 s",
        ),
        ("a.csv", f"{HEAD}\n0,1,2,10\n", "a.csv:2; found 4 cells; allowed: 5, as the header has"),
        ("a.csv", f"{HEAD},cached_tokens\n0,1,2,10,5,11\n", "a.csv:2: cached_tokens; found 11; allowed: at most the prompt, 10"),
        ("a.csv", f"{HEAD}\n", "a.csv; found 0 requests, none of which went well"),
    ],
)
def test_bad_files_are_refused_with_the_place(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_past_run(tmp_path / name)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_and_too_few_requests(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_past_run(tmp_path / "nowhere.csv")
    (tmp_path / "two.json").write_text(vllm_bench([request(0, 1, 2), request(3, 4, 5)]))
    with pytest.raises(UserError, match="4 usable times; allowed: at least 12; give a longer run"):
        fitted([tmp_path / "two.json"], TOLD)


def test_what_can_be_told() -> None:
    assert told_limits(["engine=sglang", "token_budget=4096"]) == {"dialect": "sglang", "token_budget": 4096}
    for word in ("engine=other", "token_budget=0", "token_budget=x", "speed=3", "token_budget"):
        with pytest.raises(UserError, match="--told"):
            told_limits([word])


def test_agents_of_a_real_engine_are_predicted_from_what_clients_saw() -> None:
    """Rows of vLLM on a CPU (notebooks/data), as files of a benchmark would have them: the last quarter of each run is held out."""
    rows = read_run(Path(__file__).parents[2] / "notebooks" / "data" / "vllm_cpu").requests
    runs: dict[str, list[PastRequest]] = {}
    for row in sorted(rows, key=lambda row: row.sent_s):
        if row.cell.startswith(("replay", "saturation")) and row.first_s is not None and row.last_s is not None and row.prompt_tokens:
            times = row.sent_s, row.first_s, row.last_s, row.tpot_s
            seen = PastRequest(*times, row.prompt_tokens, row.asked_output_tokens, row.cached_tokens)
            runs.setdefault(row.cell.rpartition(" #")[0], []).append(seen)
    past = [PastRun(name, tuple(own), 0) for name, own in runs.items()]
    cells = past_cells(past)
    fit = fit_past(past, cells, told_endpoint("tiny", {"token_budget": 2048, "max_seqs": 32, "block_tokens": 32}))
    levels = {level.agents: level for level in check_held(fit, playing(fit.measured), cells).levels}
    for agents in (1, 4, 12):
        assert abs(levels[agents].error("output_tok_s")) < 0.12
        assert abs(levels[agents].error("tpot_p50_s")) < 0.17
        assert levels[agents].error("cache_hit") == pytest.approx(0.0, abs=0.01)
