"""F10: one bit of what lies on the disk is wrong."""

import json
import shutil
import struct
import subprocess
import time

from missing import grown
from server import Ended
from tail import records

# How many of the flips a running server is asked about too.
SERVED_SHARE = 8
# What the state says of people and things; each device's latest values and commands besides.
STATE_PATHS = ("devices?limit=100", "users?limit=100", "tokens", "applications")
# What passes by itself, or by asking.
PASSING = {"age_s", "online", "last_used_at"}


def bits(bench):
    """A flip anywhere in log, telemetry files, manifest, state, its sums or the write-ahead log of
    a killed server: `axle verify` reports it, and a server refuses, rebuilds or answers with an
    error, but serves nothing wrong."""
    server, ledger = grown(bench)
    fill(server, ledger)
    code = server.stop()
    bench.found({"unexpected": code != 0}, f"the stop before: exit {code}")
    bench.check_stopped(server)
    places = [Place(bench, server, ledger), Place(bench, killed(bench, server, ledger), ledger)]
    targets = [(place, *target) for place in places for target in place.targets()]
    for turn in range(bench.rounds):
        place, path, size = targets[turn % len(targets)]
        bit = bench.random.randrange(size * 8)
        kind, where = kind_of(path), f"{path.relative_to(place.server.data)} bit {bit}"
        flip(path, bit)
        findings, torn = place.server.verify()
        unseen = not findings and torn <= place.torn
        bench.note(f"flips_{kind}")
        bench.found({"unreported": unseen}, f"unreported: {where}")
        if turn // len(targets) % SERVED_SHARE == 0:
            serve(bench, place, where)
        flip(path, bit)
        bench.done += 1
    for place in places:
        place.check_whole()
    whole = places[-1].server
    whole.start()
    bench.check(whole, ledger, everything=True)


class Place:
    """A directory that nobody runs on, and what a server on it must answer."""

    def __init__(self, bench, server, ledger):
        self.bench, self.server, self.ledger = bench, server, ledger
        self.findings, self.torn = server.verify()
        bench.found({"unexpected": len(self.findings)}, f"axle verify: {self.findings[:3]}")
        other = copied(bench, server)
        other.start()
        other.settle()
        self.answers = answers(other, ledger)
        other.kill()
        bench.servers.remove(other)

    def targets(self):
        """Files, and how much of each holds something: room that is reserved ahead does not."""
        data = self.server.data
        wal = data / "state.db-wal"
        if wal.exists() and wal.stat().st_size:
            # Of a killed server: what the state has in these two. The rest is the other's.
            return [(wal, committed(wal.read_bytes()))] * 2 + [sized(data / "state.sums")]
        found = [(path, records(path.read_bytes())[-1][1])
                 for path in sorted((data / "log").glob("*.axlelog"))]
        found += [sized(path) for path in sorted((data / "store").rglob("*.parquet"))[:4]]
        found.append(sized(data / "store/manifest.json"))
        return found + [sized(data / "state.db")] * 2 + [sized(data / "state.sums")]

    def check_whole(self):
        """After the last flip was taken back nothing may be left of any."""
        findings, torn = self.server.verify()
        self.bench.found({"unexpected": len(findings) + (torn != self.torn)},
                         f"axle verify at the end: {findings[:3]}")


