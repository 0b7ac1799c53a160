"""Verifies bearer tokens: JWTs (RFC 7519) signed with Ed25519. An API process has the public key only.

So no API can make a token, and none can turn a customer into an operator.
"""

import base64
import binascii
import re
import time
from dataclasses import dataclass
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

ALGORITHM = "EdDSA"
ISSUER = "fanout"
AUDIENCE = "fanout-apis"
CLAIMS = ("sub", "role", "iss", "aud", "iat", "exp")
LEEWAY_SECONDS = 5
"""By so much the clock of who signs may differ from the clock of who verifies."""
LONGEST_TOKEN = 4_096
MOST_REMEMBERED = 10_000
SUBJECTS = {
    "customer": re.compile(r"[A-Za-z0-9_-]{1,64}"),
    "operator": re.compile(r"[^\x00-\x1f\x7f]{1,200}"),
}
"""By role, what a subject looks like. A customer's is a customer id, an operator's a name as people write it."""

Role = Literal["customer", "operator"]


class InvalidToken(Exception):
    """A token proves nothing; the message says why."""


class UnusableKey(Exception):
    """The public key is missing, or is no Ed25519 key."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request, by a verified token."""

    subject: str
    role: Role

    @property
    def is_operator(self) -> bool:
        return self.role == "operator"

    @property
    def name(self) -> str:
        """Returns `customer:ada`, which is somebody else than `operator:ada`."""
        return f"{self.role}:{self.subject}"

    def may_act_for(self, customer_id: str) -> bool:
        """Returns True for the customer, and for each operator."""
        return self.is_operator or self.subject == customer_id


class TokenVerifier:
    """Remembers the latest `MOST_REMEMBERED` valid tokens until they expire, since a signature costs some 100 µs."""

    def __init__(self, public_key: str) -> None:
        """Takes the key as settings have it (`Settings.token_public_key`). Raises UnusableKey."""
        self._key = _load(public_key)
        self._remembered: dict[str, tuple[Principal, float]] = {}

    def verify(self, token: str) -> Principal:
        """Raises InvalidToken."""
        if (known := self._remembered.get(token)) and time.time() < known[1] + LEEWAY_SECONDS:
            return known[0]
        claims = self._claims(token)
        principal = _principal(claims)
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[token] = principal, float(claims["exp"])
        return principal

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST_TOKEN:
            raise InvalidToken("The token is malformed.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                leeway=LEEWAY_SECONDS,
                options={"require": list(CLAIMS)},
            )
        except jwt.ExpiredSignatureError as error:
            raise InvalidToken("The token has expired: take a new one.") from error
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
            raise InvalidToken("The token is not signed with this system's key.") from error
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError) as error:
            raise InvalidToken("The token is for another system.") from error
        except jwt.MissingRequiredClaimError as error:
            raise InvalidToken(f"The token has no {error.claim}.") from error
        except jwt.ImmatureSignatureError as error:
            raise InvalidToken("The token is not valid yet: the clock of who made it is ahead.") from error
        except jwt.PyJWTError as error:
            raise InvalidToken("The token is malformed.") from error
        return claims


def _principal(claims: dict[str, Any]) -> Principal:
    role, subject = claims["role"], claims["sub"]
    if role not in ("customer", "operator") or not SUBJECTS[role].fullmatch(subject):
        raise InvalidToken("The token names neither a customer nor an operator.")
    return Principal(subject, role)


def _load(public_key: str) -> Ed25519PublicKey:
    if not public_key:
        raise UnusableKey("set FANOUT_TOKEN_PUBLIC_KEY, without which no token can be verified")
    try:
        key = load_der_public_key(base64.b64decode(public_key, validate=True))
    except (binascii.Error, ValueError) as error:
        raise UnusableKey(
            "FANOUT_TOKEN_PUBLIC_KEY is no public key in base64: fanout up writes it"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UnusableKey("FANOUT_TOKEN_PUBLIC_KEY is a key of another kind than Ed25519")
    return key
