"""Real outbound proxies and a door before the simulator that knows from where it was knocked at.

Everything is on loopback, so addresses tell the ways apart: proxies go out from 127.0.0.2 and 127.0.0.3, and what comes from
127.0.0.1 came around them.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

import harness

HTTP_EXIT = "127.0.0.2"
SOCKS_EXIT = "127.0.0.3"
BUFFER = 65_536


def needs(program: str):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


class Proxy:
    """A proxy's process, its URL with the login, and how often it says that it was used."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, harness.free_port()
        self.start()

    def start(self):
        self.process = harness.Process(self.command(), self.folder, f"{self.kind}-{self.port}")
        harness.wait_for(self.kind, self._open)

    def _open(self):
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    @property
    def shown(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def url(self, scheme: str | None = None) -> str:
        return f"{scheme or self.scheme}://{self.login}127.0.0.1:{self.port}"

    def stop(self, how=harness.signal.SIGKILL):
        self.process.stop(how)


class Tinyproxy(Proxy):
    kind, scheme = "tinyproxy", "http"

    def __init__(self, folder: Path, user: str | None = None, password: str | None = None):
        needs("tinyproxy")
        self.user, self.password = user, password
        self.login = f"{user}:{password}@" if user else ""
        super().__init__(folder)

    def command(self):
        file = self.folder / f"tinyproxy-{self.port}.conf"
        auth = f"BasicAuth {self.user} {self.password}\n" if self.user else ""
        file.write_text(f"Port {self.port}\nListen 127.0.0.1\nBind {HTTP_EXIT}\nTimeout 600\nMaxClients 200\nLogLevel Connect\n{auth}")
        return ["tinyproxy", "-d", "-c", file]

    def uses(self) -> list[str]:
        """The CONNECT requests in its log."""
        return [line for line in self.process.output().splitlines() if "Request" in line and "CONNECT" in line]


class Microsocks(Proxy):
    kind, scheme = "microsocks", "socks5"

    def __init__(self, folder: Path, user: str | None = None, password: str | None = None):
        needs("microsocks")
        self.user, self.password = user, password
        self.login = f"{user}:{password}@" if user else ""
        super().__init__(folder)

    def command(self):
        login = ["-u", self.user, "-P", self.password] if self.user else []
        return ["microsocks", "-i", "127.0.0.1", "-p", self.port, "-b", SOCKS_EXIT, *login]

    def uses(self) -> list[str]:
        return [line for line in self.process.output().splitlines() if "connected to" in line]


class Door:
    """Stands before a server and notes the address each connection came from. With `tls`, it is spoken to in TLS."""

    def __init__(self, target: str, tls: tuple[Path, Path] | None = None):
        host, port = target.removeprefix("http://").rsplit(":", 1)
        self.target, self.peers = (host, int(port)), []
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                client, peer = self.socket.accept()
                self.peers.append(peer[0])
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client):
        with suppress(OSError):
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
            server = socket.create_connection(self.target)
            threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
            self._copy(client, server)

    @staticmethod
    def _copy(source, sink):
        with suppress(OSError):
            while data := source.recv(BUFFER):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.socket.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority."""
    needs("openssl")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key
