"""`python -I -S chassis/http/probe.py PORT [PATH]` checks a process on this host, and exits with 0 if it is healthy.

With PATH the HTTP answer must be 200; without it, the process must send something. Imports little, to start fast.
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
