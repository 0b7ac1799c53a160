"""`fanout check`: compares what the migrations create with the tables in the code, on a temporary Postgres."""

import asyncio

import typer

from fanout.console import say
from fanout.local.ports import HOST, Ports
from fanout.local.temporary_postgres import PASSWORD, temporary_postgres, until_ready
from fanout.provision.databases import superuser
from fanout.repository import services


def command() -> None:
    """Run every migration on an empty database and compare the result with the declared tables (alembic check).

    Exit code 1 if they differ.

    Example: fanout check
    """
    with temporary_postgres() as ports:
        found = asyncio.run(differences(ports))
    for service, difference in found:
        say(f"{service}: migrations and tables disagree: {difference}")
    if found:
        raise typer.Exit(1)
    say(f"migrations and tables agree: {', '.join(services())}")


async def differences(ports: Ports) -> list[tuple[str, object]]:
    from chassis import migrations
    from chassis.service import load

    found: list[tuple[str, object]] = []
    await until_ready(ports)
    async with superuser(ports.postgres, PASSWORD) as db:
        for name in services():
            await db.execute(f"CREATE DATABASE {name}")
            url = f"postgresql+asyncpg://postgres:{PASSWORD}@{HOST}:{ports.postgres}/{name}"
            await migrations.migrate(load(name), url)
            found += [(name, difference) for difference in await migrations.differences(load(name), url)]
    return found
