"""Stands in for a service whose folder was deleted while its block in docker-compose.yml was not.

Otherwise that block would keep `docker compose up` from starting all the others. The process counts as healthy, and
says in its log and in every answer which block can be deleted.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn

IMAGE_OF = "FANOUT_IMAGE_OF"
"""Names, in an image, the service that it was built for."""
HEALTH = ("/health/live", "/health/ready")


def is_removed(service: str) -> bool:
    """Returns True if this image was built for that service. Asked only about a service that cannot be loaded."""
    return os.environ.get(IMAGE_OF) == service


def stand_in(process: str, service: str) -> NoReturn:
    """Answers until SIGTERM: health checks with 200, everything else with 410, and says why."""
    reason = f"services/{service} is gone: delete the block {service}-{process} from docker-compose.yml"
    print(reason, file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, _end)
    StandIn.reason = reason
    address = (os.environ.get("FANOUT_HTTP_HOST", "127.0.0.1"), int(os.environ["FANOUT_HTTP_PORT"]))
    ThreadingHTTPServer(address, StandIn).serve_forever()
    sys.exit()


class StandIn(BaseHTTPRequestHandler):
    reason = ""
    timeout = 60

    def do_GET(self) -> None:
        body = json.dumps({"detail": self.reason}).encode()
        self.send_response(200 if self.path in HEALTH else 410)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Logs no requests."""


def _end(*_: object) -> NoReturn:
    sys.exit()
