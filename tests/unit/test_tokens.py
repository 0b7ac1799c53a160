"""A token proves who sends a request, or nothing at all; only the tool can make one."""

import json
import os
import signal
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from time import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from chassis.http import tokens
from chassis.http.tokens import LEEWAY_SECONDS, InvalidToken, Principal, TokenVerifier, UnusableKey
from fanout.cli import _app
from fanout.commands import token as token_command
from fanout.errors import BadUsage, FanoutError
from fanout.tokens import TokenSigner, public_key
from tests.support.principals import PRIVATE_KEY, PUBLIC_KEY, SIGNER, addresses_of
from tests.support.stack import REPOSITORY

KEY = load_pem_private_key(PRIVATE_KEY.read_bytes(), None)
CLAIMS: dict[str, Any] = {"iss": "fanout", "aud": "fanout-apis", "sub": "ada", "role": "customer"}


def signed(key: Any = KEY, algorithm: str = "EdDSA", **changes: Any) -> str:
    """Returns a token that is valid but for the changes; None leaves a claim out."""
    claims = CLAIMS | {"iat": int(time()), "exp": int(time()) + 3600} | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm)


EXPIRED = signed(exp=int(time()) - LEEWAY_SECONDS - 1)
FORGED = signed(Ed25519PrivateKey.generate())
UNSIGNED = signed(None, "none")
FOR_ANOTHER_SYSTEM = signed(aud="another-system")


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(PUBLIC_KEY)


def test_a_token_of_the_tool_names_its_subject_and_role(verifier: TokenVerifier) -> None:
    assert verifier.verify(SIGNER.customer("ada")) == Principal("ada", "customer")
    assert verifier.verify(SIGNER.operator("Ada Lovelace")) == Principal("Ada Lovelace", "operator")


def with_payload(token: str, **changes: Any) -> str:
    """Returns the token with other claims under the old signature."""
    head, _, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    return f"{head}.{urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.{signature}"


def deep(levels: int) -> str:
    return f"{urlsafe_b64encode(b'[' * levels).decode()}.e30.AAAA"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (EXPIRED, "has expired"),
        (FORGED, "not signed with this system's key"),
        (UNSIGNED, "not signed with this system's key"),
        (FOR_ANOTHER_SYSTEM, "for another system"),
        (signed(iss="somebody"), "for another system"),
        (signed(PUBLIC_KEY, "HS256"), "not signed with this system's key"),
        (with_payload(signed(), role="operator"), "not signed with this system's key"),
        (with_payload(signed(), sub="bob"), "not signed with this system's key"),
        (signed(exp=None), "has no exp"),
        (signed(iat=None), "has no iat"),
        (signed(sub=None), "has no sub"),
        (signed(aud=None), "has no aud"),
        (signed(iss=None), "has no iss"),
        (signed(role=None), "has no role"),
        (signed(role="admin"), "neither a customer nor an operator"),
        (signed(role=["operator"]), "neither a customer nor an operator"),
        (signed(sub=""), "neither a customer nor an operator"),
        (signed(sub="x" * 65), "neither a customer nor an operator"),
        (signed(sub="ada\n"), "neither a customer nor an operator"),
        (signed(sub="zoë"), "neither a customer nor an operator"),
        (signed(sub="a\nb", role="operator"), "neither a customer nor an operator"),
        (signed(iat=int(time()) + 600), "not valid yet"),
        (signed(exp="tomorrow"), "malformed"),
        (signed(note="x" * 4_096), "malformed"),
        ("", "malformed"),
        ("a.b.c", "malformed"),
        (deep(3_000), "malformed"),
    ],
)
def test_a_token_that_proves_nothing_is_refused_with_the_reason(
    verifier: TokenVerifier, token: str, reason: str
) -> None:
    with pytest.raises(InvalidToken, match=reason):
        verifier.verify(token)


@given(st.text() | st.lists(st.text(alphabet="AZaz09_-=+/", max_size=40), max_size=5).map(".".join))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        TokenVerifier(PUBLIC_KEY).verify(text)


def test_a_clock_that_differs_by_a_little_is_no_reason(verifier: TokenVerifier) -> None:
    now = int(time())
    assert verifier.verify(signed(iat=now + 3, exp=now + 60)).subject == "ada"
    assert verifier.verify(signed(exp=now - 3)).subject == "ada"


