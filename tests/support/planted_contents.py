"""Statements that each change, delete or invent something that a service has stored or published.

`{shipped}` and the like stand for orders of the system in tests/support/varied_orders.py.
"""

from typing import NamedTuple

READABLE = "every event that was applied can be read, and is the one that its outbox row names"

OUTBOX_CHECK = "each outbox row is named as its event"
"""Of the chassis: every service has it."""


class Planted(NamedTuple):
    """`violated` is how the sentence of the check begins that has to name `named`."""

    name: str
    service: str
    sql: str
    violated: str
    named: str = "{shipped}"


PLACED_PAYMENT = "payments: each order has the payment that its events say"
MOVEMENT = "payments: each movement is the money"
MESSAGE = "notifications: each event that a customer should know of has its message"
RESERVATION = "inventory: each order has the reservation"
SHIPMENT = "fulfillment: each order has the shipment"
LABEL = "fulfillment: OrderShipped says each shipment"
ORDER = "orders: each order is the one that OrderPlaced says"
DECIDED = "orders: each order is decided as"
ASSESSMENT = "fraud: each assessment is the one"
STEP = "analytics: each step is the event"
OF_SHIPPED = "WHERE order_id = '{shipped}'"
OF_DECLINED = "WHERE order_id = '{declined}'"


def changes(
    service: str, table: str, violated: str, columns: dict[str, str], order: str = "shipped"
) -> list[Planted]:
    """Returns a statement for each column, given its new value in SQL."""
    return [
        Planted(
            f"{table}.{column} of {order}",
            service,
            f"UPDATE {table} SET {column} = {value} WHERE order_id = '{{{order}}}'",
            violated,
            f"{{{order}}}",
        )
        for column, value in columns.items()
    ]


LATER = "now() + interval '1 hour'"

NOTIFICATIONS = [
    Planted(
        "a notification deleted",
        "notifications",
        f"DELETE FROM messages {OF_SHIPPED} AND kind = 'order_shipped'",
        MESSAGE,
    ),
    Planted("all notifications deleted", "notifications", "DELETE FROM messages", MESSAGE),
    Planted(
        "a notification invented",
        "notifications",
        "INSERT INTO messages (order_id, customer_id, kind, body, created_at) "
        "VALUES ('{unpaid}', 'c', 'order_shipped', '', now())",
        MESSAGE,
        "{unpaid}",
    ),
    *changes(
        "notifications",
        "messages",
        MESSAGE,
        {
            "customer_id": "'somebody'",
            "body": "body || ' '",
            "kind": "'order_' || kind",
            "created_at": LATER,
            "order_id": "'{unpaid}'",
        },
    ),
    *changes(
        "notifications", "messages", MESSAGE, {"body": "replace(body, 'declined', 'accepted')"}, "declined"
    ),
    *changes(
        "notifications", "messages", MESSAGE, {"body": "replace(body, 'you asked us to', 'so')"}, "called_off"
    ),
    Planted(
        "a notification marked as refused without an attempt",
        "notifications",
        f"UPDATE messages SET refused_at = now(), last_error = 'no' {OF_SHIPPED}",
        "notifications: what was sent or refused was tried",
    ),
    Planted(
        "a notification refused without a reason",
        "notifications",
        f"UPDATE messages SET refused_at = now(), attempts = 1 {OF_SHIPPED}",
        "notifications: what was sent or refused was tried",
    ),
    Planted(
        "a notification marked as sent without an attempt",
        "notifications",
        f"UPDATE messages SET sent_at = now() {OF_SHIPPED}",
        "notifications: what was sent or refused was tried",
    ),
    Planted(
        "a message id used twice",
        "notifications",
        f"UPDATE messages SET message_id = 'the same' {OF_SHIPPED}",
        "notifications: no two messages have the same message id",
    ),
]

