"""Rules that a contract must keep beyond its format: it states one fact, says what happened, and names no person."""

import re
from collections.abc import Iterator

from schemas.model import Array, Contract, Field, Nullable, Record, Type
from schemas.problem import Problem
from schemas.secrets import is_secret

LAST_WORD = re.compile(r"[A-Z][a-z0-9]*$")
PAST_TENSE = re.compile(r"[a-z]{2,}ed$|(wn|ken|zen|ught|uilt|tten|olen|osen|allen|iven|idden)$")
IRREGULAR = re.compile(
    "Begun|Bid|Bound|Built|Cut|Dealt|Done|Found|Gone|Held|Hit|Hung|Kept|Laid|Left|Lent|Let|Lost|Made|Meant|Met|Paid|Put"
    "|Read|Risen|Run|Said|Seen|Sent|Set|Shut|Sold|Spent|Split|Spun|Stuck|Swept|Told|Torn|Undone|Won|Worn"
)
NO_VERBS = re.compile("Bed|Embed|Feed|Need|Red|Seed|Shed|Speed|Weed")
SAYS_NOTHING = re.compile("Altered|Changed|Edited|Modified|Refreshed|Saved|Synced|Touched|Updated|Upserted")
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

PERSON = "(customer|buyer|recipient|addressee|holder|cardholder|user|person|contact|owner|employee|sender|payer|payee)"
PERSONAL = re.compile(
    r"(e?mail|(tele)?phone(_number)?|mobile(_number)?|fax|address|street|house_number|zip(_?code)?|post(al)?_?code|birth_?(day|date)|dob"
    r"|date_of_birth|gender|sex|ssn|social_security_number|national_id|tax_(id|number)|passport(_number)?|iban|bic"
    r"|account_number|card_?number|pan|cvv|cvc|ip|ip_address|latitude|longitude|lat|lon|signature|photo_url|login"
    r"|license_plate|surname|nickname|(first|last|full|given|family|maiden|user|sur)_?name|"
    rf"{PERSON}_name|name)(e?s)?"
)
"""Matches what names a person, also after a word such as `delivery_`, but not what is only about it: `address_id`."""
PERSONAL_DOC = re.compile(
    rf"\b({PERSON}('s|s') |(his|her|their) |of (the|a) {PERSON}\b.*)(e-?mail|phone|mobile|name\b|address|birth)"
    rf"|\b(e-?mails?|phone( number)?|name|address|birthday)( address)? of (the|a|its) {PERSON}\b",
    re.IGNORECASE,
)
NEARLY_SECRET = re.compile(
    r"(^|_)(otp|pin|passcode|passphrase|credentials?)$|(^|_)(api|access|private)_?keys?$"
    r"|[a-z](token|secret|password)s?$|(token|secret|password)s?_?\d+$"
)
"""Matches names of secrets that would not be masked (secrets.py)."""


def problems(contract: Contract, file: str) -> Iterator[Problem]:
    """Yields what the contract breaks of the rules of this module."""
    name = contract.record.name
    word = _last_word(name)
    if SAYS_NOTHING.fullmatch(word):
        yield Problem(
            file,
            name,
            "the name does not say what happened",
            "publish one event for each thing that can happen to it, such as OrderCancelled",
        )
    elif (
        name == word or NO_VERBS.fullmatch(word) or not (IRREGULAR.fullmatch(word) or PAST_TENSE.search(word))
    ):
        yield Problem(
            file,
            name,
            "an event is a fact",
            "name what happened to what, in the past tense, such as OrderPlaced",
        )
    if is_secret(contract.key):
        yield Problem(
            file, f"{name}.{contract.key}", "a key is shown everywhere", "a secret cannot be the key"
        )
    yield from _of_record(contract.record, name, contract, file)


def _of_record(record: Record, path: str, contract: Contract, file: str) -> Iterator[Problem]:
    if PERSONAL_DOC.search(record.doc):
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
        if _names_a_person(field.name) or any(
            map(PERSONAL_DOC.search, (field.doc, getattr(inner, "doc", "")))
        ):
            yield _personal(file, where)
        if not is_secret(field.name) and (
            NEARLY_SECRET.search(field.name) or any(map(is_secret, field.aliases))
        ):
            yield Problem(
                file,
                where,
                "a secret would not be masked",
                "let its name end in _token, _secret or _password",
            )
        if isinstance(inner, Record):
            yield from _of_record(inner, where + brackets, contract, file)


def _last_word(name: str) -> str:
    match = LAST_WORD.search(name)
    return match[0] if match else name


def _names_a_person(field: str) -> bool:
    """Returns True for `email`, `delivery_address` and `customer_name`, but not for `product_name` or `address_id`."""
    if field.startswith(("is_", "has_", "was_")):
        return False
    parts = field.split("_")
    ends = ("_".join(parts[start:]) for start in range(len(parts)))
    return any(PERSONAL.fullmatch(end) and (end != "name" or len(parts) == 1) for end in ends)


def _is_whole_state(field: Field, inner: Type, contract: Contract) -> bool:
    if not isinstance(inner, Record):
        return False
    aggregate = contract.version_field.removesuffix("_version").replace("_", "")
    return field.name in STATES or inner.name.lower() in (aggregate, f"{aggregate}state")


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
