"""Settings of a service process, from environment variables or from secret files; and the connection to Kafka."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRETS = "FANOUT_SECRETS"
"""The variable that names the folder of secret files, such as `fanout_database_url`."""


class UnreadableSecrets(Exception):
    """The folder of secret files, or a file in it, cannot be read."""


class Settings(BaseSettings):
    """Read from variables `FANOUT_<NAME>`. API processes get neither `FANOUT_KAFKA` nor `FANOUT_REGISTRY_URL`."""

    model_config = SettingsConfigDict(env_prefix="FANOUT_", frozen=True)

    database_url: str
    http_host: str = "127.0.0.1"
    http_port: int = 0
    log_level: str = "INFO"
    token_public_key: str = ""
    """The Ed25519 key by which tokens are verified, DER in base64: the middle line of its PEM file. For APIs only."""
    instance: str = ""
    """The name of this worker among those of its service; Kafka lists it beside its partitions."""

    kafka: str = ""
    kafka_user: str = ""
    kafka_password: str = ""
    """Without a user, the connection to Kafka has no authentication, as in the local stack."""
    registry_url: str = ""
    batch_size: int = Field(default=500, ge=1, le=5_000)
    session_timeout_ms: int = Field(default=6_000, ge=6_000)
    gather_ms: int = Field(default=0, ge=0, le=5_000)
    """How long events may wait in Kafka to be read together with later ones."""
    drain_seconds: float = Field(default=8.0, gt=0)

    trace_events: Literal["each", "batch"] = "each"
    """Whether each sampled event gets a span of its own where it is processed, or only a link from its batch's span."""

    retention_days: float = Field(default=10.0, ge=9.0)
    """How long inbox and outbox rows are kept: longer than records in topics, which are kept for 7 to 8 days."""
    closed_days: float = Field(default=30.0)
    """How long rows are kept whose work is done: sent mail, shipments, dead letters that are closed, and so on."""
    smtp: str = ""
    """host:port of the mail server, for notifications."""

    @model_validator(mode="after")
    def keeps_effects_longer_than_their_events(self) -> "Settings":
        if self.closed_days < self.retention_days:
            raise ValueError(
                f"closed_days is {self.closed_days:g}, less than retention_days, which is {self.retention_days:g}: "
                "fanout verify would miss effects of events that outboxes still have"
            )
        return self

    @property
    def broker(self) -> "Broker":
        return Broker(self.kafka, self.kafka_user, self.kafka_password)


def read_settings() -> Settings:
    """Reads the settings. Raises ValidationError if one is missing or invalid, and UnreadableSecrets."""
    folder = os.environ.get(SECRETS)
    if not folder:
        return Settings()
    try:
        for file in Path(folder).iterdir():
            file.read_bytes()
    except OSError as error:
        raise UnreadableSecrets(
            f"{error.filename} cannot be read ({error.strerror}): it is written by `docker compose up secrets`"
        ) from error
    return Settings(_secrets_dir=folder)


PROTOCOL, MECHANISM = "SASL_PLAINTEXT", "SCRAM-SHA-512"


@dataclass(frozen=True)
class Broker:
    """The address of Kafka and the credentials, as options of both client libraries."""

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