PAYMENTS = [
    Planted(
        "payment and movement both changed to 1 cent",
        "payments",
        f"UPDATE payments SET amount_cents = 1 {OF_SHIPPED}; UPDATE movements SET amount_cents = 1 {OF_SHIPPED}",
        PLACED_PAYMENT,
    ),
    *changes("payments", "payments", PLACED_PAYMENT, {"amount_cents": "1", "status": "'voided'"}, "unpaid"),
    *changes(
        "payments", "payments", PLACED_PAYMENT, {"status": "'pending'", "decline_reason": "'x'"}, "declined"
    ),
    *changes(
        "payments",
        "payments",
        PLACED_PAYMENT,
        {
            "customer_id": "'somebody'",
            "currency": "'USD'",
            "payment_method": "'invoice'",
            "decline_reason": "'card_declined'",
            "payment_id": "gen_random_uuid()::text",
            "changed_at": LATER,
        },
    ),
    *changes("payments", "payments", PLACED_PAYMENT, {"status": "'authorized'"}, "called_off"),
    *changes("payments", "payments", PLACED_PAYMENT, {"status": "'pending'", "amount_cents": "1"}, "void"),
    Planted("a payment deleted", "payments", f"DELETE FROM payments {OF_SHIPPED}", PLACED_PAYMENT),
    Planted("a movement deleted", "payments", f"DELETE FROM movements {OF_SHIPPED}", MOVEMENT),
    *changes("payments", "movements", MOVEMENT, {"amount_cents": "1", "kind": "'refund'", "moved_at": LATER}),
    Planted(
        "a payment that nobody was asked for",
        "payments",
        "INSERT INTO payments (order_id, payment_id, customer_id, status, changed_at, payment_method, amount_cents, "
        "currency) VALUES ('none', 'p', 'c', 'authorized', now(), 'card', 100, 'EUR'); "
        "INSERT INTO movements (order_id, kind, amount_cents, moved_at) VALUES ('none', 'authorization', 100, now())",
        PLACED_PAYMENT,
        "none",
    ),
    Planted(
        "two payments with one id",
        "payments",
        "UPDATE payments SET payment_id = (SELECT payment_id FROM payments WHERE order_id = '{unpaid}') "
        "WHERE order_id = '{void}'",
        "payments: no two payments have the same id",
        "",
    ),
]

INVENTORY = [
    Planted(
        "a reservation's quantity + 1 with stock - 1",
        "inventory",
        f"UPDATE reservation_lines SET quantity = quantity + 1 {OF_SHIPPED}; "
        "UPDATE stock SET on_hand = on_hand - 1 WHERE product_id = 'mug'",
        "inventory: the lines of each reservation",
    ),
    Planted(
        "on hand and initial both - 1",
        "inventory",
        "UPDATE stock SET on_hand = on_hand - 1, initial = initial - 1 WHERE product_id = 'mug'",
        "inventory: the initial stock is what the migration brought",
        "mug",
    ),
    Planted(
        "stock that no migration brought",
        "inventory",
        "INSERT INTO stock VALUES ('gold', 5, 5)",
        "inventory: the initial stock is what the migration brought",
        "gold",
    ),
    Planted(
        "a released reservation deleted",
        "inventory",
        "DELETE FROM reservation_lines WHERE order_id = '{called_off}'; "
        "DELETE FROM reservations WHERE order_id = '{called_off}'",
        RESERVATION,
        "{called_off}",
    ),
    Planted(
        "a void reservation deleted",
        "inventory",
        "DELETE FROM reservations WHERE order_id = '{void}'",
        RESERVATION,
        "{void}",
    ),
    *changes("inventory", "reservations", RESERVATION, {"status": "'released'", "changed_at": LATER}),
    *changes("inventory", "reservations", RESERVATION, {"status": "'reserved'"}, "called_off"),
    *changes("inventory", "reservations", RESERVATION, {"status": "'void'"}, "sold_out"),
    *changes(
        "inventory",
        "reservation_lines",
        "inventory: the lines of each reservation",
        {"product_id": "'pencil'"},
    ),
]

