"""The page docs/mutations.md: which mistakes were put into the engines, and which tests noticed."""

from collections import Counter
from collections.abc import Sequence

from tests.mutants import judgement
from tests.mutate import Mutant, one_line

HEAD = """# Mutations of the engines

Written by `make mutants` (tests/mutate.py): small mistakes are put into the source of the two engines, one at a time, and tests are run
with the JIT off. A mistake that no test notices shows a gap, or a change that makes no difference. What
is known of a mutant is kept by its name in `.cache/mutants.jsonl`, also when the engines change elsewhere; remove that file to begin anew.
"""


def page(by_law: Sequence[tuple[str, Mutant, str]], work: Sequence[tuple[Mutant, list[str]]], found: Sequence[str]) -> str:
    """The whole page. ``found`` is the test that noticed each mutant of ``work``, of which the first are those of ``by_law``."""
    lines = [HEAD, "## One or more for each law", "", "Each is run against the one test that holds the law (docs/invariants.md).", ""]
    lines += ["| law | file, function | mistake | noticed by |", "|---|---|---|---|"]
    for (law, mutant, _), test in zip(by_law, found, strict=False):
        lines.append(f"| {law} | {place(mutant)} | {change(mutant)} | {noticed(test)} |")
    drawn = list(zip([mutant for mutant, _ in work[len(by_law) :]], found[len(by_law) :], strict=True))
    lines += ["", "## Drawn ones", "", *summary(drawn), "", "## Survivors", ""]
    survivors = [mutant for (mutant, _), test in zip(work, found, strict=True) if not test]
    lines += ["| file, function | mistake | judgement |", "|---|---|---|"] if survivors else ["None."]
    lines += [f"| {place(mutant)} | {change(mutant)} | {judgement(mutant.name) or 'not judged yet'} |" for mutant in survivors]
    lines += ["", "## All drawn ones", "", "| file, function | kind | mistake | noticed by |", "|---|---|---|---|"]
    lines += [f"| {place(mutant)} | {mutant.kind} | {change(mutant)} | {noticed(test)} |" for mutant, test in drawn]
    return "\n".join(lines) + "\n"


def summary(drawn: Sequence[tuple[Mutant, str]]) -> list[str]:
    """Killed and all, by kind of mistake and by file."""
    lines = []
    for title, key in (("kind", lambda mutant: mutant.kind), ("file", lambda mutant: f"{mutant.file}.py")):
        every = Counter(key(mutant) for mutant, _ in drawn)
        killed = Counter(key(mutant) for mutant, test in drawn if test)
        lines += [f"| {title} | mutants | noticed |", "|---|--:|--:|"]
        lines += [f"| {name} | {every[name]} | {killed[name]} |" for name in sorted(every)]
        lines += [f"| all | {every.total()} | {killed.total()} |", ""]
    return lines[:-1]


def place(mutant: Mutant) -> str:
    return f"{mutant.file}.py, {mutant.function}"


def change(mutant: Mutant) -> str:
    return f"{code(mutant.before)} → {code(mutant.after)}"


def code(text: str) -> str:
    text = one_line(text)
    text = text if len(text) <= 160 else text[:78] + " ... " + text[-78:]
    return "`" + text.replace("|", "\\|") + "`"


def noticed(test: str) -> str:
    if not test:
        return "**nothing**"
    return test.split("::")[-1] if "::" in test else test
