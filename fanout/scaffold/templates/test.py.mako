"""${title} stores a redelivered event once, and shows it to operators."""

${imports("schemas", events)}
from services.${name}.api import app
from services.${name}.service import service
${imports(f"services.{name}.tables", tables)}
from tests.support.handling import example, handle, rows
from tests.support.principals import OPERATOR, client_of
from tests.support.stack_fixtures import NewDatabase
% for row in rows:


async def test_the_same_${row.words}_twice_is_one_row(new_database: NewDatabase) -> None:
    database, event = await new_database("${name}"), example(${row.event})
    await handle(service, database, event)
    await handle(service, database, event)
    assert [row.${row.key} for row in await rows(database, ${row.table})] == [event.key]


async def test_the_api_shows_${row.table}_to_operators_only(new_database: NewDatabase) -> None:
    database, event = await new_database("${name}"), example(${row.event})
    await handle(service, database, event)
    app.state.database = database
    async with client_of(app, OPERATOR) as operator, client_of(app) as customer:
        shown, refused = await operator.get("/${row.path}"), await customer.get("/${row.path}")
    assert [row["${row.key}"] for row in shown.json()] == [event.key]
    assert refused.status_code == 403
% endfor