FULFILLMENT = [
    Planted("a shipment deleted", "fulfillment", f"DELETE FROM shipments {OF_SHIPPED}", SHIPMENT),
    Planted(
        "a shipment's contents changed",
        "fulfillment",
        f"""UPDATE shipments SET contents = '[{{{{"product_id": "mug", "quantity": 2}}}}]' {OF_SHIPPED}""",
        "fulfillment: the contents of each shipment",
    ),
    *changes(
        "fulfillment",
        "shipments",
        "fulfillment: the contents of each shipment",
        {"contents": "NULL"},
        "unpaid",
    ),
    *changes(
        "fulfillment",
        "shipments",
        SHIPMENT,
        {
            "customer_id": "'somebody'",
            "placed_at": LATER,
            "confirmed_at": LATER,
            "shipped_at": LATER,
            "cancelled_at": LATER,
        },
    ),
    *changes("fulfillment", "shipments", LABEL, {"shipment_id": "'s'", "tracking_code": "'FAN-1'"}),
    *changes(
        "fulfillment",
        "shipments",
        "fulfillment: what has not left has no label",
        {"tracking_code": "'F'"},
        "unpaid",
    ),
    *changes("fulfillment", "shipments", SHIPMENT, {"confirmed_at": LATER, "cancelled_at": LATER}, "unpaid"),
]

ORDERS = [
    *changes(
        "orders",
        "orders",
        ORDER,
        {
            "customer_id": "'somebody'",
            "total_cents": "1",
            "currency": "'USD'",
            "payment_method": "'invoice'",
            "placed_at": LATER,
        },
    ),
    *changes(
        "orders",
        "orders",
        DECIDED,
        {"cancel_reason": "'customer_request'", "decided_at": LATER, "status": "'cancelled'"},
    ),
    *changes(
        "orders", "orders", DECIDED, {"cancel_reason": "'out_of_stock'", "decided_at": LATER}, "declined"
    ),
    *changes("orders", "orders", DECIDED, {"cancel_reason": "'out_of_stock'"}, "called_off"),
    *changes(
        "orders", "orders", "orders: each order is shipped", {"status": "'confirmed'", "shipped_at": LATER}
    ),
    *changes(
        "orders",
        "orders",
        "orders: each order has the score and the flag",
        {"fraud_score": "99", "flagged": "NOT flagged", "assessment_version": "0"},
    ),
    *changes(
        "orders", "orders", "orders: each order has the score and the flag", {"fraud_score": "0"}, "late"
    ),
    *changes(
        "orders",
        "orders",
        "orders: each order has the payment",
        {"payment": "'pending'", "payment_version": "0", "payment_at": LATER},
    ),
    *changes(
        "orders",
        "orders",
        "orders: each order has the stock",
        {"stock": "'pending'", "stock_version": "0", "stock_at": LATER},
    ),
    *changes("orders", "orders", "orders: an order's version", {"version": "7"}),
    Planted(
        "line price and total both 0",
        "orders",
        f"UPDATE order_lines SET unit_price_cents = 0 {OF_SHIPPED}; UPDATE orders SET total_cents = 0 {OF_SHIPPED}",
        "orders: the lines of each order",
    ),
    Planted(
        "a line deleted", "orders", f"DELETE FROM order_lines {OF_SHIPPED}", "orders: the lines of each order"
    ),
    Planted(
        "a line added that costs nothing",
        "orders",
        "INSERT INTO order_lines VALUES ('{shipped}', 'pencil', 1, 0)",
        "orders: the lines of each order",
    ),
    Planted(
        "an order that was never published",
        "orders",
        "INSERT INTO orders (order_id, customer_id, currency, total_cents, payment_method, status, version, payment, "
        "payment_version, stock, stock_version, placed_at) "
        "VALUES ('none', 'c', 'EUR', 100, 'card', 'placed', 1, 'pending', 0, 'pending', 0, now())",
        ORDER,
        "none",
    ),
    Planted(
        "an order deleted",
        "orders",
        f"DELETE FROM order_lines {OF_SHIPPED}; DELETE FROM orders {OF_SHIPPED}",
        ORDER,
    ),
    Planted(
        "a refused order decided at another time, also in its event's row",
        "orders",
        f"UPDATE orders SET decided_at = {LATER} {OF_DECLINED}",
        "orders: each decision has the time",
        "{declined}",
    ),
]

