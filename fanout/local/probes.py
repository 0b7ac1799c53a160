"""How each process is asked whether it is ready."""

import asyncio
import smtplib
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import Any

import asyncpg
import httpx
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from fanout import kafka_admin
from fanout.local import postgres, registry, smtp_server
from fanout.local.ports import HOST, Ports
from fanout.local.topology import StackSpec
from fanout.provision.databases import superuser

Probe = Callable[[], bool]

ANSWER_SECONDS = 5
COORDINATORS = 4  # partitions of the offsets topic, each with its own coordinator


def probe_of(spec: StackSpec, name: str) -> Probe:
    if name == "postgres":
        return lambda: asyncio.run(_postgres_selects(spec))
    if name == "kafka":
        return lambda: _groups_can_commit(spec.ports)
    if name == "registry":
        return lambda: _registry_lists(spec.ports)
    if name == smtp_server.NAME:
        return lambda: _mailbox_answers(spec.ports)
    port = next(process.ports[0] for process in spec.service_processes() if process.name == name)
    return lambda: _is_ok(f"http://{HOST}:{port}/health/ready")


async def _postgres_selects(spec: StackSpec) -> bool:
    try:
        async with superuser(spec.ports.postgres, spec.passwords[postgres.SUPERUSER]) as db:
            return bool(await db.fetchval("SELECT 1") == 1)
    except (OSError, asyncpg.CannotConnectNowError):
        return False


def _registry_lists(ports: Ports) -> bool:
    management = f"http://{HOST}:{ports.registry_management}/health/ready"
    return _is_ok(management) and _is_ok(f"{registry.url(ports)}/subjects")


def _mailbox_answers(ports: Ports) -> bool:
    try:
        with smtplib.SMTP(
            HOST, ports.smtp, local_hostname=smtp_server.DOMAIN, timeout=ANSWER_SECONDS
        ) as server:
            return server.noop()[0] == 250
    except OSError:
        return False


@cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=ANSWER_SECONDS, trust_env=False, verify=False)


def _is_ok(url: str) -> bool:
    try:
        return _client().get(url).status_code == 200
    except httpx.HTTPError:
        return False


def broker_answers(ports: Ports) -> bool:
    """Enough to create topics, but groups may not be able to commit yet."""
    try:
        return bool(kafka_admin.admin(ports).list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def _groups_can_commit(ports: Ports) -> bool:
    """When the port opens the coordinators may still be loading, so a group of each commits an offset."""
    admin = kafka_admin.admin(ports)
    try:
        topics = [name for name in admin.list_topics(timeout=1).topics if not name.startswith("__")]
        if topics:
            _commit_and_forget(admin, topics[0])
    except KafkaException:
        return False
    return True


def _commit_and_forget(admin: AdminClient, topic: str) -> None:
    # Names that differ in their last character by one fall on neighbouring partitions of the offsets topic.
    groups = [f"fanout-ready-{number}" for number in range(COORDINATORS)]
    for group in groups:
        offset = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 0)])
        _wait(admin.alter_consumer_group_offsets([offset], request_timeout=ANSWER_SECONDS))
    _wait(admin.delete_consumer_groups(groups, request_timeout=ANSWER_SECONDS))


def _wait(futures: dict[str, Future[Any]]) -> None:
    for future in futures.values():
        future.result()
