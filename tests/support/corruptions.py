"""One way to break each check of the ledger: in which database, by which statement, and whose id must be named.

`{shipped}`, `{declined}`, `{sold_out}` and `{unpaid}` stand for orders of the honest simulated.
"""

from typing import NamedTuple

from fanout.verify.contradictions import OFFSETS_RISE, PARKED_RECEIPTS, SENT_WITHOUT_OFFSET
from fanout.verify.dead_letters import PARKED, SENT, STORED


class Corruption(NamedTuple):
    service: str
    sql: str
    named: str = "{shipped}"


DEAD_LETTER = """
    INSERT INTO dead_letters (dead_letter_id, consumer, topic, partition, kafka_offset, record_at, headers, failure,
        error_type, error_message, attempts, first_failed_at, last_failed_at, status, redrive)
    OVERRIDING SYSTEM VALUE VALUES
        (4711, 'fraud', 'orders', 0, 0, now(), '[]', 'permanent', 'E', 'e', 1, now(), now(), '{status}', 1)
"""

EFFECTS = {
    "nothing happened twice to one order": Corruption(
        "payments",
        "INSERT INTO movements (order_id, kind, amount_cents, moved_at) "
        "SELECT order_id, kind, amount_cents, moved_at FROM movements WHERE order_id = '{shipped}'",
    ),
    "every effect has a published event": Corruption(
        "fraud",
        "INSERT INTO inbox (consumer, event_id, status) "
        "VALUES ('fraud', '00000000-0000-7000-8000-000000000001', 'applied')",
        "00000000-0000-7000-8000-000000000001",
    ),
}

