"""Where Kafka is and who we are to it, in the words of either client library."""

from dataclasses import dataclass

PROTOCOL, MECHANISM = "SASL_PLAINTEXT", "SCRAM-SHA-512"


@dataclass(frozen=True)
class Broker:
    """Without a user it is spoken to in plain text."""

    address: str
    user: str = ""
    password: str = ""
    mechanism: str = MECHANISM

    def for_aiokafka(self) -> dict[str, str]:
        if not self.user:
            return {"bootstrap_servers": self.address}
        return {
            "bootstrap_servers": self.address,
            "security_protocol": PROTOCOL,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.password,
        }

    def for_librdkafka(self) -> dict[str, str | int | float | bool]:
        if not self.user:
            return {"bootstrap.servers": self.address}
        return {
            "bootstrap.servers": self.address,
            "security.protocol": PROTOCOL,
            "sasl.mechanisms": self.mechanism,
            "sasl.username": self.user,
            "sasl.password": self.password,
        }
