"""`python -m tests.faults.fake_dockerd SOCKET`: a process that listens as dockerd does, no more.

The test starts it in namespaces of its own, so that nothing changes on the machine.
"""

import socket
import sys
from pathlib import Path


def main() -> None:
    """Listen until somebody ends it."""
    Path("/proc/self/comm").write_text("dockerd", encoding="ascii")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(sys.argv[1])
        server.listen()
        print("listening", flush=True)  # noqa: T201 -- the test waits for it
        while True:
            server.accept()[0].close()


main()
