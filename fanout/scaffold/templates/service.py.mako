"""${title} stores a row for each event it receives. Edit it as you like.

A read model: `fanout replay ${name} --rebuild` fills its tables anew.
"""

from collections.abc import Sequence

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.service import Service
${imports("schemas", events)}
${imports(f"services.{name}.tables", ["metadata", *tables])}

service = Service("${name}", metadata, read_model=True)
% for row in rows:


@service.on(${row.event})
async def store_${row.table}(events: Sequence[${row.event}], db: AsyncConnection) -> None:
    """Stores a row per event; each is new to this service, and the chassis commits the transaction."""
    rows = [
        {
% for column in row.columns:
            "${column}": event.${column},
% endfor
            "occurred_at": event.time,
        }
        for event in events
    ]
    await db.execute(insert(${row.table}), rows)
% endfor