def fill(server, ledger):
    """Things and people that stand in the state alone."""
    device = ledger.devices[0].name
    for method, path, body in (
            ("PATCH", f"devices/{device}", {"name": "the first of them"}),
            ("POST", "users", {"name": "anna", "display_name": "Anna Arndt", "role": "operator"}),
            ("POST", f"devices/{device}/commands",
             {"name": "lock", "payload": {"on": True}, "timeout_s": 86_400})):
        status, said = server.call(method, f"/api/v1/{path}", body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {said}")


def killed(bench, server, ledger):
    """A copy on which a server was killed, with changes in the state's write-ahead log."""
    data = bench.folder / "killed"
    copy(server.data, data)
    other = bench.server(data)
    other.start()
    for number in range(12):
        other.axle("device", "add", f"late-{number}", "--out", str(ledger.keys))
    end = bench.load(other, ledger)
    bench.await_ack(ledger)
    time.sleep(1)
    end()
    other.settle()
    other.kill()
    return other


def kind_of(path):
    kinds = {".axlelog": "log", ".parquet": "parquet", ".json": "manifest", ".sums": "sums",
             ".db-wal": "wal"}
    return kinds.get(path.suffix, "state")


def sized(path):
    return path, path.stat().st_size


def committed(wal):
    """Where the last commit of SQLite's write-ahead log ends, as its file format describes it."""
    magic, _version, page, _count, *salts = struct.unpack_from(">6I", wal)
    order = ">" if magic & 1 else "<"
    sums, at, end = struct.unpack_from(">2I", wal, 24), 32, 32
    while at + 24 + page <= len(wal):
        number, commit, *rest = struct.unpack_from(">6I", wal, at)
        sums = checksum(order, sums, wal[at:at + 8] + wal[at + 24:at + 24 + page])
        if not number or rest != [*salts, *sums]:
            break
        at += 24 + page
        end = at if commit else end
    return end


def checksum(order, sums, content):
    first, second = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2]):
        first = first + even + second & 0xffffffff
        second = second + odd + first & 0xffffffff
    return first, second


def flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def copy(source, target):
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", str(source), str(target)], check=True)


def copied(bench, server):
    """A server on a copy, since it may repair it."""
    data = bench.folder / "copy"
    copy(server.data, data)
    return bench.server(data)


def serve(bench, place, where):
    """What a server on such a directory says."""
    other = copied(bench, place.server)
    began = time.time()
    try:
        other.start()
        wrong = served_wrong(other, place.ledger)
        other.settle()
        wrong += told_wrong(other, place)
        bench.found({"corrupt": len(wrong)}, f"{where}: served {wrong[:3]}")
        bench.note("served")
    except Ended as ended:
        clear = ended.code not in (None, 0, 101) and ended.words.strip()
        bench.found({"unexpected": not clear}, f"{where}: {ended}")
        bench.note("refused_to_start")
    except (OSError, RuntimeError):
        bench.note("refused_to_answer")
    finally:
        other.kill()
        bench.servers.remove(other)
        bench.notes["slowest_ms"] = max(bench.notes.get("slowest_ms", 0),
                                        round((time.time() - began) * 1000))


def served_wrong(server, ledger):
    """Rows with other contents than were sent, or that were never sent."""
    found = {"phantom": 0, "doubled": 0, "corrupt": 0}
    kept = list(ledger.examples)
    for source in ledger.devices + ledger.apps:
        try:
            ledger.visible(server, source, 0, found)
        except (OSError, RuntimeError):
            continue  # an error is an honest answer
    ledger.examples[:] = kept
    return [f"{name} {count}" for name, count in found.items() if count]


def told_wrong(server, place):
    """Answers from the state that are not those of the directory without the flip."""
    told = answers(server, place.ledger)
    return [f"{path}: {told[path]} instead of {said}" for path, said in place.answers.items()
            if told[path] is not None and told[path] != said]


def answers(server, ledger):
    """What the state says; `None` for an error, which is an honest answer."""
    told = {}
    paths = list(STATE_PATHS)
    for source in ledger.devices + ledger.apps:
        paths += [f"devices/{source.name}", f"devices/{source.name}/state",
                  f"devices/{source.name}/commands"]
    for path in paths:
        try:
            status, said = server.call("GET", f"/api/v1/{path}")
        except OSError:
            status, said = 500, None
        told[path] = json.dumps(lasting(said), sort_keys=True) if status == 200 else None
    return told


def lasting(said):
    """An answer without what passes."""
    if isinstance(said, dict):
        return {name: lasting(value) for name, value in said.items() if name not in PASSING}
    return [lasting(value) for value in said] if isinstance(said, list) else said


CASES = {
    "bit-flip": (bits, 24, 10000, "one bit in log, telemetry files, manifest or the state's files"),
}
