"""Every environment variable a service process reads, in one frozen place."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`FANOUT_<NAME>` each. An API process is given neither `FANOUT_KAFKA` nor `FANOUT_REGISTRY_URL`."""

    model_config = SettingsConfigDict(env_prefix="FANOUT_", frozen=True)

    database_url: str
    http_host: str = "127.0.0.1"
    http_port: int = 0
    log_level: str = "INFO"

    kafka: str = ""
    registry_url: str = ""
    batch_size: int = Field(default=500, ge=1, le=5_000)
    session_timeout_ms: int = Field(default=6_000, ge=6_000)
    drain_seconds: float = Field(default=8.0, gt=0)
