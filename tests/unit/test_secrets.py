"""Secret fields are found by name, masked wherever they are quoted, and put back into a document that was masked."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import EVENTS
from schemas.files import versions_of
from schemas.secrets import (
    SHORT,
    StillMasked,
    is_secret,
    masked,
    masked_text,
    restored,
    secret_fields,
    secrets_in,
)
from tests.support import sample_events

TOKEN = "tok_a'b\"c\\d\u00e4\n-1"
ORDER = sample_events.order_placed("o-1", card_token="tok_visa").to_record()


@pytest.mark.parametrize(
    "name", ["token", "card_token", "webhook_secret", "db_password", "X-Auth-Token", "PASSWORD", "a-secret"]
)
def test_a_name_that_ends_in_token_secret_or_password_is_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["tokens_left", "tokenized", "mytoken", "secretary", "order_id", "", "card_token_id"]
)
def test_other_names_are_not_secret(name: str) -> None:
    assert not is_secret(name)


def test_the_card_token_is_the_only_secret_field_of_all_contracts() -> None:
    found = {
        event_type.NAME: fields
        for event_type in EVENTS
        if (fields := set().union(*(secret_fields(json.loads(text)) for _, text in versions_of(event_type))))
    }
    assert found == {"OrderPlaced": {"card_token"}}


def test_secret_fields_are_found_in_nested_records_arrays_and_unions() -> None:
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "pay_secret", "type": "string"}]}
    for kind in (
        inner,
        ["null", inner],
        {"type": "array", "items": inner},
        {"type": "array", "items": ["null", inner]},
    ):
        assert secret_fields({"type": "record", "fields": [{"name": "it", "type": kind}]}) == {"pay_secret"}


def test_a_document_is_masked_at_every_depth_and_null_stays_null() -> None:
    document: dict[str, Any] = {
        "a": [{"card_token": "t"}],
        "token": {"deep": "x"},
        "api_secret": None,
        "order_id": "o",
    }
    assert masked(document) == {
        "a": [{"card_token": "***"}],
        "token": "***",
        "api_secret": None,
        "order_id": "o",
    }
    assert document["a"] == [{"card_token": "t"}]
    assert secrets_in({"a": [{"card_token": "t"}], "api_secret": None}) == {"t"}


QUOTED = [
    "card_token='tok_1'",
    "OrderPlaced(customer_id='c', card_token='tok_1', lines=())",
    "{'card_token': 'tok_1', 'x': 1}",
    '{"card_token": "tok_1", "x": 1}',
    '{"card_token":"tok_1',
    "GET /pay?card_token=tok_1&x=1",
    "card_token = tok_1, x",
    "Key (card_token)=(tok_1) already exists.",
    "card_token\n  Input should be 7 [type=literal, input_value='tok_1', input_type=str]",
    "[type=x, input_value={'a': [\n'tok_1']}, input_type=dict]",
    "DataError: invalid input for query argument $2: ['tok_1', 'tok_1 (a'] (expected str, got list)",
]


@pytest.mark.parametrize("text", QUOTED)
def test_a_value_beside_its_name_is_masked_as_python_json_urls_and_postgres_write_it(text: str) -> None:
    assert "tok_1" not in masked_text(text)
    assert "***" in masked_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "card_token=None",
        '{"card_token": null}',
        "correction.card_token: Input should be a valid string",
        "no such order: o-1",
    ],
)
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert masked_text(text) == text


@given(st.text(min_size=SHORT), st.sampled_from(["{}", "not {}!", "x{}y"]))
@example(TOKEN, "{}")
def test_a_known_secret_is_in_no_text_that_quotes_it(secret: str, around: str) -> None:
    for quoted in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
        if quoted not in "***":
            assert quoted not in masked_text(around.format(quoted), {secret})


def test_of_secrets_that_contain_each_other_the_longer_is_masked_first() -> None:
    assert masked_text("tok_visa_gold", {"tok_visa", "tok_visa_gold"}) == "***"


def test_a_short_secret_is_masked_as_a_word_and_changes_no_other_word() -> None:
    assert masked_text("KeyError: 'ab' in table", {"ab", ""}) == "KeyError: '***' in table"


def test_a_masked_document_gets_its_secrets_back() -> None:
    assert restored(masked(ORDER), [ORDER]) == ORDER
    assert restored(masked(ORDER) | {"total_cents": 7}, [ORDER, ORDER]) == ORDER | {"total_cents": 7}


def test_a_new_secret_and_a_removed_one_stay_as_they_were_given() -> None:
    assert restored(ORDER | {"card_token": "tok_new"}, [ORDER])["card_token"] == "tok_new"
    assert restored(ORDER | {"card_token": None}, [ORDER])["card_token"] is None


@pytest.mark.parametrize(
    ("originals", "why"),
    [
        ([], "no known value"),
        ([ORDER | {"card_token": None}], "no known value"),
        ([ORDER, ORDER | {"card_token": "tok_new"}], "one of several"),
    ],
)
def test_a_mask_without_one_known_value_is_refused(originals: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(StillMasked, match=why) as refused:
        restored(masked(ORDER), originals)
    assert refused.value.path == "card_token"


def test_three_asterisks_in_another_field_are_no_mask() -> None:
    assert restored({"customer_id": "***"}, []) == {"customer_id": "***"}
