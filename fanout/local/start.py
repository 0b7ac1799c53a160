"""Brings a stack up: fetches, prepares, starts what can start, and sets each server up as soon as it is ready."""

import asyncio
import json
import signal
import smtplib
from collections.abc import Callable, Container, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from types import MappingProxyType
from typing import Any

import asyncpg
import httpx
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from fanout import kafka_admin
from fanout.console import say
from fanout.local import code, downloads, kafka, observers, ports, postgres, registry, trial
from fanout.local.ports import HOST, Ports
from fanout.local.process import Process
from fanout.local.stack_directory import write_private
from fanout.local.stop import PARENT_WATCH, parent_watch, require_no_silent_supervisor, take_down
from fanout.local.supervisor import SECRET, Probe, State, Supervisor, configuration, descriptions
from fanout.local.topology import MAILBOX, StackSpec
from fanout.provision import steps
from fanout.provision.databases import superuser

ANSWER_SECONDS = 5
COORDINATORS = 4
"""Partitions of the offsets topic, each with its own coordinator."""


def bring_up(spec: StackSpec, owner_pid: int | None) -> None:
    """Everything runs and is ready afterwards; if that fails, nothing runs that did not run before."""
    supervisor = Supervisor(spec.directory)
    if supervisor.answers():
        before = supervisor.states()
        changed = changed_code(supervisor, spec)
        reshape(supervisor, spec)
        with ThreadPoolExecutor() as pool:
            _start_all(supervisor, spec, pool, changed, pids(before))
        if went_on := already_running(before, supervisor.states()):
            say(went_on)
        return
    require_no_silent_supervisor(spec.directory)
    if take_down(spec.directory):
        say("stopped what an earlier run left behind")
    processes = spec.processes()
    processes += [] if owner_pid is None else [parent_watch(owner_pid)]
    ports.require_free({port: process.name for process in processes for port in process.ports})
    _prepare(spec)
    with ThreadPoolExecutor() as pool:
        try:
            _launch(supervisor, spec, processes)
            _start_all(supervisor, spec, pool, {}, {})
        except BaseException:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            say("taking down what was started")
            take_down(spec.directory)
            raise


def _prepare(spec: StackSpec) -> None:
    downloads.fetch(spec.artifacts)
    with ThreadPoolExecutor() as pool:
        database = pool.submit(postgres.prepare, spec.directory, spec.passwords[postgres.SUPERUSER])
        spec.directory.registry.mkdir(parents=True, exist_ok=True)
        kafka.prepare(spec.directory, spec.ports, spec.artifacts)
        database.result()


def _launch(supervisor: Supervisor, spec: StackSpec, processes: list[Process]) -> None:
    spec.directory.logs.mkdir(parents=True, exist_ok=True)
    for log in spec.directory.supervisor_logs:
        log.unlink(missing_ok=True)
    spec.directory.place_socket()
    _configure(spec, processes)
    supervisor.launch()
    if any(process.name == PARENT_WATCH for process in processes):
        supervisor.start(PARENT_WATCH)


def _configure(spec: StackSpec, processes: list[Process]) -> None:
    write_private(spec.directory.processes, json.dumps(descriptions(processes), indent=2) + "\n")
    if spec.observers:
        observers.prepare(spec.directory, spec.ports, spec.service_processes())
    text = configuration(spec.directory, processes, spec.passwords[SECRET])
    write_private(spec.directory.supervisor_config, text)
    spec.write_addresses()


def _start_all(
    supervisor: Supervisor,
    spec: StackSpec,
    pool: ThreadPoolExecutor,
    changed: dict[str, list[str]],
    before: Mapping[str, int],
) -> None:
    """`changed` are processes that run already and have to take over changed code, with the files.

    Says nothing of a process that has the same pid as `before`.
    """
    servers = spec.servers()
    broker = pool.submit(_start, supervisor, "kafka", lambda: _broker_answers(spec.ports))
    mail = pool.submit(_start, supervisor, MAILBOX, probe_of(spec, MAILBOX))
    for process in spec.observers:
        supervisor.start(process.name)
    _start(supervisor, "postgres", probe_of(spec, "postgres"))
    _say_if_new(supervisor, before, "postgres", "postgres is ready")
    steps.make_databases(servers)
    contracts = pool.submit(_start_registry, supervisor, spec, before)
    say(migrated(steps.migrate(servers)))
    broker.result()
    steps.make_topics(servers)
    supervisor.wait_ready("kafka", probe_of(spec, "kafka"))
    _say_if_new(supervisor, before, "kafka", "kafka is ready")
    contracts.result()
    mail.result()
    _say_if_new(supervisor, before, MAILBOX, f"{MAILBOX} is ready")
    start_services(supervisor, spec, changed, before=before)
    _wait_for_observers(supervisor, spec, before)


def _wait_for_observers(supervisor: Supervisor, spec: StackSpec, before: Mapping[str, int]) -> None:
    for process in spec.observers:
        supervisor.wait_ready(process.name, probe_of(spec, process.name))
        _say_if_new(supervisor, before, process.name, f"{process.name} is ready")