def test_a_token_is_verified_once_until_it_expires(
    verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, decoded, real = signed(exp=int(time()) + 60), [], jwt.decode

    def decode(*arguments: Any, **options: Any) -> Any:
        decoded.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr("jwt.decode", decode)
    for _ in range(3):
        verifier.verify(token)
    assert len(decoded) == 1
    monkeypatch.setattr(
        "chassis.http.tokens.time", SimpleNamespace(time=lambda: time() + 60 + LEEWAY_SECONDS)
    )
    verifier.verify(token)
    assert len(decoded) == 2


def test_refused_tokens_are_not_remembered_and_of_the_others_a_bounded_number(
    verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_REMEMBERED", 10)
    for number in range(30):
        verifier.verify(SIGNER.customer(f"customer-{number}"))
        with pytest.raises(InvalidToken):
            verifier.verify(f"{FORGED}{number}")
    assert len(verifier._remembered) == 10


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("", "set FANOUT_TOKEN_PUBLIC_KEY, without which no token can be verified"),
        ("nonsense", "FANOUT_TOKEN_PUBLIC_KEY is no public key in base64"),
        ("-----BEGIN PUBLIC KEY-----", "FANOUT_TOKEN_PUBLIC_KEY is no public key in base64"),
        # P-256
        (
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8"
            "D54WK84zV2sxXs7LtkBoN79R9Q==",
            "of another kind than Ed25519",
        ),
    ],
)
def test_an_api_without_a_usable_key_does_not_start_and_says_so_in_one_sentence(
    key: str, sentence: str
) -> None:
    with pytest.raises(UnusableKey, match=sentence):
        TokenVerifier(key)
    settings = {
        "FANOUT_DATABASE_URL": "postgresql+asyncpg://a:b@127.0.0.1:9/c",
        "FANOUT_TOKEN_PUBLIC_KEY": key,
    }
    done = subprocess.run(
        [sys.executable, "-m", "chassis", "api", "orders"],
        cwd=REPOSITORY,
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert sentence in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_private_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    made = public_key(file)
    assert public_key(file) == made != PUBLIC_KEY
    assert file.stat().st_mode & 0o777 == 0o600
    assert TokenVerifier(made).verify(TokenSigner(file).customer("ada")).subject == "ada"


@pytest.mark.parametrize("text", [None, "", "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"])
def test_a_private_key_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "key.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(FanoutError, match=r"key\.pem .*delete it, then fanout up"):
        TokenSigner(file)


def test_the_tool_signs_once_for_each_subject_and_anew_when_half_of_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signer = TokenSigner(PRIVATE_KEY)
    first = signer.customer("ada")
    assert signer.customer("ada") is first
    monkeypatch.setattr("fanout.tokens.time", lambda: time() + 7 * 3600)
    assert signer.customer("ada") != first


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_command, "running", lambda: addresses_of({}))


def printed(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(_app(["token"]), ["token", *arguments])
    assert done.exit_code == 0, done
    token = done.stdout.strip()
    TokenVerifier(PUBLIC_KEY).verify(token)
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


@pytest.mark.usefixtures("running")
def test_the_command_prints_a_token_for_a_customer_or_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    customer, operator, named = (
        printed("ada"),
        printed("--operator"),
        printed("--operator", "Ada L.", "--for", "30m"),
    )
    assert (customer["role"], customer["sub"]) == ("customer", "ada")
    assert (operator["role"], operator["sub"]) == ("operator", "grace")
    assert (named["role"], named["sub"]) == ("operator", "Ada L.")
    assert customer["exp"] - customer["iat"] == 12 * 3600
    assert named["exp"] - named["iat"] == 30 * 60


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["zoë"],
        ["ada lovelace"],
        ["ada", "--for", "0"],
        ["ada", "--for", "721h"],
        ["ada", "--for", "9" * 400],
        ["--operator", "a\nb"],
    ],
)
def test_a_token_for_nobody_or_for_no_time_is_refused_in_a_sentence(arguments: list[str]) -> None:
    done = CliRunner().invoke(_app(["token"]), ["token", *arguments])
    no_span = done.exit_code == 2 and "Invalid value for '--for'" in done.output
    assert isinstance(done.exception, BadUsage) or no_span, done


def test_the_key_of_a_killed_test_process_is_deleted_by_the_next(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    program = "import tests.support.principals, os, signal; os.kill(os.getpid(), signal.{signal})"
    for number in (signal.SIGKILL, signal.SIGCONT):
        subprocess.run(
            [sys.executable, "-c", program.format(signal=number.name)], cwd=REPOSITORY, env=environment
        )
        left = list(tmp_path.glob("fanout-test-key-*"))
        assert len(left) == (1 if number == signal.SIGKILL else 0), left
