"""Writes the result table of README.md. Input: the scenario of `make compare`, answered anew; `make readme` calls this.

usage: result_table.py FILE SCENARIO           put the table between the markers of FILE
       result_table.py --check FILE SCENARIO   exit 1 when FILE shows another table
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from simulator import compare, load_scenario
from simulator.capacity.results import Answer
from simulator.report.phrases import number, plain, tier, words

BETWEEN = re.compile(r"(?<=<!-- result-table -->\n).*?(?=<!-- /result-table -->)", re.DOTALL)
COLUMNS = ("SLO", "system", "GPUs", "agents held", "per GPU", "per MW, accelerator", "per MW, facility", "limited by", "quality")


def line(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |\n"


def row(answer: Answer) -> str:
    """One answer as a line of the table."""
    low, high = answer.interval
    return line(
        (
            tier(answer.slo),
            plain(answer.system),
            str(answer.gpus),
            f"**{answer.agents_held:,}** ({low:,}–{high:,})",
            number(answer.agents_per_gpu),
            f"**{number(answer.agents_per_mw.accelerator)}**",
            number(answer.agents_per_mw.facility),
            words(answer.limiter),
            plain(answer.quality),
        )
    )


def table(answers: Sequence[Answer]) -> str:
    """The whole table, Markdown."""
    return line(COLUMNS) + line(["---"] * len(COLUMNS)) + "".join(map(row, answers))


def main(arguments: Sequence[str]) -> int:
    """Writes or checks the table of one file."""
    path, scenario = Path(arguments[-2]), arguments[-1]
    text = path.read_text(encoding="utf-8")
    shown = table(compare(load_scenario(scenario)).answers)
    new, blocks = BETWEEN.subn(lambda _: shown, text)
    assert blocks == 1, f"{path} needs one pair of result-table markers, has {blocks}"
    if "--check" in arguments:
        if new != text:
            print(f"{path} shows other numbers than the code; renew it with `make readme`:\n{shown}", file=sys.stderr)
        return int(new != text)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
