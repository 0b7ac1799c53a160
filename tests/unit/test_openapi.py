"""Each operation of each API declares every refusal that it may answer, as problem details with an example."""

from typing import Any

import jsonschema
import pytest

from chassis.http.problems import title_of
from docs.contracts.openapi import documents

OF_ALL = {"400", "408", "431", "503"}
DOCUMENTS = documents()


OURS = ("orders", "payments", "analytics", "dead_letters")
"""Their pages are described in full; a service of a reader's own need not be."""

OPERATIONS = [
    pytest.param(document, operation, id=f"{service} {method.upper()} {path}")
    for service, document in DOCUMENTS.items()
    for path, methods in document["paths"].items()
    for method, operation in methods.items()
]
DESCRIBED = [each for each in OPERATIONS if str(each.id).split(" ")[0] in OURS]


@pytest.mark.parametrize(("document", "operation"), OPERATIONS)
def test_an_operation_declares_each_refusal_that_it_may_answer(
    document: dict[str, Any], operation: dict[str, Any]
) -> None:
    expected = set(OF_ALL)
    if "requestBody" in operation:
        expected |= {"413", "415", "422"}
    if operation.get("parameters"):
        expected |= {"422"}
    if "security" in operation:
        expected |= {"401", "403"}
    if any(each["in"] == "path" for each in operation.get("parameters", [])):
        expected |= {"404"}
    refusals = {status for status in operation["responses"] if status >= "400"}
    assert refusals - {"404", "409"} == expected - {"404"}
    assert "404" in refusals or "404" not in expected


@pytest.mark.parametrize(("document", "operation"), OPERATIONS)
def test_each_refusal_is_problem_details_with_an_example_of_its_schema(
    document: dict[str, Any], operation: dict[str, Any]
) -> None:
    problem = document["components"]["schemas"]["Problem"]
    for status, response in operation["responses"].items():
        if status >= "400":
            name = response.get("$ref", "").rpartition("/")[2]
            described = document["components"]["responses"][name] if name else response
            [(media_type, content)] = described["content"].items()
            assert media_type == "application/problem+json"
            jsonschema.validate(content["example"], problem)
            assert content["example"]["status"] == int(status)
            assert content["example"]["title"] == title_of(int(status))


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_document_describes_no_refusal_that_is_never_sent(document: dict[str, Any]) -> None:
    assert "ValidationError" not in str(document)


@pytest.mark.parametrize(("document", "operation"), DESCRIBED)
def test_an_operation_is_in_a_described_group_and_says_what_it_does(
    document: dict[str, Any], operation: dict[str, Any]
) -> None:
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    [group] = operation["tags"]
    assert described[group].endswith(".")
    assert operation["summary"] and operation["description"].rstrip().endswith(".")
    is_made_of_a_name = operation["summary"] == operation["summary"].title()
    assert not is_made_of_a_name


@pytest.mark.parametrize(("document", "operation"), DESCRIBED)
def test_each_example_of_a_body_is_valid(document: dict[str, Any], operation: dict[str, Any]) -> None:
    if "requestBody" not in operation:
        return
    content = operation["requestBody"]["content"]["application/json"]
    assert content["examples"]
    whole = content["schema"] | {"components": document["components"]}
    for example in content["examples"].values():
        jsonschema.validate(example["value"], whole)


@pytest.mark.parametrize("document", [DOCUMENTS[service] for service in OURS], ids=OURS)
def test_a_document_says_what_the_api_is_for_and_where_tokens_come_from(document: dict[str, Any]) -> None:
    text = document["info"]["description"]
    assert not text.startswith("**Authorize**") and "fanout token ada" in text
    used = {each["tags"][0] for methods in document["paths"].values() for each in methods.values()}
    assert {tag["name"] for tag in document["tags"]} == used