OWN_CHECKS = {
    "analytics: every sale is a confirmation, and every confirmation a sale": Corruption(
        "analytics", "DELETE FROM sales WHERE order_id = '{shipped}'"
    ),
    "analytics: a sale is worth its lines": Corruption(
        "analytics", "UPDATE sales SET revenue_cents = revenue_cents + 1 WHERE order_id = '{shipped}'"
    ),
    "dead_letters: each redriven or discarded dead letter has an action that says by whom and why": Corruption(
        "dead_letters", DEAD_LETTER.format(status="discarded"), "4711"
    ),
    "dead_letters: no dead letter was redriven after it was discarded": Corruption(
        "dead_letters",
        DEAD_LETTER.format(status="redriven")
        + "; INSERT INTO actions (dead_letter_id, who, what, why, redrive) "
        "VALUES (4711, 'me', 'discarded', 'so', 0), (4711, 'me', 'redriven', 'so', 1)",
        "4711",
    ),
    "fraud: every order that was seen was assessed": Corruption(
        "fraud", "DELETE FROM assessments WHERE order_id = '{shipped}'"
    ),
    "fraud: each version of an assessment was published once": Corruption(
        "fraud", "UPDATE assessments SET assessment_version = 2 WHERE order_id = '{shipped}'"
    ),
    "fraud: an order is suspicious exactly when its score says so": Corruption(
        "fraud", "UPDATE assessments SET score = 90 WHERE order_id = '{shipped}'"
    ),
    "fulfillment: nothing was shipped before it was confirmed": Corruption(
        "fulfillment", "UPDATE shipments SET confirmed_at = NULL WHERE order_id = '{shipped}'"
    ),
    "fulfillment: nothing was shipped that had been cancelled": Corruption(
        "fulfillment", "UPDATE shipments SET cancelled_at = now() WHERE order_id = '{shipped}'"
    ),
    "fulfillment: every order that is known and confirmed was shipped": Corruption(
        "fulfillment", "UPDATE shipments SET shipped_at = NULL WHERE order_id = '{shipped}'"
    ),
    "inventory: stock on hand plus reserved is the initial stock": Corruption(
        "inventory", "UPDATE stock SET on_hand = on_hand - 1 WHERE product_id = 'mug'", "mug"
    ),
    "inventory: no product has less than nothing on hand": Corruption(
        "inventory",
        "ALTER TABLE stock DROP CONSTRAINT stock_is_never_negative; "
        "UPDATE stock SET on_hand = -1 WHERE product_id = 'mug'",
        "mug",
    ),
    "inventory: reserved or released orders have lines, others have none": Corruption(
        "inventory", "DELETE FROM reservation_lines WHERE order_id = '{shipped}'"
    ),
    "notifications: no order has the same message twice": Corruption(
        "notifications",
        "INSERT INTO messages (order_id, customer_id, kind, body, created_at) "
        "SELECT order_id, customer_id, kind, body, created_at FROM messages WHERE order_id = '{shipped}'",
    ),
    "notifications: no order has messages that its payment was both authorized and declined": Corruption(
        "notifications",
        "INSERT INTO messages (order_id, customer_id, kind, body, created_at) "
        "SELECT order_id, customer_id, 'payment_declined', '', created_at FROM messages "
        "WHERE order_id = '{shipped}' AND kind = 'payment_authorized'",
    ),
    "notifications: no order has messages that it was both cancelled and shipped": Corruption(
        "notifications",
        "INSERT INTO messages (order_id, customer_id, kind, body, created_at) "
        "SELECT order_id, customer_id, 'order_cancelled', '', created_at FROM messages "
        "WHERE order_id = '{shipped}' AND kind = 'order_shipped'",
    ),
    "orders: confirmed orders have an authorized payment and reserved stock": Corruption(
        "orders", "UPDATE orders SET stock = 'pending' WHERE order_id = '{shipped}'"
    ),
    "orders: refused orders are cancelled": Corruption(
        "orders", "UPDATE orders SET payment = 'declined' WHERE order_id = '{shipped}'"
    ),
    "orders: no order is undecided although payment and stock are both known": Corruption(
        "orders", "UPDATE orders SET status = 'placed' WHERE order_id = '{shipped}'"
    ),
    "orders: each order published once that it was placed, and once how it was decided": Corruption(
        "orders", "DELETE FROM outbox WHERE aggregate_id = '{shipped}' AND type = 'OrderConfirmed'"
    ),
    "orders: an order's total is the sum of its lines": Corruption(
        "orders", "UPDATE orders SET total_cents = total_cents + 1 WHERE order_id = '{shipped}'"
    ),
    "payments: every payment has the movements of its status: "
    "one authorization, one refund if refunded, otherwise none": Corruption(
        "payments", "DELETE FROM movements WHERE order_id = '{shipped}'"
    ),
    "payments: no more money was refunded than was authorized, "
    "and each movement is the whole amount of its payment": Corruption(
        "payments", "UPDATE movements SET amount_cents = amount_cents - 1 WHERE order_id = '{shipped}'"
    ),
}

_REFUND = (
    "INSERT INTO movements (order_id, kind, amount_cents, moved_at) VALUES ('{%s}', 'refund', 100, now())"
)

