"""The console blocks of a Markdown page, run in order by one shell and compared; and its diffs, applied in between."""

import doctest
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SEPARATOR = "\x1e"


@dataclass(frozen=True, slots=True)
class Step:
    """A command and the output that the page shows for it; `...` in the output stands for anything."""

    command: str
    shown: str


def steps_of(page: Path) -> list[Step]:
    """Returns the commands of a page in their order; a diff is a step that applies it."""
    steps: list[Step] = []
    for kind, block in re.findall(r"```(console|diff)\n(.*?)```", page.read_text(), re.DOTALL):
        if kind == "diff":
            steps.append(Step(f"git apply <<'END OF DIFF'\n{block}END OF DIFF", ""))
            continue
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *lines = step.splitlines()
            continued = next((n for n, line in enumerate(lines) if not line.startswith("> ")), len(lines))
            command = "\n".join([first, *(line[2:] for line in lines[:continued])])
            steps.append(Step(command, "\n".join(lines[continued:])))
    return steps


def does_what_it_shows(
    steps: list[Step], folder: Path, environment: Mapping[str, str], seconds: float
) -> None:
    """Runs the commands in one shell; each must succeed and print what is shown, if anything is."""
    script = "\n".join(f"{step.command}\nprintf '{SEPARATOR}%s{SEPARATOR}' $?" for step in steps)
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=seconds,
        check=False,
    )
    *printed, rest = done.stdout.split(SEPARATOR)
    assert not rest.strip()
    differing = [
        f"$ {step.command}\n{output}[exit code {status}]"
        for step, output, status in zip(steps, printed[::2], printed[1::2], strict=True)
        if status != "0" or not _is_shown(step.shown, output)
    ]
    assert not differing, "\n".join(differing)


def _is_shown(shown: str, output: str) -> bool:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return not shown or doctest.OutputChecker().check_output(shown + "\n", output.rstrip() + "\n", options)
