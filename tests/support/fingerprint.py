"""A hash of everything a service knows: all rows of its own tables, in an order of their own."""

import hashlib

import asyncpg

from chassis.service import load


async def fingerprint(connection: asyncpg.Connection, service: str) -> str:
    found = hashlib.sha256()
    for table in load(service).metadata.sorted_tables:
        rows = await connection.fetch(f'SELECT t::text FROM "{table.name}" AS t ORDER BY t::text COLLATE "C"')
        found.update(f"{table.name} {len(rows)}\n".encode())
        for (row,) in rows:
            found.update(f"{row}\n".encode())
    return found.hexdigest()
