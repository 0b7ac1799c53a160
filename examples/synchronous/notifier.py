"""Sends the customer an e-mail for each payment that it is told of, and answers when the mail server has taken it.

Run it with `uvicorn examples.synchronous.notifier:app` and the mail server's address in SMTP, as HOST:PORT.
"""

import smtplib
import threading
from email.message import EmailMessage

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from pydantic_settings import BaseSettings

DOMAIN = "notifier.synchronous.example"
SMTP_SECONDS = 1.5
"""Less than payments waits for the answer."""


class Settings(BaseSettings):
    smtp: str

    @property
    def server(self) -> tuple[str, int]:
        host, _, port = self.smtp.rpartition(":")
        return host, int(port)


class Payment(BaseModel):
    payment_id: str
    order_id: str
    customer_id: str
    amount_cents: int
    currency: str


app = FastAPI(title="Notifier")
settings = Settings()


@app.post("/payments", status_code=204)
def notify(payment: Payment) -> None:
    """Sends a repeated request again, with the same Message-ID, by which a mailbox can drop it."""
    try:
        send(mail(payment))
    except OSError as error:  # SMTPException is one
        raise HTTPException(503, f"the mail server does not take mail: {error}") from error


@app.get("/health")
def health() -> bool:
    return True


class Sessions(threading.local):
    """Keeps an SMTP session open for each thread, because opening one takes longer than a mail."""

    session: smtplib.SMTP | None = None


sessions = Sessions()


def send(mail: EmailMessage) -> None:
    """Sends over this thread's session, or over a new one if the server has ended it. Raises OSError."""
    session, sessions.session = sessions.session, None
    if session is not None:
        try:
            session.send_message(mail)
        except smtplib.SMTPServerDisconnected:
            session = None
    if session is None:
        session = smtplib.SMTP(*settings.server, local_hostname=DOMAIN, timeout=SMTP_SECONDS)
        session.send_message(mail)
    sessions.session = session  # only after a mail that went well


def mail(payment: Payment) -> EmailMessage:
    made = EmailMessage()
    made["From"] = f"payments@{DOMAIN}"
    made["To"] = f"{payment.customer_id}@customers.example"
    made["Subject"] = "Your payment went through"
    made["Message-ID"] = f"<{payment.payment_id}@{DOMAIN}>"
    made["X-Order-ID"] = payment.order_id
    amount = f"{payment.amount_cents / 100:.2f} {payment.currency}"
    made.set_content(f"Your payment of {amount} for order {payment.order_id} went through.")
    return made
