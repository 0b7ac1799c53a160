"""Stands for any further services that want to know of payments; `fanout compare --consumers` counts on it.

Run it with `uvicorn examples.synchronous.listener:app`. Each path /NAME is a listener of its own, and takes
TAKES_SECONDS for each payment.
"""

import asyncio

from fastapi import FastAPI
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    takes_seconds: float


app = FastAPI(title="Listeners")
settings = Settings()


@app.post("/{name}", status_code=204)
async def take(name: str) -> None:
    await asyncio.sleep(settings.takes_seconds)


@app.get("/health")
async def health() -> bool:
    return True
