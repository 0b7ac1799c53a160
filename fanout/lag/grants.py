"""The rights of the exporter's login in Postgres: the columns that the statements of this package read, no others."""

from collections.abc import Iterator

from fanout.lag.business import DEAD_LETTERS, ORDERS

OF_EVERY_SERVICE = {
    "outbox": "id, topic, type, aggregate_id, created_at, published_at, set_aside_at, discarded_at",
    "consumer_offsets": "consumer, topic, partition, next_offset, topic_id, lost, duplicates",
    "subscriptions": "consumer, topic",
    "held_partitions": "consumer, topic, partition, error",
}
OF_ONE = {
    ORDERS: {"orders": "order_id, status, payment_method, currency, total_cents, placed_at"},
    DEAD_LETTERS: {
        "dead_letters": "dead_letter_id, consumer, topic, failure, status",
        "actions": "dead_letter_id, what",
    },
}


def grants(service: str, login: str) -> Iterator[str]:
    """Yields the GRANT statements for the tables of one service's database."""
    for table, columns in (OF_EVERY_SERVICE | OF_ONE.get(service, {})).items():
        yield f"GRANT SELECT ({columns}) ON {table} TO {login}"