ACROSS_SERVICES = {
    "a confirmed order has an authorized payment": OWN_CHECKS[
        "payments: every payment has the movements of its status: "
        "one authorization, one refund if refunded, otherwise none"
    ],
    "a confirmed order holds its stock": Corruption(
        "inventory", "UPDATE reservations SET status = 'released' WHERE order_id = '{shipped}'"
    ),
    "a confirmed order is shipped": Corruption(
        "fulfillment", "UPDATE shipments SET shipped_at = NULL WHERE order_id = '{shipped}'"
    ),
    "a shipment has a confirmed order": Corruption(
        "fulfillment", "UPDATE shipments SET shipped_at = now() WHERE order_id = '{declined}'", "{declined}"
    ),
    "an order called shipped has a shipment": Corruption(
        "orders", "UPDATE orders SET status = 'shipped' WHERE order_id = '{unpaid}'", "{unpaid}"
    ),
    "a shipment is known to its order": Corruption(
        "orders", "UPDATE orders SET status = 'confirmed' WHERE order_id = '{shipped}'"
    ),
    "a refund has an authorized payment": Corruption("payments", _REFUND % "declined", "{declined}"),
    "a refund has a cancelled order": Corruption("payments", _REFUND % "shipped"),
    "a cancelled order's payment is refunded": Corruption(
        "payments", "DELETE FROM movements WHERE kind = 'refund'", "{sold_out}"
    ),
    "a cancelled order holds no stock": Corruption(
        "inventory", "UPDATE reservations SET status = 'reserved' WHERE order_id = '{declined}'", "{declined}"
    ),
    "a release has a cancelled order": Corruption(
        "inventory", "UPDATE reservations SET status = 'released' WHERE order_id = '{shipped}'"
    ),
    "a rejected order is not confirmed": Corruption(
        "inventory", "UPDATE reservations SET status = 'rejected' WHERE order_id = '{shipped}'"
    ),
    "a rejected order is cancelled": Corruption(
        "inventory", "UPDATE reservations SET status = 'rejected' WHERE order_id = '{unpaid}'", "{unpaid}"
    ),
    "an order with payment and stock is decided": Corruption(
        "orders", "UPDATE orders SET status = 'placed' WHERE order_id = '{shipped}'"
    ),
    "a declined order is cancelled": Corruption(
        "payments", "UPDATE payments SET status = 'declined' WHERE order_id = '{unpaid}'", "{unpaid}"
    ),
    "a placed order has an answer about its stock": Corruption(
        "inventory", "UPDATE reservations SET status = 'void' WHERE order_id = '{unpaid}'", "{unpaid}"
    ),
    "a placed order has an answer about its payment": Corruption(
        "payments", "UPDATE payments SET payment_method = 'card' WHERE order_id = '{unpaid}'", "{unpaid}"
    ),
    "a placed order is assessed": Corruption("fraud", "DELETE FROM assessments WHERE order_id = '{shipped}'"),
    "the confirmation of a counted order is counted": Corruption(
        "analytics", "DELETE FROM steps WHERE order_id = '{shipped}' AND step = 'confirmed'"
    ),
    "the shipment of a counted order is counted": Corruption(
        "analytics", "DELETE FROM steps WHERE order_id = '{shipped}' AND step = 'shipped'"
    ),
    "a shipment that is counted was made": Corruption(
        "analytics",
        "INSERT INTO steps (order_id, step, at) VALUES ('{declined}', 'shipped', now())",
        "{declined}",
    ),
}

CONTRADICTIONS = {
    "every received event is of a type that its consumer subscribes to": Corruption(
        "notifications",
        "DELETE FROM subscriptions WHERE type = 'OrderShipped'",
        "OrderShipped (notifications, 2 times)",
    ),
    "every consumer that has read a topic of events subscribes to some": Corruption(
        "fraud", "DELETE FROM subscriptions", "fraud"
    ),
    "no received event lies far beyond what its consumer has read": Corruption(
        "orders",
        "UPDATE outbox SET kafka_offset = kafka_offset + 100000 "
        "WHERE kafka_offset = (SELECT max(kafka_offset) FROM outbox)",
        "orders[0] at 1000",
    ),
    SENT_WITHOUT_OFFSET: Corruption(
        "orders",
        "UPDATE outbox SET kafka_offset = NULL, published_at = published_at - interval '31 seconds' "
        "WHERE aggregate_id = '{shipped}' AND type = 'OrderPlaced'",
        "outbox row 1 (orders)",
    ),
    OFFSETS_RISE: Corruption(
        "orders",
        "UPDATE outbox SET kafka_offset = kafka_offset + 5 WHERE aggregate_id = '{shipped}' AND type = 'OrderPlaced'",
        "orders[0] at 5: outbox rows ",
    ),
    PARKED_RECEIPTS: Corruption("fraud", "UPDATE inbox SET status = 'parked'", "of fraud"),
}

OF_DEAD_LETTERS = {
    SENT: Corruption("fraud", "DELETE FROM outbox WHERE topic = 'orders.fraud.dlq'"),
    STORED: Corruption("dead_letters", "DELETE FROM dead_letters"),
    PARKED: Corruption("fraud", "DELETE FROM parked"),
    PARKED_RECEIPTS: Corruption("fraud", "DELETE FROM parked"),
}
"""Of a system in which fraud has parked an event, and the dead letter is stored."""

CORRUPTIONS = EFFECTS | CONTRADICTIONS | OWN_CHECKS | ACROSS_SERVICES
