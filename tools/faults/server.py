"""One axle process of our own, seen through its public interfaces alone."""

import http.client
import json
import os
import pathlib
import signal
import subprocess
import time

BINARY = os.environ.get("AXLE_BIN", "axle")
READY_S = 60


class Ended(Exception):
    """The server ended before it was ready; says with which code and words."""

    def __init__(self, code, words):
        super().__init__(f"exit {code}: {words[-800:]}")
        self.code, self.words = code, words


class Server:
    """A server on a data directory. It may be started again and again."""

    def __init__(self, data, **settings):
        self.data = pathlib.Path(data)
        self.settings = {
            "HTTP__LISTEN": "127.0.0.1:0", "OPS__LISTEN": "127.0.0.1:0",
            "MQTT__LISTEN": "127.0.0.1:0", "DEVICE_HTTPS__LISTEN": "127.0.0.1:0", "STORE__FLUSH_INTERVAL": "1s",
            "HTTP__UPLOADS_PER_MINUTE_AND_TOKEN": "60000",
            "HTTP__UPLOADS_PER_MINUTE_AND_ADDRESS": "60000", **settings,
        }
        self.process = None
        self.addresses = {}
        self.started = self.ready_ms = 0.0
        self.log = self.data.parent / f"{self.data.name}.log"

    def spawn(self, prefix=(), env=None):
        """Starts and does not wait. `prefix` must leave the server our own child (`strace -D`)."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        (self.data / "addresses.json").unlink(missing_ok=True)
        settings = {f"AXLE_{name}": value for name, value in self.settings.items()}
        self.logged = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.started = time.time()
            self.process = subprocess.Popen(
                [*prefix, BINARY, "serve", "--data-dir", str(self.data)],
                env={**os.environ, **settings, **(env or {})}, stdout=log, stderr=log)

    def await_ready(self):
        """Waits until the doors are open; milliseconds since the start."""
        addresses = self.data / "addresses.json"
        while not addresses.exists():
            if self.process.poll() is not None:
                raise Ended(self.process.returncode, self.words())
            if time.time() - self.started > READY_S:
                self.kill()
                raise Ended(None, "not ready in time: " + self.words())
            time.sleep(0.003)
        self.addresses = json.loads(addresses.read_text())
        self.ready_ms = (time.time() - self.started) * 1000
        return self.ready_ms

    def start(self, prefix=(), env=None):
        self.spawn(prefix, env)
        return self.await_ready()

    def words(self):
        """What the server has said since its last start."""
        with open(self.log, "rb") as log:
            log.seek(self.logged)
            return log.read().decode(errors="replace")

    def is_up(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.is_up():
            self.process.kill()
        if self.process is not None:
            self.process.wait(timeout=60)

    def freeze(self):
        """SIGSTOP, effective on return: no thread comes back out of the kernel, and those that
        wait there for the disk still wait."""
        os.kill(self.process.pid, signal.SIGSTOP)
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat")
        while stat.read_text().rsplit(") ", 1)[1][0] != "T":
            time.sleep(0.0005)

    def stop(self):
        """A clean stop; the exit code, or None where it had to be killed."""
        if self.is_up():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def axle(self, *arguments, check=True):
        done = subprocess.run([BINARY, *arguments, "--data-dir", str(self.data)],
                              capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"{arguments}: exit {done.returncode}: {done.stderr}")
        return done

    def verify(self):
        """`axle verify` on the directory as it lies there: findings, bytes of a torn write."""
        done = self.axle("verify", "--json", check=False)
        try:
            said = json.loads(done.stdout)
        except ValueError:
            return [f"exit {done.returncode}: {done.stderr.strip()[-300:]}"], 0
        findings = [f"{name}: {finding}" for name, part in said["parts"].items()
                    for finding in part["findings"]]
        if done.returncode not in (0, 5) or (done.returncode == 0) != (not findings):
            findings.append(f"verify: exit {done.returncode} with {len(findings)} findings")
        figures = said["parts"]["log"]["figures"] or {}
        return findings, figures.get("torn_bytes", 0)

    @property
    def token(self):
        return (self.data / "admin.token").read_text().strip()

    def call(self, method, path, body=None, headers=None, listener="http", timeout=20):
        """One request: status and parsed body. Raises OSError where no answer came."""
        connection = http.client.HTTPConnection(self.addresses[listener], timeout=timeout)
        try:
            text = None if body is None else json.dumps(body)
            sent = {"Content-Type": "application/json", **(headers or {})}
            if listener == "http":
                sent["Authorization"] = f"Bearer {self.token}"
            connection.request(method, path, text, sent)
            answer = connection.getresponse()
            read = answer.read()
            try:
                return answer.status, json.loads(read or b"null")
            except ValueError:
                return answer.status, read.decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def query(self, sql, seconds=60):
        """Asks again where questions give way to what waits for a slow disk."""
        until = time.time() + seconds
        while True:
            status, said = self.call("POST", "/api/v1/query", {"sql": sql})
            if status != 429 or time.time() > until:
                break
            time.sleep(0.1)
        if status != 200:
            raise RuntimeError(f"query: {status} {said}")
        if said["truncated"]:
            raise RuntimeError(f"the answer is cut short: {sql}")
        return said["rows"]

    def ready(self):
        """`/readyz`: whether it is ready, and the reasons where it is not."""
        status, said = self.call("GET", "/readyz", listener="ops", timeout=10)
        return status == 200, said.get("reasons", []) if isinstance(said, dict) else [said]

    def settle(self, seconds=60):
        """Waits until all that was acknowledged before this call is shown."""
        end = self.call("GET", "/api/v1/positions")[1]["appended"]
        until = time.time() + seconds
        while True:
            applied = self.call("GET", "/api/v1/positions")[1]["applied"]
            if min(applied.values()) >= end:
                return
            if time.time() > until:
                raise RuntimeError(f"the projections do not reach {end}: {applied}")
            time.sleep(0.02)
