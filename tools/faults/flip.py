"""F10: one bit of what lies on the disk is wrong."""

import shutil
import subprocess
import time

from missing import grown
from server import Ended
from tail import records

# How many of the flips a running server is asked about too.
SERVED_SHARE = 8


def bits(bench):
    """A flip anywhere in log, telemetry files, manifest or state: `axle verify` reports it, and a
    server refuses, rebuilds or answers with an error, but serves no wrong row."""
    server, ledger = grown(bench)
    code = server.stop()
    bench.found({"unexpected": code != 0}, f"the stop before: exit {code}")
    bench.check_stopped(server)
    files = targets(server.data)
    copied = bench.folder / "copy"
    for turn in range(bench.rounds):
        path, size = files[turn % len(files)]
        kind = kind_of(path)
        bit = bench.random.randrange(size * 8)
        where = f"{path.relative_to(server.data)} bit {bit}"
        flip(path, bit)
        findings, torn = server.verify()
        unseen = not findings and not torn
        bench.note(f"flips_{kind}")
        if unseen:
            bench.note(f"unreported_{kind}")
        # SQLite's pages have no checksum: what stays well-formed is not seen (docs/formats/state.md).
        bench.found({"unreported": unseen and kind != "state"}, f"unreported: {where}")
        if turn % SERVED_SHARE == 0:
            serve(bench, server, ledger, where, copied)
        flip(path, bit)
        bench.done += 1
    bench.check_stopped(server)
    server.start()
    bench.check(server, ledger, everything=True)


def kind_of(path):
    return {".axlelog": "log", ".parquet": "parquet", ".json": "manifest"}.get(path.suffix, "state")


def targets(data):
    """Files, and how much of each holds something: room that is reserved ahead does not."""
    found = []
    for path in sorted((data / "log").glob("*.axlelog")):
        found.append((path, records(path.read_bytes())[-1][1]))
    parquet = sorted((data / "store").rglob("*.parquet"))
    found += [(path, path.stat().st_size) for path in parquet[:4]]
    found.append((data / "store/manifest.json", (data / "store/manifest.json").stat().st_size))
    found.append((data / "state.db", (data / "state.db").stat().st_size))
    return found


def flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def serve(bench, server, ledger, where, copy):
    """What a server on such a directory says; on a copy, since it may repair it."""
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", str(server.data), str(copy)], check=True)
    other = bench.server(copy)
    began = time.time()
    try:
        other.start()
        wrong = served_wrong(other, ledger)
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


CASES = {"bit-flip": (bits, 24, 10000, "one bit in log, telemetry files, manifest or state")}
