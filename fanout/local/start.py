"""Bring a stack up: fetch, prepare, start what can start, set up as soon as each server is ready."""

import signal
from concurrent.futures import ThreadPoolExecutor

from fanout.console import say
from fanout.local import (
    downloads,
    kafka,
    parent_watch,
    ports,
    postgres,
    probes,
    registry,
    smtp_server,
    supervisor_config,
)
from fanout.local.process import Process
from fanout.local.readiness import start, stop, wait_ready
from fanout.local.stack_directory import write_private
from fanout.local.stop import take_down
from fanout.local.supervisor import SECRET, Supervisor
from fanout.local.topology import StackSpec
from fanout.provision import steps


def bring_up(spec: StackSpec, owner_pid: int | None) -> None:
    """Everything runs and is ready afterwards; if that fails, nothing runs that did not run before."""
    supervisor = Supervisor(spec.home)
    processes = [
        *spec.infrastructure(),
        *spec.service_processes(),
        *parent_watch.processes(owner_pid),
    ]
    if supervisor.answers():
        _converge(supervisor, spec)
        return
    if take_down(spec.home):
        say("stopped what an earlier run left behind")
    ports.require_free({port: process.name for process in processes for port in process.ports})
    _prepare(spec)
    with ThreadPoolExecutor() as pool:
        try:
            _launch(supervisor, spec, processes)
            _start_all(supervisor, spec, pool)
        except BaseException:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            say("taking down what was started")
            take_down(spec.home)
            raise


def _converge(supervisor: Supervisor, spec: StackSpec) -> None:
    """Already running: start what is missing, take up new services, run the set-up again."""
    say("already running")
    reshape(supervisor, spec)
    with ThreadPoolExecutor() as pool:
        _start_all(supervisor, spec, pool)


def reshape(supervisor: Supervisor, spec: StackSpec) -> None:
    """Supervisor knows the spec's processes and no others: those that are gone drain first, what ran goes on."""
    processes = [*spec.infrastructure(), *spec.service_processes()]
    known = {state.name: state for state in supervisor.states()}
    stop(supervisor, known.keys() - {process.name for process in processes} - {parent_watch.NAME})
    _configure(spec, processes)
    supervisor.update(keep=parent_watch.NAME)
    for process in processes:
        if process.name in known and known[process.name].is_alive:
            supervisor.start(process.name)


def _prepare(spec: StackSpec) -> None:
    downloads.fetch(spec.artifacts)
    with ThreadPoolExecutor() as pool:
        database = pool.submit(postgres.prepare, spec.home, spec.passwords[postgres.SUPERUSER])
        registry.prepare(spec.home)
        kafka.prepare(spec.home, spec.ports, spec.artifacts)
        database.result()


def _launch(supervisor: Supervisor, spec: StackSpec, processes: list[Process]) -> None:
    spec.home.logs.mkdir(parents=True, exist_ok=True)
    for log in spec.home.supervisor_logs:
        log.unlink(missing_ok=True)
    _configure(spec, processes)
    supervisor.launch()
    if any(process.name == parent_watch.NAME for process in processes):
        supervisor.start(parent_watch.NAME)


def _configure(spec: StackSpec, processes: list[Process]) -> None:
    text = supervisor_config.render(spec.home, processes, spec.passwords[SECRET])
    write_private(spec.home.supervisor_config, text)
    spec.write_addresses()


def _start_all(supervisor: Supervisor, spec: StackSpec, pool: ThreadPoolExecutor) -> None:
    broker = pool.submit(_start_broker, supervisor, spec)
    mail = pool.submit(start, supervisor, smtp_server.NAME, probes.probe_of(spec, smtp_server.NAME))
    start(supervisor, "postgres", probes.probe_of(spec, "postgres"))
    say("postgres is ready")
    steps.make_databases(spec)
    contracts = pool.submit(_start_registry, supervisor, spec)
    steps.migrate(spec)
    say("migrations are done")
    broker.result()
    steps.make_topics(spec)
    wait_ready(supervisor, "kafka", probes.probe_of(spec, "kafka"))
    say("kafka is ready")
    contracts.result()
    mail.result()
    _start_services(supervisor, spec)


def _start_broker(supervisor: Supervisor, spec: StackSpec) -> None:
    start(supervisor, "kafka", lambda: probes.broker_answers(spec.ports))


def _start_registry(supervisor: Supervisor, spec: StackSpec) -> None:
    start(supervisor, "registry", probes.probe_of(spec, "registry"))
    steps.register_contracts(spec)
    say("registry is ready, the contracts are in it")


def _start_services(supervisor: Supervisor, spec: StackSpec) -> None:
    names = [process.name for process in spec.service_processes()]
    for name in names:
        supervisor.start(name)
    for name in names:
        wait_ready(supervisor, name, probes.probe_of(spec, name))
        say(f"{name} is ready")
