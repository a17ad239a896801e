"""Runs the built binary for real clients. Every process is started here and ended by its handle."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

BIN = os.environ.get("AXLE_BIN", "axle")


class Server:
    """One axle on free ports with a data directory of its own."""

    def __init__(self, folder: pathlib.Path):
        self.data = folder / "data"
        self.folder = folder
        self.process = None
        self.start()

    def start(self):
        env = dict(os.environ)
        for section in ("HTTP", "OPS", "MQTT", "DEVICE_HTTPS"):
            env[f"AXLE_{section}__LISTEN"] = "127.0.0.1:0"
        env["AXLE_MQTT__PLAIN_LISTEN"] = "127.0.0.1:0"
        env["AXLE_MQTT__PLAIN_ACCESS"] = "all"
        log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen(
            [BIN, "serve", "--data-dir", str(self.data)], env=env, stdout=log, stderr=log
        )
        addresses = self.data / "addresses.json"
        deadline = time.monotonic() + 30
        while True:
            if addresses.exists():
                self.addresses = json.loads(addresses.read_text())
                if self.pid_owns_addresses():
                    return
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server did not get ready"
            time.sleep(0.02)

    def pid_owns_addresses(self):
        """After a kill the old file lies there until the new server has replaced it."""
        host, port = self.addresses["http"].rsplit(":", 1)
        probe = subprocess.run(
            ["curl", "-sf", "-o", "/dev/null", f"http://{host}:{port}/healthz"], check=False
        )
        return probe.returncode == 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=30)

    @property
    def http(self):
        return "http://" + self.addresses["http"]

    def host_port(self, listener):
        host, port = self.addresses[listener].rsplit(":", 1)
        return host, int(port)

    @property
    def token(self):
        return (self.data / "admin.token").read_text().strip()

    def axle(self, *arguments, expect=0):
        done = subprocess.run(
            [BIN, *arguments, "--data-dir", str(self.data)],
            capture_output=True, text=True, timeout=60, check=False,
        )
        assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def curl(self, *arguments):
        done = subprocess.run(["curl", "-s", *arguments], capture_output=True, timeout=60, check=True)
        return done.stdout.decode()

    def api(self, method, path, body=None, token=None):
        arguments = ["-X", method, self.http + path, "-H", f"Authorization: Bearer {token or self.token}"]
        if body is not None:
            arguments += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return json.loads(self.curl(*arguments) or "null")

    def query(self, sql):
        answer = self.api("POST", "/api/v1/query", {"sql": sql})
        assert "rows" in answer, answer
        return answer["rows"]

    def settle(self):
        """Waits until everything that was acknowledged before this call is shown."""
        end = self.api("GET", "/api/v1/positions")["appended"]
        deadline = time.monotonic() + 30
        while True:
            applied = self.api("GET", "/api/v1/positions")["applied"]
            if min(applied.values()) >= end:
                return
            assert time.monotonic() < deadline, applied
            time.sleep(0.02)

    def add_device(self, name):
        keys = self.folder / "keys"
        printed = self.axle("device", "add", name, "--out", str(keys))
        return keys, printed


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    if server.process.poll() is None:
        assert server.stop() == 0
