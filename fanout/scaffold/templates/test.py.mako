"""${title} stores a redelivered event once, on a real Postgres."""

${imports("schemas", events)}
from services.${name}.service import service
${imports(f"services.{name}.tables", tables)}
from tests.support.handling import example, handle, rows
from tests.support.stack_fixtures import NewDatabase
% for row in rows:


async def test_the_same_${row.words}_twice_is_one_row(new_database: NewDatabase) -> None:
    database, event = await new_database("${name}"), example(${row.event})
    await handle(service, database, event)
    await handle(service, database, event)
    assert [row.${row.key} for row in await rows(database, ${row.table})] == [event.key]
% endfor
