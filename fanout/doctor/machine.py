"""The machine: room on its disks, free memory, how busy it is, and settings in the environment meant for others."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from fanout import environment, machine
from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings

GB = 1_000_000_000
LEAST_DISK, ENOUGH_DISK = 1 * GB, 5 * GB
LEAST_MEMORY, ENOUGH_MEMORY = 0.2 * GB, 0.5 * GB
TO_START = 2 * GB
"""Bytes that a stack takes: 1.9 GB at most."""
LOCAL = ("127.0.0.1", "localhost")


def disk(around: Surroundings) -> Iterator[Finding]:
    if around.in_container:
        yield Finding(
            "unasked", "disk", "the disk of the containers' volumes: docker system df, docker volume ls"
        )
        return
    from fanout.local import postgres

    folders = [around.directory.path, postgres.data_folder(around.directory)]
    by_device = {os.stat(existing).st_dev: existing for existing in map(_existing, folders)}
    for folder in by_device.values():
        yield room(folder, psutil.disk_usage(str(folder)).free)


def room(folder: Path, free: int) -> Finding:
    what = f"{free / GB:,.1f} GB are free where {folder} is"
    if free >= ENOUGH_DISK:
        return Finding("ok", "disk", what)
    return Finding(
        "wrong" if free < LEAST_DISK else "watch",
        "disk",
        what,
        "when the disk is full Kafka and Postgres stop; orders are refused, and nothing that was accepted is lost",
        "make room, or move the stack: fanout down, then another folder in FANOUT_HOME",
    )


def memory(around: Surroundings) -> Iterator[Finding]:
    available = psutil.virtual_memory().available
    yield free_memory(available, around.runs)
    if sentence := machine.explanation(now := machine.load(), now):
        yield Finding(
            "watch", "load", sentence, "", "stop what else runs here, or read times with that in mind"
        )


def free_memory(available: int, runs: bool) -> Finding:
    what = f"{available / GB:,.1f} GB of memory are available"
    if not runs and available < TO_START:
        return Finding(
            "watch", "memory", what, "a stack takes up to 1.9 GB", "stop something before fanout up"
        )
    if available >= ENOUGH_MEMORY:
        return Finding("ok", "memory", what)
    return Finding(
        "wrong" if available < LEAST_MEMORY else "watch",
        "memory",
        what,
        "the system ends processes when there is none; a worker that is killed goes on where it was",
        "stop something, or scale services down: fanout scale",
    )


def foreign_settings(_: Surroundings) -> Iterator[Finding]:
    yield settings(environment.dropped())


def settings(dropped: Mapping[str, str]) -> Finding:
    """Returns a finding that names the variables that the tool ignores.

    A proxy that is also for this machine is asked by curl and browsers.
    """
    if not dropped:
        return Finding("ok", "environment", "no proxy and no setting of libpq")
    names = ", ".join(sorted(dropped))
    what = f"{names} {'is' if len(dropped) == 1 else 'are'} set; neither fanout nor what it starts hears that"
    proxies = {name.lower() for name in dropped} & {"http_proxy", "all_proxy"}
    exceptions = next((value for name, value in dropped.items() if name.lower() == "no_proxy"), "")
    if proxies and not any(host in exceptions for host in (*LOCAL, "*")):
        return Finding(
            "watch",
            "environment",
            what,
            "curl and a browser ask the proxy for 127.0.0.1, too, and do not reach the APIs",
            f"export NO_PROXY={','.join(LOCAL)}",
        )
    return Finding("ok", "environment", what)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())