FRAUD = [
    *changes(
        "fraud",
        "assessments",
        ASSESSMENT,
        {"score": "59", "suspicious": "NOT suspicious", "rules": "'{{x}}'"},
    ),
    *changes("fraud", "assessments", ASSESSMENT, {"assessment_version": "3"}),
    *changes(
        "fraud",
        "orders_seen",
        "fraud: each order was seen",
        {"customer_id": "'somebody'", "placed_at": LATER},
    ),
    *changes(
        "fraud", "assessments", "fraud: an order has many orders before it", {"rules": "'{{}}'"}, "late"
    ),
    Planted(
        "an order seen that was never placed",
        "fraud",
        "INSERT INTO orders_seen VALUES ('none', 'c', now()); "
        "INSERT INTO assessments VALUES ('none', 0, false, '{{}}', 1)",
        "fraud: each order was seen",
        "none",
    ),
]

ANALYTICS = [
    Planted("all steps deleted", "analytics", "DELETE FROM steps", STEP),
    Planted("a step deleted", "analytics", f"DELETE FROM steps {OF_SHIPPED} AND step = 'paid'", STEP),
    Planted(
        "a step invented",
        "analytics",
        "INSERT INTO steps VALUES ('{unpaid}', 'paid', now())",
        STEP,
        "{unpaid}",
    ),
    Planted("all lines deleted", "analytics", "DELETE FROM order_lines", "analytics: each line is the one"),
    Planted(
        "a sale doubled under another id",
        "analytics",
        f"INSERT INTO sales SELECT 'none', at, currency, revenue_cents FROM sales {OF_SHIPPED}",
        "analytics: each sale is the one",
        "none",
    ),
    *changes("analytics", "steps", STEP, {"at": LATER}),
    *changes("analytics", "steps", STEP, {"step": "'paid'"}, "unpaid"),
    *changes(
        "analytics",
        "order_lines",
        "analytics: each line is the one",
        {"units": "2", "revenue_cents": "0", "product_id": "'pencil'"},
    ),
    *changes(
        "analytics",
        "sales",
        "analytics: each sale is the one",
        {"at": LATER, "currency": "'USD'", "revenue_cents": "0", "order_id": "'{unpaid}'"},
    ),
]

OF_OUTBOX = "WHERE aggregate_id = '{shipped}'"
OF_OUTBOXES = [
    Planted(
        "a payload of random bytes",
        "orders",
        f"UPDATE outbox SET payload = '\\xdeadbeef' {OF_OUTBOX} AND type = 'OrderPlaced'",
        READABLE,
    ),
    Planted("a payload deleted", "payments", f"UPDATE outbox SET payload = NULL {OF_OUTBOX}", READABLE),
    Planted(
        "a payload that nobody reads cut off",
        "inventory",
        "UPDATE outbox SET payload = substr(payload, 1, 20) "
        "WHERE type = 'StockReleased' AND aggregate_id = '{called_off}'",
        READABLE,
        "{called_off}",
    ),
    Planted(
        "a payload with more behind it",
        "fraud",
        f"UPDATE outbox SET payload = payload || '\\x00' {OF_OUTBOX}",
        READABLE,
    ),
    Planted(
        "an event under another order's id",
        "fulfillment",
        f"UPDATE outbox SET aggregate_id = '{{unpaid}}' {OF_OUTBOX}",
        READABLE,
        "{shipped}",
    ),
    Planted(
        "an event with another version",
        "payments",
        f"UPDATE outbox SET aggregate_version = 9 {OF_OUTBOX}",
        READABLE,
    ),
    Planted(
        "an event under another type",
        "orders",
        f"UPDATE outbox SET type = 'OrderCancelled' {OF_OUTBOX} AND type = 'OrderConfirmed'",
        READABLE,
    ),
    Planted(
        "an event under a type that nobody knows",
        "orders",
        f"UPDATE outbox SET type = 'OrderBlessed' {OF_OUTBOX} AND type = 'OrderConfirmed'",
        f"orders: {OUTBOX_CHECK}",
    ),
    Planted(
        "an event in another topic",
        "orders",
        f"UPDATE outbox SET topic = 'fraud' {OF_OUTBOX} AND type = 'OrderConfirmed'",
        READABLE,
    ),
    Planted(
        "an event with another key",
        "orders",
        f"UPDATE outbox SET key = 'other' {OF_OUTBOX} AND type = 'OrderConfirmed'",
        f"orders: {OUTBOX_CHECK}",
    ),
    Planted(
        "an event with another id",
        "orders",
        f"UPDATE outbox SET event_id = gen_random_uuid() {OF_OUTBOX} AND type = 'OrderConfirmed'",
        f"orders: {OUTBOX_CHECK}",
    ),
    Planted(
        "an event deleted",
        "payments",
        f"DELETE FROM outbox {OF_OUTBOX}",
        PLACED_PAYMENT,
    ),
]

