"""The package as a whole: one version, data that is found, commands that the README names, and nothing that ties it to one machine."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from simulator import catalog

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".ipynb", ".json", ".jsonl", ".html", ".css", ".j2", ".svg", ".csv", ""}
SKIPPED = {"results", "dist", "build"}


def shipped() -> list[Path]:
    """The tracked files; in a copy without git, every file outside hidden and written folders."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        files = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        top = [path for path in ROOT.iterdir() if path.name == ".ci" or not (path.name.startswith(".") or path.name in SKIPPED)]
        files = [path for each in top for path in (each, *each.rglob("*")) if "__pycache__" not in path.parts]
    return [path for path in files if path.is_file() and path.suffix in TEXT and path != Path(__file__)]


def lines_with(pattern: str) -> list[str]:
    """Places in the shipped text that match, as ``file:line: text``."""
    found = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in shipped()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if found.search(line)
    ]


def make_targets() -> set[str]:
    rules = re.findall(r"^([a-z][a-z ]*):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return {target for rule in rules for target in rule.split()}


def readme_commands(program: str) -> list[list[str]]:
    """Commands of one program in the README's shell blocks, comments cut off."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.split("#")[0].split(">")[0].split() for block in blocks for line in block.splitlines()]
    return [words for words in lines if words[:1] == [program]]


def test_some_files_are_looked_at() -> None:
    assert {"README.md", "Makefile", "pyproject.toml"} <= {path.name for path in shipped()}


def test_no_path_of_a_machine() -> None:
    assert lines_with(r"(?<![\w.$}/])/(home|root|work|Users|tmp|opt|mnt)/\w") == []


def test_no_registry_host() -> None:
    hosts = r"(pypi|pythonhosted|npmjs|anaconda|conda-forge|debian|ubuntu|huggingface)\.(org|com|co|io)"
    assert lines_with(hosts + r"|(--(extra-)?index-url|--find-links|--trusted-host)\b|\bfile:///") == []


def test_no_page_that_is_not_here() -> None:
    """The pages beside the checkout are for its developers; a reader has only what ships. Tests may look for them and skip."""
    found = lines_with(r"\b(DESIGN|ENGINES|FACTS|FORMATS|STYLE|CALIBRATION)\.md\b|\.\./shared")
    assert [place for place in found if not place.startswith("tests/")] == []


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==[\w.]+(; [\w .'\"<>=]+)?", line)] == []
    assert len({line.split("==")[0] for line in pins}) == len(pins)


def test_every_dependency_is_pinned() -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    ranges = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    assert {re.match(r"[\w-]+", each)[0].lower() for each in ranges} <= pinned  # type: ignore[index]


def test_every_dependency_is_imported() -> None:
    """A runtime dependency that no module imports is weight that every user carries."""
    module_of = {"pyyaml": "yaml"}
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "simulator").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE))
    names = [re.match(r"[\w-]+", each)[0] for each in PROJECT["project"]["dependencies"]]  # type: ignore[index]
    assert [name for name in names if module_of.get(name, name) not in imported] == []


def test_every_import_is_a_dependency() -> None:
    """A module that only the test environment has must not be needed to run."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "simulator").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)(?:[\w.]* import|$| as)", source, re.MULTILINE))
    module_of = {"pyyaml": "yaml", "nvidia-ml-py": "pynvml"}
    extras = {name: ranges for name, ranges in PROJECT["project"]["optional-dependencies"].items() if name != "dev"}
    ranges = [*PROJECT["project"]["dependencies"], *(each for extra in extras.values() for each in extra)]
    declared = {module_of.get(name, name) for name in (re.match(r"[\w-]+", each)[0] for each in ranges)}  # type: ignore[index]
    assert imported - set(sys.stdlib_module_names) - declared <= {"simulator"}


def test_one_version() -> None:
    number = PROJECT["project"]["version"]
    assert version("agentwatt") == number
    assert f"## [{number}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_wheel_carries_every_data_folder() -> None:
    carried = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert set(carried) == {folder.split("/")[0] for folder in catalog.FOLDERS.values()}
    assert all(inside == f"simulator/_data/{folder}" for folder, inside in carried.items())


@pytest.mark.parametrize("kind", catalog.FOLDERS)
def test_data_is_found(kind: str) -> None:
    names = catalog.names(kind)
    assert names
    assert all(catalog.find_data(kind, name).is_file() for name in names)


def test_readme_names_targets_that_exist() -> None:
    assert {words[1] for words in readme_commands("make")} <= make_targets()
    assert {("make", "compare"), ("make", "test")} <= {tuple(words[:2]) for words in readme_commands("make")}


def test_every_target_is_phony() -> None:
    """A target named like a folder (`benchmarks`, `notebooks`) would otherwise never run."""
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == make_targets()


def test_ci_calls_what_the_readme_names() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make --no-print-directory compare" in script
    assert "make --no-print-directory test" in script


@pytest.mark.parametrize("words", readme_commands("agentwatt"), ids=" ".join)
def test_readme_commands_exist(words: list[str]) -> None:
    """Each command of the README is known to the command line, with its options."""
    from typer.core import TyperGroup
    from typer.main import get_command

    from simulator.cli.main import app

    command = get_command(app)
    for word in words[1:]:
        if word.startswith("-"):
            options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
            assert word in options, f"{' '.join(words)}: no option {word}"
        elif isinstance(command, TyperGroup):
            assert word in command.commands, f"{' '.join(words)}: no command {word}"
            command = command.commands[word]


def test_readme_imports_are_public() -> None:
    """What the README and the notebooks take from the package is in its public list."""
    pages = [ROOT / "README.md", *(ROOT / "notebooks").glob("*.ipynb")]
    found = [match for page in pages for match in re.findall(r"from (simulator[\w.]*) import ([\w, ]+)", page.read_text(encoding="utf-8"))]
    assert found
    for module, names in found:
        assert set(names.split(", ")) <= set(import_module(module).__all__)


def test_links_lead_somewhere() -> None:
    """Relative links in the README and in docs."""
    broken = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        broken += [f"{page.relative_to(ROOT)} -> {target}" for target in targets if not (page.parent / target).exists()]
    assert broken == []
