"""What the tool and the processes that it starts see of the user's environment: settings meant for others do nothing.

A proxy, a variable of libpq or an option for every JVM is meant for the internet, for another server or for another
program. Processes of the stack get the few variables of PASSED_ON and their own. The tool itself drops FOREIGN when it
starts, and uses proxies and certificates for downloads only.
"""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),  # a Python that was built by its user may need them
)
FIXED = {
    "LC_ALL": "C.UTF-8",  # Java opens no path with a letter beyond ASCII under C or POSIX
    "PYTHONUTF8": "1",
}
FOR_DOWNLOADS = (
    *(
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
    ),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
LIBPQ = "PG"
"""asyncpg reads PGSSLMODE, PGPASSFILE and others, whatever address it is given."""

_dropped: dict[str, str] = {}


def for_process(more: dict[str, str]) -> dict[str, str]:
    """Returns what a process of the stack gets: a few of our variables, and `more`."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | FIXED | more


def user_name() -> str:
    """Returns the name of the user, or his number if he has no entry in /etc/passwd, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # KeyError before Python 3.13
        return f"uid {os.getuid()}"


def drop_foreign() -> None:
    """Removes the variables of proxies, certificates and libpq from this process; `while_downloading` has the first."""
    for name in [name for name in os.environ if name in FOR_DOWNLOADS or name.startswith(LIBPQ)]:
        _dropped[name] = os.environ.pop(name)


def dropped() -> dict[str, str]:
    """Returns the variables that were removed from this process."""
    return dict(_dropped)


@contextmanager
def while_downloading() -> Iterator[None]:
    """Puts the user's proxies and certificates back for as long as files of the internet are fetched."""
    given = {name: value for name, value in _dropped.items() if name in FOR_DOWNLOADS}
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            os.environ.pop(name, None)
