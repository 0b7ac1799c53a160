"""Makes tokens for customers and operators. The private key is the tool's; API processes have the public one only."""

import base64
from pathlib import Path
from time import time

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from chassis.http.tokens import ALGORITHM, AUDIENCE, ISSUER, SUBJECTS, Role
from fanout.environment import user_name
from fanout.errors import BadUsage, FanoutError
from fanout.local.stack_directory import write_private
from fanout.running import Addresses

VALID_SECONDS = 12 * 3600.0
LOOKS = {"customer": "1 to 64 of A-Z, a-z, 0-9, _ and -", "operator": "1 to 200 characters in one line"}


class TokenSigner:
    """Signs each subject's token once, and again when half of its time is over: a signature costs some 100 µs."""

    def __init__(self, private_key: Path) -> None:
        """Raises FanoutError if the key cannot be read."""
        self._key = _read(private_key)
        self._signed: dict[tuple[Role, str], tuple[str, float]] = {}

    def customer(self, customer_id: str) -> str:
        return self._reused("customer", customer_id)

    def operator(self, name: str | None = None) -> str:
        """Returns the token of an operator, by default with the name of this login."""
        return self._reused("operator", name or user_name())

    def sign(self, role: Role, subject: str, seconds: float = VALID_SECONDS) -> str:
        """Returns a token that is valid from now on for so many seconds. Raises BadUsage for an odd subject."""
        if not SUBJECTS[role].fullmatch(subject):
            raise BadUsage(f"{subject!r} cannot be the name of {_a(role)}: {LOOKS[role]}")
        now = int(time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "role": role, "iat": now}
        return jwt.encode(claims | {"exp": now + int(seconds)}, self._key, ALGORITHM)

    def _reused(self, role: Role, subject: str) -> str:
        token, renewed_at = self._signed.get((role, subject), ("", 0.0))
        if time() > renewed_at:
            token, renewed_at = self.sign(role, subject), time() + VALID_SECONDS / 2
            self._signed[role, subject] = token, renewed_at
        return token


def signer(addresses: Addresses) -> TokenSigner:
    """Returns the signer of the running system. Raises FanoutError if its private key cannot be read."""
    if not addresses.token_key:
        raise FanoutError("this stack was started before there were tokens: fanout down, then fanout up")
    return TokenSigner(Path(addresses.token_key))


def bearer(token: str) -> dict[str, str]:
    """Returns the header by which a request carries a token."""
    return {"Authorization": f"Bearer {token}"}


def public_key(private_key: Path) -> str:
    """Returns the public key as `FANOUT_TOKEN_PUBLIC_KEY` wants it; makes the pair first if there is none."""
    if not private_key.exists():
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(private_key, made.decode())
    public = _read(private_key).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _read(file: Path) -> Ed25519PrivateKey:
    remedy = "fanout down, delete it, then fanout up (containers: docker compose up secrets writes it)"
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except OSError as error:
        raise FanoutError(f"the key {file} cannot be read ({error.strerror}): {remedy}") from error
    except (ValueError, TypeError) as error:
        raise FanoutError(f"{file} is no private key: {remedy}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FanoutError(f"{file} is a key of another kind than Ed25519: {remedy}")
    return key


def _a(role: Role) -> str:
    return "a customer" if role == "customer" else "an operator"
