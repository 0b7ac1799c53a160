"""`python -I -S chassis/http/probe.py PORT [PATH]`: exit 0 if the process next door is well. It imports almost nothing.

With a path the answer must be 200; without one, something must greet.
"""

import socket
import sys

TIMEOUT_SECONDS = 4

port, path = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
try:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        if path:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = connection.recv(64)
except OSError as error:
    sys.exit(f"nothing answers on port {port}: {error}")
sys.exit(0 if answer and (not path or b" 200 " in answer) else f"{path} answers {answer!r}")
