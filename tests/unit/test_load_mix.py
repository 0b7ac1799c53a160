"""The mix of customers is the same for the same seed, and has what it promises."""

from collections import Counter
from itertools import islice

import pytest

from fanout.load import DECLINED, SCARCE, SHARES, Purchase, order_body, purchases

MANY = list(islice(purchases(1), 4_000))


def test_the_same_seed_buys_the_same_things() -> None:
    assert list(islice(purchases(7), 50)) == list(islice(purchases(7), 50))
    assert list(islice(purchases(7), 50)) != list(islice(purchases(8), 50))


@pytest.mark.parametrize(("kind", "percent"), SHARES.items())
def test_each_kind_has_its_share(kind: str, percent: int) -> None:
    share = sum(purchase.kind == kind for purchase in MANY) / len(MANY)
    assert share == pytest.approx(percent / 100, abs=0.02)


def test_three_hundred_orders_have_every_kind() -> None:
    assert {purchase.kind for purchase in MANY[:300]} == set(SHARES)


def test_only_invoices_go_without_a_card_and_only_declining_ones_decline() -> None:
    assert all((purchase.card_token is None) == (purchase.kind == "invoice") for purchase in MANY)
    assert all((purchase.card_token in DECLINED) == (purchase.kind == "declined_card") for purchase in MANY)


def test_scarce_products_are_in_scarce_orders_only() -> None:
    for purchase in MANY:
        assert any(product in SCARCE for product, _ in purchase.lines) == (purchase.kind == "scarce")


def test_no_order_names_a_product_twice() -> None:
    assert all(len(dict(purchase.lines)) == len(purchase.lines) for purchase in MANY)


def test_some_customers_order_so_often_that_fraud_takes_notice() -> None:
    orders = Counter(purchase.customer_id for purchase in MANY[:300])
    assert sorted(orders.values())[-3] >= 5


def test_an_invoice_is_asked_for_without_a_card() -> None:
    body = order_body(Purchase("invoice", "customer-001", (("mug", 2),), None))
    assert "card_token" not in body
