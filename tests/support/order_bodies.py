"""What a customer sends."""

LINES = [{"product_id": "mug", "quantity": 2}, {"product_id": "pencil", "quantity": 3}]
ORDER = {
    "currency": "EUR",
    "payment_method": "card",
    "card_token": "tok_visa",
    "lines": LINES,
}
