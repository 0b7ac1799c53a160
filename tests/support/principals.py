"""Customers and operators of tests: their tokens, and the key pair that makes these tokens valid for an app."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import httpx
import psutil
from fastapi import FastAPI

from chassis.http.auth import Principal
from chassis.http.tokens import TokenVerifier
from fanout.running import Addresses
from fanout.tokens import TokenSigner, bearer, public_key, signer

_PREFIX = "fanout-test-key-of-"


def _delete_those_of_killed_processes() -> None:
    """Deletes this user's folders whose name has the pid of a process that is gone: it could not do that itself."""
    for folder in Path(gettempdir()).glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(OSError):  # another process may delete it at the same time
            if pid.isdigit() and not psutil.pid_exists(int(pid)) and folder.stat().st_uid == os.getuid():
                shutil.rmtree(folder)


_delete_those_of_killed_processes()
_folder = TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-")
PRIVATE_KEY = Path(_folder.name) / "token_private_key.pem"
PUBLIC_KEY = public_key(PRIVATE_KEY)

CUSTOMER_ID = "c-1"
SOME_CUSTOMER = Principal(CUSTOMER_ID, "customer")
SOME_OPERATOR = Principal("grace", "operator")


def addresses_of(apis: dict[str, str]) -> Addresses:
    """Returns the addresses of a system that consists of APIs, with the tests' key."""
    return Addresses("", "", {}, apis, {}, token_key=str(PRIVATE_KEY))


SIGNER: TokenSigner = signer(addresses_of({}))
CUSTOMER = bearer(SIGNER.customer(CUSTOMER_ID))
"""The header of a customer whose id is the `customer_id` of sample events."""
OPERATOR = bearer(SIGNER.operator(SOME_OPERATOR.subject))


def principal_of(headers: Mapping[str, str]) -> Principal:
    """Returns who sent a request with these headers. Raises InvalidToken."""
    return TokenVerifier(PUBLIC_KEY).verify(headers["authorization"].removeprefix("Bearer "))


def kept(private_key: str) -> Path:
    """Returns a file with another private key, which is deleted with this process."""
    file = Path(_folder.name) / f"{len(list(Path(_folder.name).iterdir()))}.pem"
    file.write_text(private_key)
    return file


def admit(app: FastAPI) -> None:
    """Gives an app the public key of the tests, so that it accepts the tokens that they sign."""
    app.state.verifier = TokenVerifier(PUBLIC_KEY)


def client_of(app: FastAPI, headers: Mapping[str, str] = CUSTOMER) -> httpx.AsyncClient:
    """Returns a client of an app in this process, by default a customer's. A bug is an answer, not an exception."""
    admit(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)
