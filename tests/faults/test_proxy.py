"""The proxy between parts does what the tests of faults count on."""

import socket
import socketserver
import threading

import pytest

from simulator.rig.proxy import Proxy


class _Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while piece := self.request.recv(1024):
            self.request.sendall(piece)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        """A reset connection is part of the game."""


@pytest.fixture
def proxy():
    """A proxy before a server that says back what it hears."""
    with _Server(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with Proxy(f"127.0.0.1:{server.server_address[1]}") as started:
            yield started
        server.shutdown()


def connect(proxy):
    """A connection through the proxy."""
    host, _, port = proxy.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def echo(connection, timeout_s=5.0):
    """What comes back of a word."""
    connection.settimeout(timeout_s)
    connection.sendall(b"word")
    return connection.recv(10)


def test_everything_passes(proxy):
    """Healthy, it is not there."""
    with connect(proxy) as connection:
        assert echo(connection) == b"word"


def test_a_cut_resets_and_lets_new_connections_in(proxy):
    """Like a server that was restarted."""
    with connect(proxy) as connection:
        assert echo(connection) == b"word"
        proxy.cut()
        with pytest.raises(ConnectionError):
            echo(connection)
    with connect(proxy) as connection:
        assert echo(connection) == b"word"


def test_refused_connections_are_let_in_again_when_healed(proxy):
    """Like a machine that is down, and up again at the same address."""
    proxy.refuse()
    with pytest.raises(ConnectionError):
        connect(proxy)
    proxy.heal()
    with connect(proxy) as connection:
        assert echo(connection) == b"word"


def test_a_black_hole_says_nothing_and_is_reset_by_healing(proxy):
    """Old and new connections stand, nothing comes; afterwards both must connect again."""
    with connect(proxy) as old:
        assert echo(old) == b"word"
        proxy.black_hole()
        with connect(proxy) as new:
            for connection in (old, new):
                with pytest.raises(TimeoutError):
                    echo(connection, 0.2)
            proxy.heal()
    with connect(proxy) as connection:
        assert echo(connection) == b"word"