OF_TABLES = (NOTIFICATIONS, PAYMENTS, INVENTORY, FULFILLMENT, ORDERS, FRAUD, ANALYTICS)
PLANTED = [*(planted for each in OF_TABLES for planted in each), *OF_OUTBOXES]


class Altered(NamedTuple):
    """A field of a published event that is changed in the outbox, and how the sentence of a violated check begins."""

    service: str
    event_type: str
    field: str
    violated: str
    order: str = "shipped"


FIELDS = [
    *(
        Altered("orders", "OrderPlaced", field, ORDER)
        for field in ("customer_id", "currency", "total_cents", "payment_method", "occurred_at")
    ),
    Altered("orders", "OrderPlaced", "lines", "orders: the lines of each order"),
    Altered("orders", "OrderPlaced", "card_token", "payments: each card was authorized"),
    Altered("orders", "OrderPlaced", "order_id", READABLE),
    Altered("orders", "OrderPlaced", "order_version", READABLE),
    *(
        Altered("orders", "OrderConfirmed", field, DECIDED)
        for field in ("customer_id", "total_cents", "currency", "occurred_at")
    ),
    *(
        Altered("orders", "OrderCancelled", field, DECIDED, "called_off")
        for field in ("customer_id", "reason", "occurred_at")
    ),
    *(
        Altered("payments", "PaymentProcessed", field, "payments: PaymentProcessed says what was to be paid")
        for field in ("customer_id", "payment_method", "amount_cents", "currency")
    ),
    *(
        Altered("payments", "PaymentProcessed", field, PLACED_PAYMENT)
        for field in ("payment_id", "outcome", "decline_reason", "occurred_at")
    ),
    *(
        Altered("payments", "PaymentRefunded", field, "payments: PaymentRefunded gives back", "called_off")
        for field in ("customer_id", "payment_id", "amount_cents", "currency", "occurred_at")
    ),
    *(
        Altered("inventory", "StockReserved", field, f"inventory: {words}")
        for field, words in {
            "lines": "StockReserved holds what was ordered",
            "occurred_at": "StockReserved and StockRejected have",
        }.items()
    ),
    Altered("inventory", "StockRejected", "shortages", "inventory: StockRejected names", "sold_out"),
    Altered(
        "inventory",
        "StockRejected",
        "occurred_at",
        "inventory: StockReserved and StockRejected have",
        "sold_out",
    ),
    *(
        Altered("inventory", "StockReleased", field, "inventory: StockReleased gives back", "called_off")
        for field in ("lines", "occurred_at")
    ),
    *(
        Altered("fraud", "FraudAssessed", field, "fraud: each FraudAssessed follows from its order")
        for field in ("score", "suspicious", "rules", "occurred_at")
    ),
    *(
        Altered("fulfillment", "OrderShipped", field, LABEL)
        for field in ("shipment_id", "customer_id", "tracking_code", "occurred_at")
    ),
]

SEEN = tuple({*(planted.violated for planted in PLANTED), *(altered.violated for altered in FIELDS)})
"""How the sentences of the checks begin that one of these changes violates."""
