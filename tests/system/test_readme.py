"""The README's walk, command by command, in a fresh home beside the running stack: what it shows is what it does."""

import doctest
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import REPOSITORY, free_base

README = (REPOSITORY / "README.md").read_text()
SEPARATOR = "\x1e"
ROW_LIMIT = 200


def walk() -> list[tuple[str, str]]:
    """Each command of the console blocks, with the output shown for it."""
    steps: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = step.splitlines()
            said = next((n for n, line in enumerate(lines) if n and not line.startswith("> ")), len(lines))
            steps.append(
                ("\n".join([lines[0], *(line[2:] for line in lines[1:said])]), "\n".join(lines[said:]))
            )
    return steps


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    settings = {"FANOUT_HOME": str(tmp_path / "home"), "FANOUT_PORT_BASE": str(free_base()), "COLUMNS": "120"}
    environment = os.environ | settings
    yield environment
    (REPOSITORY / "whole.json").unlink(missing_ok=True)
    subprocess.run([".venv/bin/fanout", "down", "--wipe"], cwd=REPOSITORY, env=environment, check=True)
    assert not (tmp_path / "home").exists()


@pytest.mark.timeout(400)
def test_the_walk_does_what_it_shows(environment: dict[str, str]) -> None:
    steps = walk()
    ports = f"localhost:{int(environment['FANOUT_PORT_BASE']) // 100}"
    commands = [command.replace("localhost:80", ports) for command, _ in steps]
    script = "\n".join(f"{command}\nprintf '{SEPARATOR}%s{SEPARATOR}' $?" for command in commands)
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=390,
        check=False,
    )
    *said, rest = done.stdout.split(SEPARATOR)
    assert not rest.strip()
    compare = doctest.OutputChecker().check_output
    for (command, shown), output, status in zip(steps, said[::2], said[1::2], strict=True):
        assert status == "0", f"$ {command}\n{output}"
        if shown:
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert compare(shown + "\n", output.rstrip() + "\n", options), f"$ {command}\n{output}"


def test_every_file_the_readme_points_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links and not [link for link in links if not (REPOSITORY / link).exists()]


def test_every_make_target_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)\b", README)) <= targets


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= ROW_LIMIT
