"""What `fanout schemas` needs besides schemas/: the base commit, the owners of topics, and the live registry.

It also keeps these commands working while the generated code of schemas/ cannot be imported, for instance with the
marks of a merge conflict in it: `fanout schemas generate` is what repairs it.
"""

import sys
from types import ModuleType

from fanout.repository import REPOSITORY

BROKEN: Exception | None = None
"""Why the generated code cannot be imported."""

try:
    import schemas as _schemas  # noqa: F401
except Exception as error:
    BROKEN = error
    for name in [name for name in sys.modules if name.partition(".")[0] == "schemas"]:
        del sys.modules[name]
    without_generated_code = ModuleType("schemas")
    without_generated_code.__path__ = [str(REPOSITORY / "schemas")]
    sys.modules["schemas"] = without_generated_code
    from schemas.event import Event

    without_generated_code.__dict__.update(EVENTS=(), Event=Event)
