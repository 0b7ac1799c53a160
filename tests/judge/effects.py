"""Judges conservation: of each order's money, units, shipment and mails, nothing appears, vanishes or happens twice."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.judge.evidence import Evidence, Findings, Row

PLENTY = 1_000_000
INITIAL_STOCK = {
    **dict.fromkeys(
        ("mug", "beans-1kg", "beans-250g", "filter-100", "notebook", "pencil", "espresso-machine"), PLENTY
    ),
    "limited-print": 20,
    "sold-out-poster": 0,
}
CONFIRMED_MAILS = {"order_placed", "payment_authorized", "order_shipped"}
PAYMENT_MAILS = {"payment_authorized", "payment_declined"}
STEPS_OF_PAYMENT: Mapping[str, set[str]] = {
    "pending": set(),
    "authorized": {"paid"},
    "declined": {"declined"},
}
PAYMENT_STATUSES = {
    ("pending", False): {"pending"},
    ("pending", True): {"voided"},
    ("authorized", False): {"authorized"},
    ("authorized", True): {"refunded"},
    ("declined", True): {"declined"},
    ("declined", False): {"declined"},
}
"""By the payment as orders has it, and whether the order is cancelled: the statuses that payments may give it."""
STOCK_STATUSES = {
    ("pending", False): set[str](),
    ("pending", True): {"void"},
    ("reserved", False): {"reserved"},
    ("reserved", True): {"released"},
    ("rejected", True): {"rejected"},
    ("rejected", False): {"rejected"},
}
CONFIRMED_STEPS = {"placed", "paid", "confirmed", "shipped"}


def judge_effects(evidence: Evidence, open_orders: set[str]) -> Findings:
    """What is not as it should be is waiting for an order in `open_orders`, and wrong for all others."""
    findings = Findings()
    for order_id, sentence in _sentences(Known(evidence)):
        (findings.waiting if order_id in open_orders else findings.wrong).append(f"{sentence} ({order_id})")
    findings.wrong += _stock(evidence)
    return findings


class Known:
    """All that the services say of each order."""

    def __init__(self, evidence: Evidence) -> None:
        self.orders = {row["order_id"]: row for row in evidence.rows("orders", "orders")}
        self.lines = _units(evidence.rows("orders", "order_lines"), "quantity")
        self.totals = _totals(evidence.rows("orders", "order_lines"))
        self.payments = {row["order_id"]: row for row in evidence.rows("payments", "payments")}
        self.movements = _grouped(evidence.rows("payments", "movements"))
        self.reservations = {
            row["order_id"]: row["status"] for row in evidence.rows("inventory", "reservations")
        }
        self.reserved = _units(evidence.rows("inventory", "reservation_lines"), "quantity")
        self.shipments = {row["order_id"]: row for row in evidence.rows("fulfillment", "shipments")}
        self.assessments = {row["order_id"]: row for row in evidence.rows("fraud", "assessments")}
        self.messages = _grouped(evidence.rows("notifications", "messages"))
        self.sales = {row["order_id"]: row for row in evidence.rows("analytics", "sales")}
        self.counted = _units(evidence.rows("analytics", "order_lines"), "units")
        self.revenue: Counter[str] = Counter()
        for row in evidence.rows("analytics", "order_lines"):
            self.revenue[row["order_id"]] += row["revenue_cents"]
        self.steps = _grouped(evidence.rows("analytics", "steps"))


def _sentences(known: Known) -> Iterator[tuple[str, str]]:
    for order_id, order in known.orders.items():
        for sentence in (*_of_any(order_id, order, known), *_of_status(order_id, order, known)):
            yield order_id, sentence
    for name in ("payments", "reservations", "shipments", "assessments", "messages", "sales", "steps"):
        for order_id in getattr(known, name).keys() - known.orders.keys():
            yield order_id, f"{name} know an order that was never placed"


def _of_any(order_id: str, order: Row, known: Known) -> Iterator[str]:
    if order["total_cents"] != known.totals.get(order_id) or order["total_cents"] <= 0:
        yield "its total is not what its lines cost"
    for name in ("payments", "shipments"):
        row = getattr(known, name).get(order_id)
        if row is None:
            yield f"{name} do not know it"
        elif row["customer_id"] != order["customer_id"]:
            yield f"{name} have another customer"
    payment = known.payments.get(order_id)
    terms = ("amount_cents", "currency", "payment_method")
    if payment and [payment[term] for term in terms] != [order["total_cents"], *map(order.get, terms[1:])]:
        yield "its payment has other terms"
    if (
        payment
        and payment["status"] not in PAYMENT_STATUSES[order["payment"], order["status"] == "cancelled"]
    ):
        yield f"its payment is {payment['status']}, and orders calls it {order['payment']}"
    if known.reservations.get(order_id) not in STOCK_STATUSES[order["stock"], order["status"] == "cancelled"]:
        yield f"its stock is {known.reservations.get(order_id)}, and orders calls it {order['stock']}"
    shipment = known.shipments.get(order_id)
    if shipment and _contents(shipment) != known.lines.get(order_id):
        yield "other units are to be shipped than were ordered"
    if (
        known.counted.get(order_id, {}) != known.lines.get(order_id)
        or known.revenue[order_id] != order["total_cents"]
    ):
        yield "analytics counted other lines"
    steps = {row["step"] for row in known.steps.get(order_id, ())}
    if "placed" not in steps or steps & {"paid", "declined"} != STEPS_OF_PAYMENT[order["payment"]]:
        yield "analytics counted other steps than it took"
    assessment = known.assessments.get(order_id)
    if assessment is None or (order["fraud_score"], order["flagged"]) != (
        assessment["score"],
        assessment["suspicious"],
    ):
        yield "its score is not what fraud says"
    messages = Counter(row["kind"] for row in known.messages.get(order_id, ()))
    if twice := [kind for kind, times in messages.items() if times > 1]:
        yield f"its customer got {twice[0]} {messages[twice[0]]} times"
    if any(row["customer_id"] != order["customer_id"] for row in known.messages.get(order_id, ())):
        yield "another customer got its mail"
    if "order_placed" not in messages:
        yield "its customer was not thanked"


def _of_status(order_id: str, order: Row, known: Known) -> Iterator[str]:
    moved = known.movements.get(order_id, [])
    money = Counter(row["kind"] for row in moved)
    net = sum(row["amount_cents"] * (1 if row["kind"] == "authorization" else -1) for row in moved)
    shipment = known.shipments.get(order_id)
    is_shipped = bool(shipment and shipment["shipped_at"])
    status = known.reservations.get(order_id)
    messages = {row["kind"] for row in known.messages.get(order_id, ())}
    steps = {row["step"] for row in known.steps.get(order_id, ())}
    if max(money.values(), default=0) > 1:
        yield "its money moved twice"
    if order["status"] in ("confirmed", "shipped"):
        if net != order["total_cents"]:
            yield f"{order['total_cents']} were owed and {net} taken"
        if (order["payment"], order["stock"]) != ("authorized", "reserved"):
            yield "it is confirmed without payment or stock"
        if status != "reserved" or known.reserved.get(order_id) != known.lines.get(order_id):
            yield "other units are reserved than were ordered"
        if order["status"] != "shipped" or not (shipment and is_shipped and shipment["confirmed_at"]):
            yield "it is confirmed and not shipped"
        if shipment and shipment["cancelled_at"]:
            yield "it is confirmed and fulfillment calls it cancelled"
        if (sale := known.sales.get(order_id)) is None or (
            sale["revenue_cents"],
            sale["currency"],
        ) != (order["total_cents"], order["currency"]):
            yield "its sale is not its total"
        if steps != CONFIRMED_STEPS:
            yield "analytics counted other steps than it took"
        if messages != CONFIRMED_MAILS:
            yield "its customer got other mails than it took steps"
    elif order["status"] == "cancelled":
        if net != 0:
            yield f"it is cancelled and {net} are kept"
        if status == "reserved":
            yield "it is cancelled and holds stock"
        if is_shipped or order_id in known.sales:
            yield "it is cancelled and was shipped or sold"
        if "cancelled" not in steps or steps & {"confirmed", "shipped"}:
            yield "analytics counted other steps than it took"
        if "order_cancelled" not in messages or "order_shipped" in messages or messages >= PAYMENT_MAILS:
            yield "its customer got other mails than it took steps"
    else:
        if is_shipped or order_id in known.sales or steps & {"confirmed", "shipped", "cancelled"}:
            yield "it is undecided and was shipped or sold"
        payment = known.payments.get(order_id)
        if payment and payment["status"] != "pending" and status in ("reserved", "rejected"):
            yield "it is undecided though payment and stock are known"
        if (order["payment"] == "declined") or (order["stock"] == "rejected"):
            yield "it was refused and is not cancelled"


def _stock(evidence: Evidence) -> Iterator[str]:
    held: Counter[str] = Counter()
    reserved = {
        row["order_id"] for row in evidence.rows("inventory", "reservations") if row["status"] == "reserved"
    }
    for row in evidence.rows("inventory", "reservation_lines"):
        if row["order_id"] in reserved:
            held[row["product_id"]] += row["quantity"]
    on_hand = {row["product_id"]: row["on_hand"] for row in evidence.rows("inventory", "stock")}
    for product, initial in INITIAL_STOCK.items():
        if not 0 <= on_hand.get(product, -1) == initial - held[product]:
            yield f"of {product}, {on_hand.get(product)} on hand and {held[product]} reserved are not {initial}"


def _contents(shipment: Row) -> Mapping[str, int]:
    contents = shipment["contents"]
    lines: Sequence[Mapping[str, Any]] = json.loads(contents) if isinstance(contents, str) else contents or []
    units: Counter[str] = Counter()
    for line in lines:
        units[line["product_id"]] += line["quantity"]
    return dict(units)


def _units(rows: Sequence[Row], column: str) -> dict[str, dict[str, int]]:
    units: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        units[row["order_id"]][row["product_id"]] = row[column]
    return dict(units)


def _totals(rows: Sequence[Row]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for row in rows:
        totals[row["order_id"]] += row["quantity"] * row["unit_price_cents"]
    return totals


def _grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["order_id"]].append(row)
    return dict(groups)