def start_services(
    supervisor: Supervisor,
    spec: StackSpec,
    changed: dict[str, list[str]],
    only: Container[str] | None = None,
    before: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Starts every process of a service, the `changed` ones anew, or `only` some; returns when they are ready."""
    names = [process.name for process in spec.service_processes() if only is None or process.name in only]
    names.sort(key=lambda name: name in changed)  # so that what was restarted is said together, at the end
    try:
        supervisor.stop(set(changed))
    finally:
        for name in names:
            supervisor.start(name)
    for name in names:
        supervisor.wait_ready(name, probe_of(spec, name))
        if name in changed:
            say(code.sentence(name, changed[name]))
        else:
            _say_if_new(supervisor, before, name, f"{name} is ready{_address(spec, name)}")


def _say_if_new(supervisor: Supervisor, before: Mapping[str, int], name: str, sentence: str) -> None:
    if supervisor.state(name).pid != before.get(name):
        say(sentence)


def pids(states: Iterable[State]) -> dict[str, int]:
    """Returns the pid of each process that has one."""
    return {state.name: state.pid for state in states if state.pid}


def already_running(before: Iterable[State], now: Iterable[State]) -> str:
    """Returns how many processes are the same as before, all or the others; nothing if none is."""
    was, runs = pids(before), pids(now)
    same = sum(was.get(name) == pid for name, pid in runs.items())
    which = "everything" if same == len(runs) else "everything else"
    return f"{which} was already running ({same})" if same else ""


def migrated(changes: Iterable[str]) -> str:
    """Returns which services' migrations ran, given what the migrations say: `orders: alembic_version`."""
    found = [change.partition(": ") for change in changes]
    ran = dict.fromkeys(service for service, _, what in found if what != "subscriptions")
    return f"migrations are done: {', '.join(ran) or 'none was new'}"


def _address(spec: StackSpec, name: str) -> str:
    service = name.removesuffix("-api")
    return f" at {spec.addresses().apis[service]}" if service != name else ""


def changed_code(supervisor: Supervisor, spec: StackSpec) -> dict[str, list[str]]:
    """Returns which running processes have to take over which changed files; tries to import them and what is new.

    Raises BrokenCode before anything is stopped.
    """
    alive = {state.name: state.is_alive for state in supervisor.states()}
    processes = spec.service_processes()
    changed = code.changed(spec.directory, [each for each in processes if alive.get(each.name)])
    new = [process.name for process in processes if process.name not in alive]
    if changed or new:
        trial.require_importable({each.service for each in processes if each.name in (*changed, *new)})
    return changed


def _start(supervisor: Supervisor, name: str, is_ready: Probe) -> None:
    supervisor.start(name)
    supervisor.wait_ready(name, is_ready)


def _start_registry(supervisor: Supervisor, spec: StackSpec, before: Mapping[str, int]) -> None:
    _start(supervisor, "registry", probe_of(spec, "registry"))
    new = steps.register_contracts(spec.servers())
    _say_if_new(supervisor, before, "registry", "registry is ready, the contracts are in it")
    if new and "registry" in before:
        say(f"new in the registry: {', '.join(new)}")


def reshape(supervisor: Supervisor, spec: StackSpec) -> None:
    """Gives supervisor exactly the spec's processes: those that are gone drain first, those that ran go on."""
    processes = spec.processes()
    known = {state.name: state for state in supervisor.states()}
    supervisor.stop(known.keys() - _unchanged(spec, processes) - {PARENT_WATCH})
    _configure(spec, processes)
    supervisor.update(keep=PARENT_WATCH)
    for process in processes:
        if process.name in known and known[process.name].is_alive:
            supervisor.start(process.name)


def _unchanged(spec: StackSpec, processes: list[Process]) -> set[str]:
    """Returns the processes that are to go on; supervisor would stop the others one after the other."""
    known = json.loads(spec.directory.processes.read_text())
    return {name for name, described in descriptions(processes).items() if known.get(name) == described}


def probe_of(spec: StackSpec, name: str) -> Probe:
    """Returns how to ask the process whether it is ready."""
    probes: dict[str, Callable[[], bool]] = {
        "postgres": lambda: asyncio.run(_postgres_selects(spec)),
        "kafka": lambda: _groups_can_commit(spec.ports),
        "registry": lambda: _registry_lists(spec.ports),
        MAILBOX: lambda: _mailbox_answers(spec.ports),
    }
    if name in probes:
        return probes[name]
    if url := observers.health(spec.ports).get(name):
        return lambda: _is_ok(url)
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
        with smtplib.SMTP(HOST, ports.smtp, local_hostname="localhost", timeout=ANSWER_SECONDS) as server:
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


def _broker_answers(ports: Ports) -> bool:
    """Enough to create topics, but groups may not be able to commit yet."""
    try:
        return bool(kafka_admin.admin(ports).list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def _groups_can_commit(ports: Ports) -> bool:
    """Returns True once all group coordinators commit offsets; they may still be loading when Kafka's port opens."""
    admin = kafka_admin.admin(ports)
    try:
        topics = [name for name in admin.list_topics(timeout=1).topics if not name.startswith("__")]
        if topics:
            _commit_and_delete(admin, topics[0])
    except KafkaException:
        return False
    return True


def _commit_and_delete(admin: AdminClient, topic: str) -> None:
    # Names that differ by one in their last character fall on neighbouring partitions of the offsets topic.
    groups = [f"fanout-ready-{number}" for number in range(COORDINATORS)]
    for group in groups:
        offset = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 0)])
        _wait(admin.alter_consumer_group_offsets([offset], request_timeout=ANSWER_SECONDS))
    _wait(admin.delete_consumer_groups(groups, request_timeout=ANSWER_SECONDS))


def _wait(futures: dict[str, Future[Any]]) -> None:
    for future in futures.values():
        future.result()
