"""Databases with a service's tables and none of its processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from sqlalchemy.engine import make_url

from chassis.migrations import migrate
from chassis.service import load
from fanout.local.stack_directory import current
from fanout.running import Addresses
from tests.support.databases import administer, named_url


@asynccontextmanager
async def scratch(addresses: Addresses, service: str) -> AsyncIterator[str]:
    """The URL for asyncpg, as superuser; the database is dropped at the end."""
    name = f"benchmark_{service}_{uuid4().hex[:8]}"
    server = make_url(addresses.databases[service]).set(
        username="postgres", password=current().passwords(["postgres"])["postgres"], database="postgres"
    )
    await administer(server, f"CREATE DATABASE {name}")
    try:
        await migrate(load(service), named_url(server, name))
        yield named_url(server.set(drivername="postgresql"), name)
    finally:
        await administer(server, f"DROP DATABASE {name} WITH (FORCE)")
