"""As tests/integration/test_api_conformance.py, with 5,000 cases for each API."""

from pathlib import Path

import pytest

from tests.integration.conftest import NewDatabase
from tests.support.conformance import check

EXAMPLES = {"orders": 1200, "payments": 3000, "dead_letters": 380, "analytics": 3000}
SEED = 20
LEAST_CASES = 5000


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("service", EXAMPLES)
async def test_an_api_answers_thousands_of_requests_as_its_openapi_document_says(
    service: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    outcome = await check(service, await new_database(service), tmp_path, EXAMPLES[service], SEED)
    print(f"{service}: {outcome.cases} cases, {outcome.failures} failures, seed {SEED}")
    assert outcome.failures == 0, outcome.output
    assert outcome.cases >= LEAST_CASES
