"""Where this repository is, and the services found in it."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FIRST_APIS = ["orders", "payments"]


def services() -> list[str]:
    """Every folder under services/ that has a service.py."""
    return sorted(file.parent.name for file in (REPOSITORY / "services").glob("*/service.py"))


def services_with_api() -> list[str]:
    """In the order in which a new stack directory assigns ports; the README names the ports of the first two."""
    found = {name for name in services() if (REPOSITORY / "services" / name / "api.py").exists()}
    return [name for name in FIRST_APIS if name in found] + sorted(found.difference(FIRST_APIS))
