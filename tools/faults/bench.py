"""What every case works with: a folder, a seed, sums of what was found, one result line."""

import json
import pathlib
import random
import shutil
import subprocess
import tempfile
import threading
import time

from ledger import Ledger
from server import Server

VIOLATIONS = ("lost", "doubled", "phantom", "corrupt", "partial", "latest", "law", "unreported",
              "acked_after", "unexpected")


class Skipped(Exception):
    """The machine cannot do this; says why."""


class Bench:
    """One run of one case."""

    def __init__(self, case, rounds, seed):
        self.case, self.rounds, self.seed = case, rounds, seed
        self.random = random.Random(f"{case}/{seed}")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"axle-faults-{case}-"))
        self.sums = dict.fromkeys(VIOLATIONS, 0)
        self.done = 0
        self.restarts, self.first_acks = [], []
        self.notes, self.examples, self.ledgers, self.servers = {}, [], [], []
        self.cleanups = []

    # -- making things

    def server(self, data=None, **settings):
        server = Server(data or self.folder / "data", **settings)
        server.log = self.folder / f"server-{len(self.servers)}.log"
        self.servers.append(server)
        return server

    def ledger(self, **options):
        ledger = Ledger(self.seed, self.folder, **options)
        self.ledgers.append(ledger)
        return ledger

    def fleet(self, data=None, settings=None, **options):
        """A server that is up, and a ledger whose devices it knows."""
        server, ledger = self.server(data, **(settings or {})), self.ledger(**options)
        server.start()
        ledger.enroll(server)
        return server, ledger

    # -- noting things

    def note(self, name, count=1):
        self.notes[name] = self.notes.get(name, 0) + count

    def found(self, found, words=None):
        """Adds violations by name."""
        for name, count in found.items():
            self.sums[name] += count
        if words and any(found.values()):
            self.example(words)

    def example(self, words):
        if len(self.examples) < 20:
            self.examples.append(words)

    def restart(self, server, **options):
        self.restarts.append(server.start(**options))

    def load(self, server, ledger):
        """Loads until the returned function is called."""
        stop = threading.Event()
        threads = ledger.drive(server, stop)

        def end():
            stop.set()
            for thread in threads:
                thread.join(60)
            if ledger.first_ack:
                self.first_acks.append((ledger.first_ack - server.started) * 1000)
        return end

    def await_ack(self, ledger, seconds=20):
        """Waits for the first acknowledgement of the load that runs; whether it came."""
        until = time.time() + seconds
        while ledger.first_ack is None and time.time() < until:
            time.sleep(0.005)
        return ledger.first_ack is not None

    def check(self, server, ledger, everything=False):
        self.found(ledger.check(server, everything), f"round {self.done}")

    def check_stopped(self, server):
        """`axle verify` on a stopped directory must find nothing."""
        findings, _torn = server.verify()
        self.found({"unexpected": len(findings)}, f"axle verify: {findings[:3]}")

    # -- the end

    def close(self):
        for server in self.servers:
            server.kill()
        for cleanup in reversed(self.cleanups):
            cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)

    def line(self, seconds, skipped=None):
        figures = {"sent": 0, "acked": 0, "refused": 0, "unknown": 0}
        for ledger in self.ledgers:
            for name, count in ledger.figures().items():
                figures[name] += count
            self.sums["unexpected"] += ledger.refused_puback
            self.examples += ledger.examples
        result = {"case": self.case, "rounds": self.done, "seed": self.seed, **figures, **self.sums,
                  "restart_ms": spread(self.restarts), "first_ack_ms": spread(self.first_acks),
                  "seconds": round(seconds, 1), **self.notes}
        if skipped:
            result["SKIPPED"] = skipped
        if self.is_bad():
            result["examples"] = self.examples[:20]
        return json.dumps(result)

    def is_bad(self):
        return any(self.sums.values())


def spread(figures):
    if not figures:
        return None
    ordered = sorted(figures)
    return {"p50": round(ordered[len(ordered) // 2]), "max": round(ordered[-1])}


def needs(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Skipped(f"no {', '.join(missing)} on this machine")


def shell(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout
