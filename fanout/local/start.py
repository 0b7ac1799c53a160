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
from fanout.local.topology import Blueprint
from fanout.provision import steps


def bring_up(blueprint: Blueprint, owner_pid: int | None) -> None:
    """Everything runs and is ready afterwards; if that fails, nothing runs that did not run before."""
    supervisor = Supervisor(blueprint.home)
    processes = [
        *blueprint.infrastructure(),
        *blueprint.service_processes(),
        *parent_watch.processes(owner_pid),
    ]
    if supervisor.answers():
        _converge(supervisor, blueprint)
        return
    if take_down(blueprint.home):
        say("stopped what an earlier run left behind")
    ports.require_free({port: process.name for process in processes for port in process.ports})
    _prepare(blueprint)
    with ThreadPoolExecutor() as pool:
        try:
            _launch(supervisor, blueprint, processes)
            _start_all(supervisor, blueprint, pool)
        except BaseException:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            say("taking down what was started")
            take_down(blueprint.home)
            raise


def _converge(supervisor: Supervisor, blueprint: Blueprint) -> None:
    """Already running: start what is missing, take up new services, run the set-up again."""
    say("already running")
    reshape(supervisor, blueprint)
    with ThreadPoolExecutor() as pool:
        _start_all(supervisor, blueprint, pool)


def reshape(supervisor: Supervisor, blueprint: Blueprint) -> None:
    """Supervisor knows the blueprint's processes and no others: those that are gone drain first, what ran goes on."""
    processes = [*blueprint.infrastructure(), *blueprint.service_processes()]
    known = {state.name: state for state in supervisor.states()}
    stop(supervisor, known.keys() - {process.name for process in processes} - {parent_watch.NAME})
    _configure(blueprint, processes)
    supervisor.update(keep=parent_watch.NAME)
    for process in processes:
        if process.name in known and known[process.name].is_alive:
            supervisor.start(process.name)


def _prepare(blueprint: Blueprint) -> None:
    downloads.fetch(blueprint.artifacts)
    with ThreadPoolExecutor() as pool:
        database = pool.submit(postgres.prepare, blueprint.home, blueprint.passwords[postgres.SUPERUSER])
        registry.prepare(blueprint.home)
        kafka.prepare(blueprint.home, blueprint.ports, blueprint.artifacts)
        database.result()


def _launch(supervisor: Supervisor, blueprint: Blueprint, processes: list[Process]) -> None:
    blueprint.home.logs.mkdir(parents=True, exist_ok=True)
    for log in blueprint.home.supervisor_logs:
        log.unlink(missing_ok=True)
    _configure(blueprint, processes)
    supervisor.launch()
    if any(process.name == parent_watch.NAME for process in processes):
        supervisor.start(parent_watch.NAME)


def _configure(blueprint: Blueprint, processes: list[Process]) -> None:
    text = supervisor_config.render(blueprint.home, processes, blueprint.passwords[SECRET])
    write_private(blueprint.home.supervisor_config, text)
    blueprint.write_addresses()


def _start_all(supervisor: Supervisor, blueprint: Blueprint, pool: ThreadPoolExecutor) -> None:
    broker = pool.submit(_start_broker, supervisor, blueprint)
    mail = pool.submit(start, supervisor, smtp_server.NAME, probes.probe_of(blueprint, smtp_server.NAME))
    start(supervisor, "postgres", probes.probe_of(blueprint, "postgres"))
    say("postgres is ready")
    steps.make_databases(blueprint)
    contracts = pool.submit(_start_registry, supervisor, blueprint)
    steps.migrate(blueprint)
    say("migrations are done")
    broker.result()
    steps.make_topics(blueprint)
    wait_ready(supervisor, "kafka", probes.probe_of(blueprint, "kafka"))
    say("kafka is ready")
    contracts.result()
    mail.result()
    _start_services(supervisor, blueprint)


def _start_broker(supervisor: Supervisor, blueprint: Blueprint) -> None:
    start(supervisor, "kafka", lambda: probes.broker_answers(blueprint.ports))


def _start_registry(supervisor: Supervisor, blueprint: Blueprint) -> None:
    start(supervisor, "registry", probes.probe_of(blueprint, "registry"))
    steps.register_contracts(blueprint)
    say("registry is ready, the contracts are in it")


def _start_services(supervisor: Supervisor, blueprint: Blueprint) -> None:
    names = [process.name for process in blueprint.service_processes()]
    for name in names:
        supervisor.start(name)
    for name in names:
        wait_ready(supervisor, name, probes.probe_of(blueprint, name))
        say(f"{name} is ready")
