"""What the customer reads. Messages name ids and amounts, never a person."""

CANCELLATIONS = {
    "payment_declined": "your payment was declined",
    "out_of_stock": "we have run out of something you ordered",
    "customer_request": "you asked us to",
}


def placed(order_id: str, total_cents: int, currency: str) -> str:
    return f"Thank you! We have your order {order_id} over {money(total_cents, currency)}."


def authorized(order_id: str, amount_cents: int, currency: str) -> str:
    return f"Your payment of {money(amount_cents, currency)} for order {order_id} went through."


def declined(order_id: str, reason: str | None) -> str:
    return (
        f"Your payment for order {order_id} was declined: {(reason or 'no reason given').replace('_', ' ')}."
    )


def cancelled(order_id: str, reason: str) -> str:
    return f"Your order {order_id} was cancelled because {CANCELLATIONS[reason]}."


def shipped(order_id: str, tracking_code: str) -> str:
    return f"Your order {order_id} is on its way. Track it with {tracking_code}."


def money(cents: int, currency: str) -> str:
    return f"{cents // 100}.{cents % 100:02} {currency}"
