"""README and docs name only what exists: files, tests, commands, options, make targets. Each command has its test."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import typer
from typer._click import Command
from typer.core import TyperGroup

from docs import commands
from fanout import cli
from tests.support.pages import steps_of
from tests.support.stack import REPOSITORY

README = REPOSITORY / "README.md"
PAGES = [
    README,
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "docs").glob("**/*.md")),
    *sorted((REPOSITORY / "examples").glob("*/README.md")),
]
ROOMS = ("schemas", "chassis", "services", "fanout", "deploy", "docs", "tests", "examples")
RUN_BY = {
    "docs/walkthrough.md": "tests/pages/test_walkthrough.py",
    "docs/add-a-consumer.md": "tests/pages/test_new_consumer.py",
    "docs/evolve-a-contract.md": "tests/pages/test_evolve_a_contract.py",
    "docs/containers.md": "tests/compose/test_containers_page.py",
    "docs/compare.md": "tests/pages/test_compare.py",
    "docs/lag.md": "tests/pages/test_lag.py",
    "docs/recovery.md": "tests/pages/test_recovery.py",
    "docs/observability.md": "tests/pages/test_observability.py",
    **{
        f"docs/runbooks/{page.name}": "tests/slow/test_runbooks.py"
        for page in (REPOSITORY / "docs/runbooks").glob("[a-z]*.md")
    },
    "examples/go-consumer/README.md": "tests/pages/test_go_consumer.py",
    "examples/synchronous/README.md": "tests/pages/test_compare.py",
}
MADE = re.compile(r"loyalty|order_dispatched|order_placed/v2|order_shipped/(v2|retired)")
"""Matches files that the commands of a page make."""
LEAST_GUARANTEES = 10

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((REPOSITORY / file).read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


def code_of(page: Path) -> list[str]:
    """Returns the lines of blocks that a shell would read, and what stands between backticks."""
    fenced = r"^```(\w*)\n(.*?)^```$"
    blocks = re.findall(fenced, page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for kind, text in blocks if kind in ("", "sh", "console") for line in text.splitlines()]
    prose = re.sub(fenced, "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return lines + re.findall(r"`([^`\n]+)`", prose)


@cache
def all_commands() -> dict[str, Command]:
    group = typer.main.get_command(cli._app(list(cli.COMMANDS)))
    assert isinstance(group, TyperGroup)
    return dict(group.commands)


@every_page
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@every_page
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    """`<name>` and `NAME` stand for any name."""
    named = re.findall(rf"(?<![\w/.])((?:{'|'.join(ROOMS)})/[\w./<>*-]*)", page.read_text())
    patterns = {re.sub(r"<\w+>|NAME", "*", path.rstrip(".")) for path in named if not MADE.search(path)}
    assert not [path for path in patterns if not any(REPOSITORY.glob(path.rstrip("/")))]


@every_page
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text())
    assert not [(file, test) for file, test in named if test not in names_in(file)]


@every_page
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {target for line in code_of(page) for target in re.findall(r"^(?:\$ )?make ([a-z-]+)", line)}
    assert named <= targets


@every_page
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    used = [
        words for line in code_of(page) for words in re.findall(r"(?<![\w./-])fanout ([a-z][^|;&)]*)", line)
    ]
    for words in map(str.split, used):
        command = all_commands()[words[0]]
        if isinstance(command, TyperGroup) and len(words) > 1 and not words[1].startswith("-"):
            command = command.commands[words[1]]
        options = [[*parameter.opts, *parameter.secondary_opts] for parameter in command.params]
        known = {name for names in options for name in names} | {"--help"}
        own = words[: words.index("--")] if "--" in words else words
        assert {word for word in own if re.match(r"--?[a-z]", word)} <= known, f"fanout {' '.join(words)}"


@every_page
def test_every_python_module_that_a_page_runs_exists(page: Path) -> None:
    modules = {name for line in code_of(page) for name in re.findall(r"python -m ([\w.]+)", line)}
    files = {name: name.replace(".", "/") for name in modules}
    assert not [
        name
        for name, file in files.items()
        if not any((REPOSITORY / each).is_file() for each in (f"{file}.py", f"{file}/__main__.py"))
    ]


def test_every_guarantee_has_code_and_a_test() -> None:
    table = README.read_text().split("| guarantee |")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) >= LEAST_GUARANTEES
    for guarantee, code, test in rows:
        assert re.match(r"\[[\w/.]+\]\(", code), guarantee
        assert re.fullmatch(r"tests/[\w/]+\.py::test_\w+", test), guarantee


def test_the_handler_that_the_readme_shows_is_the_services() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert shown in (REPOSITORY / "services/fraud/service.py").read_text()


def test_every_command_of_a_console_block_is_run_by_a_test() -> None:
    pages = {str(page.relative_to(REPOSITORY)) for page in PAGES if steps_of(page)}
    assert pages == set(RUN_BY)
    for page, file in RUN_BY.items():
        assert Path(page).name in (REPOSITORY / file).read_text()


def test_every_command_of_the_readme_is_on_a_page_that_is_run() -> None:
    run = {step.command for page in RUN_BY for step in steps_of(REPOSITORY / page)}
    (block,) = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert {line.split("#")[0].strip() for line in block.splitlines()} <= run


def test_the_page_of_commands_is_what_help_says() -> None:
    assert commands.PAGE.read_text() == commands.text(), "a help text changed: run make docs"


def test_every_decision_is_in_the_index_with_its_title() -> None:
    folder = REPOSITORY / "docs/decisions"
    files = sorted(folder.glob("[0-9]*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    index = (folder / "README.md").read_text()
    for file in files:
        number, title = file.read_text().splitlines()[0].removeprefix("# ").split(" ", 1)
        assert f"- {number} [{title}]({file.name})" in index
