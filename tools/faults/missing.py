"""F11: files that are gone, older than the rest, or somebody else's; a second instance."""

import shutil
import subprocess
import time

from server import BINARY, Ended

KINDS = {
    "log segment": "log/*.axlelog", "log lock": "log/lock", "log folder": "log",
    "telemetry file": "store/ride/**/*.parquet", "manifest": "store/manifest.json",
    "store lock": "store/lock", "store folder": "store", "state": "state.db",
    "state sums": "state.sums",
    "admin token": "admin.token", "authority key": "ca.key", "authority": "ca.crt",
    "server key": "server.key", "server certificate": "server.crt", "format": "format",
    "lock": "lock",
}


def grown(bench):
    """A server with telemetry files, open rows and state, and `older` as it was in between."""
    server, ledger = bench.fleet()
    phase(bench, server, ledger, 1.8)
    bench.check(server, ledger)
    server.stop()
    copy(server.data, bench.folder / "older")
    server.start()
    server.axle("device", "add", "late-comer", "--out", str(ledger.keys))
    phase(bench, server, ledger, 1.2)
    bench.check(server, ledger)
    return server, ledger


def phase(bench, server, ledger, seconds):
    end = bench.load(server, ledger)
    bench.await_ack(ledger)
    time.sleep(seconds)
    end()


def copy(source, target):
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", str(source), str(target)], check=True)


def files(bench):
    """Each kind of file is removed, emptied, or replaced by an older copy: the start names it, or
    all that was acknowledged is there."""
    server, ledger = grown(bench)
    server.stop()
    cases = [(kind, how) for kind in KINDS for how in ("gone", "older", "empty")]
    bench.random.shuffle(cases)
    for kind, how in cases[:bench.rounds]:
        data = bench.folder / "spoilt"
        copy(server.data, data)
        if spoil(data, bench.folder / "older", KINDS[kind], how):
            look(bench, data, ledger, f"{kind} {how}")
            bench.done += 1


def spoil(data, older, pattern, how):
    """Whether there was something to spoil."""
    paths = sorted(data.glob(pattern))
    if not paths:
        return False
    path = paths[-1]
    old = older / path.relative_to(data)
    if how == "empty" and path.is_dir() or how == "older" and not old.exists():
        return False
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if how == "older":
        copy(old, path)
    elif how == "empty":
        path.touch(mode=0o600)
    return True


def look(bench, data, ledger, where):
    other = bench.server(data)
    findings, _torn = other.verify()
    try:
        other.start()
    except Ended as ended:
        words = ended.words.strip()
        clear = ended.code not in (None, 0, 101) and words
        bench.found({"unexpected": not clear}, f"{where}: {ended}")
        bench.note("refused_to_start")
        bench.notes.setdefault("refusals", {})[where] = words.splitlines()[0][:160] if words else ""
        bench.servers.remove(other)
        return
    try:
        judge(bench, other, ledger, where)
    except (OSError, RuntimeError) as error:
        is_ready, reasons = other.ready()
        bench.found({"unexpected": is_ready and not findings}, f"{where}: {error} {reasons}")
        bench.note("degraded")
    finally:
        other.kill()
        bench.servers.remove(other)


def judge(bench, other, ledger, where):
    """A server that starts must have everything, or say aloud that it has not."""
    other.settle(20)
    lost = 0
    found = {"phantom": 0, "doubled": 0, "corrupt": 0}
    for source in ledger.devices + ledger.apps:
        seen = ledger.visible(other, source, 0, found)
        lost += sum(fate == 1 and n not in seen for n, fate in enumerate(source.fate))
    status, _said = other.call("GET", "/api/v1/devices/late-comer")
    lost += status != 200
    is_ready, reasons = other.ready()
    said = not is_ready or " ERROR " in other.words() or " WARN " in other.words()
    bench.found(found, where)
    bench.note("whole" if not lost else "lost_and_said" if said else "lost_silently")
    if lost and not said:
        bench.found({"lost": lost}, f"{where}: {lost} rows or devices missing, and nobody says so")


def second(bench):
    """A second instance on the same directory is refused and names the first, which goes on."""
    server, ledger = bench.fleet()
    for _ in range(bench.rounds):
        end = bench.load(server, ledger)
        bench.await_ack(ledger)
        addresses = (server.data / "addresses.json").read_bytes()
        listeners = [f"--set={name}.listen=127.0.0.1:0" for name in ("http", "ops", "mqtt")]
        done = subprocess.run([BINARY, "serve", "--data-dir", str(server.data), *listeners],
                              capture_output=True, text=True, timeout=30, check=False)
        named = str(server.process.pid) in done.stderr
        kept = (server.data / "addresses.json").read_bytes() == addresses
        bench.found({"unexpected": done.returncode != 4 or not named or not kept},
                    f"second instance: exit {done.returncode}, {done.stderr}")
        end()
        bench.check(server, ledger)
        bench.done += 1
    server.stop()
    bench.check_stopped(server)


CASES = {
    "files": (files, 6, 48, "files gone, empty or older than the rest"),
    "second": (second, 1, 5, "a second instance on the same directory"),
}
