"""The OpenAPI document of each service with HTTP, as its app makes it; no server or database is needed."""

import importlib
import json
from typing import Any

from fanout.repository import services_with_api


def documents() -> dict[str, dict[str, Any]]:
    """Returns the documents by service."""
    return {
        name: importlib.import_module(f"services.{name}.api").app.openapi()
        for name in sorted(services_with_api())
    }


def to_json(openapi: dict[str, Any]) -> str:
    return json.dumps(openapi, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
