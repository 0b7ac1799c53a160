"""`python launch.py NAME`, run in the stack directory: becomes the process NAME that processes.json describes.

Supervisor starts every process so, because its configuration cannot hold every path: ` #` and ` ;` end a value there,
and % and quotes mean something. Imports nothing of ours: it runs before the process knows where our code is.
"""

import json
import os
import sys
from pathlib import Path

FILE = "processes.json"
SETTINGS = ("FANOUT_PYTHON", "FANOUT_LAUNCH", "FANOUT_DESCRIBED")
COMMAND = 'exec "$FANOUT_PYTHON" -I -S "$FANOUT_LAUNCH" '
"""Run by a shell, so that neither path is in supervisor's configuration."""


def main() -> None:
    described = json.loads(Path(FILE).read_text(encoding="ascii"))[sys.argv[1]]
    inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    os.chdir(described["folder"])
    os.execvpe(described["command"][0], described["command"], inherited | described["environment"])


if __name__ == "__main__":
    main()
