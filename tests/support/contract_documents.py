"""The committed AsyncAPI document, and AsyncAPI's own JSON Schema to judge it by."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator, FormatChecker

from tests.support.stack import REPOSITORY

DOCS = REPOSITORY / "docs"
PUBLISHED = Path(__file__).with_name("asyncapi") / "3.1.0.json.gz"


def read_document() -> dict[str, Any]:
    """Returns docs/asyncapi.yaml, a new copy each time."""
    document: dict[str, Any] = json.loads(_as_json())
    return document


@cache
def _as_json() -> str:
    return json.dumps(yaml.safe_load((DOCS / "asyncapi.yaml").read_text()))


def errors_of(document: Any) -> list[str]:
    """Returns what AsyncAPI's schema says against a document."""
    return [error.message for error in _validator().iter_errors(document)]


@cache
def _validator() -> Any:
    return Draft7Validator(json.loads(gzip.decompress(PUBLISHED.read_bytes())))


def header_errors(document: dict[str, Any], message: str, headers: dict[str, str]) -> list[str]:
    """Returns what the message's schema of headers says against these."""
    schema = {**document["components"]["messages"][message]["headers"], "components": document["components"]}
    validator = Draft7Validator(schema, format_checker=FormatChecker())
    return [error.message for error in validator.iter_errors(headers)]
