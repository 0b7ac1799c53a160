"""An image that was built without its service stands in for it; one that lacks another service fails as ever."""

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from chassis.removed_service import IMAGE_OF
from fanout.repository import REPOSITORY
from tests.support.stack import free_base

WORKER = [sys.executable, "-m", "chassis", "worker", "loyalty"]


def test_a_container_without_its_service_is_healthy_and_says_which_block_may_go() -> None:
    port = free_base()
    environment = os.environ | {IMAGE_OF: "loyalty", "FANOUT_HTTP_PORT": str(port)}
    with subprocess.Popen(
        WORKER, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        said = process.stderr.readline()
        assert "delete the block loyalty-worker from docker-compose.yml" in said
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                answers = [httpx.get(f"{url}/health/ready"), httpx.post(f"{url}/orders")]
                break
            except httpx.ConnectError:
                continue
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert [answer.status_code for answer in answers] == [200, 410]
    assert answers[1].json()["detail"] in said


@pytest.mark.parametrize("built_for", ["", "loyality"])
def test_a_process_of_no_service_ends_at_once_unless_its_image_was_built_for_it(built_for: str) -> None:
    environment = os.environ | {IMAGE_OF: built_for, "FANOUT_HTTP_PORT": "1"}
    done = subprocess.run(WORKER, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (2, "there is no services/loyalty/service.py\n")
