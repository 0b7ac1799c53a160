"""Every API does what its OpenAPI document says: schemathesis with all its checks finds nothing to object to."""

from pathlib import Path

import pytest

from fanout.repository import services_with_api
from tests.integration.conftest import NewDatabase
from tests.support.conformance import SERVICES, check

EXAMPLES = {"orders": 60, "payments": 250, "dead_letters": 40, "analytics": 250}
OF_ANY_OTHER = 60
SEED = 19
LEAST_CASES = 500


def test_every_api_that_needs_preparation_has_it() -> None:
    assert set(services_with_api()) >= set(SERVICES) == set(EXAMPLES)


@pytest.mark.parametrize("service", services_with_api())
async def test_an_api_answers_as_its_openapi_document_says(
    service: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    examples = EXAMPLES.get(service, OF_ANY_OTHER)
    outcome = await check(service, await new_database(service), tmp_path, examples, SEED)
    print(f"{service}: {outcome.cases} cases, {outcome.failures} failures, seed {SEED}")
    assert outcome.failures == 0, outcome.output
    assert outcome.cases >= (LEAST_CASES if service in EXAMPLES else 1)
