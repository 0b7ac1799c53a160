"""Rules that a contract must keep beyond its format: it states one fact, says what happened, and names no person."""

import re
from collections.abc import Iterator

from schemas.model import Array, Contract, Field, Nullable, Record, Type
from schemas.problem import Problem

PAST_TENSE = re.compile(
    r"(ed|Begun|Bought|Broken|Built|Chosen|Cut|Found|Given|Held|Kept|Left|Lent|Lost|Made|Met|Paid|Put|Sent|Set|Sold"
    r"|Spent|Split|Taken|Won|Withdrawn|Written)$"
)
SAYS_NOTHING = re.compile(r"(Updated|Changed|Modified|Edited|Altered|Saved|Upserted|Touched|Synced)$")
STATES = {
    "after",
    "aggregate",
    "before",
    "body",
    "changes",
    "data",
    "diff",
    "entity",
    "patch",
    "payload",
    "snapshot",
}
"""Names of records that are a state, or a part of one, and leave the reader to find out what happened."""
PERSONAL_NAMES = re.compile(
    r"(^|_)(e?mail|phone|mobile|fax|address|street|city|zip|postcode|postal|birth\w*|birthday|gender|iban|ssn|passport"
    r"|tax_id|ip|latitude|longitude|(first|last|full|given|family|customer|user|person|contact|recipient)_?name|name"
    r"|card_number|pan|cvv|cvc|password)(_|$)"
)
PERSONAL_DOCS = re.compile(
    r"\b(e-?mail|phone|postal|street|birth|gender|iban|passport|ip address|card number"
    r"|(first|last|full|given|family) name|name of (the|a) (customer|person|recipient))\b",
    re.IGNORECASE,
)
ADDRESS = re.compile(r"\baddress(es)?\b", re.IGNORECASE)


def problems(contract: Contract, file: str) -> Iterator[Problem]:
    """Yields what the contract breaks of the rules of this module."""
    name = contract.record.name
    if SAYS_NOTHING.search(name):
        yield Problem(
            file,
            name,
            "the name does not say what happened",
            "publish one event for each thing that can happen to it, such as OrderCancelled",
        )
    elif not PAST_TENSE.search(name):
        yield Problem(file, name, "an event is a fact", "name it in the past tense, such as OrderPlaced")
    yield from _of_fields(contract.record, name, contract, file)


def _of_fields(record: Record, path: str, contract: Contract, file: str) -> Iterator[Problem]:
    if PERSONAL_DOCS.search(record.doc) or ADDRESS.search(record.doc):
        yield _personal(file, path)
    for field in record.fields:
        where = f"{path}.{field.name}"
        inner, brackets = _innermost(field.type)
        if _is_whole_state(field, inner, contract):
            yield Problem(
                file,
                where,
                "the state of an aggregate does not say what happened to it",
                "carry what this fact made known, and name the event by it",
            )
        if PERSONAL_NAMES.search(field.name) or PERSONAL_DOCS.search(field.doc) or ADDRESS.search(field.doc):
            yield _personal(file, where)
        if isinstance(inner, Record):
            yield from _of_fields(inner, where + brackets, contract, file)


def _is_whole_state(field: Field, inner: Type, contract: Contract) -> bool:
    if not isinstance(inner, Record):
        return False
    aggregate = contract.version_field.removesuffix("_version").replace("_", "")
    return field.name in STATES or inner.name.lower() == aggregate


def _personal(file: str, path: str) -> Problem:
    return Problem(
        file,
        path,
        "personal data cannot be taken back from a topic",
        "carry an opaque id such as customer_id, and keep the data in its owner's database",
    )


def _innermost(kind: Type) -> tuple[Type, str]:
    """Returns the type inside arrays and nullable types, and `[]` for each array."""
    match kind:
        case Array(items):
            inner, brackets = _innermost(items)
            return inner, f"[]{brackets}"
        case Nullable(inner):
            return _innermost(inner)
        case _:
            return kind, ""
