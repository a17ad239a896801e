"""F06, F07, F13: syncs, writes and reads that fail, and a slow disk."""

import time

from kill import finish
from server import Ended
from strace import Injection, check_possible

SYNCS = "fdatasync,fsync"
WRITES = "pwrite64,write,pwritev,writev,fallocate"
READS = "pread64,read,readv,preadv"
# How long after a failure the server may take to say so: to end, or to be not ready.
SAY_S = 3


def places(data):
    """Whose calls fail: files that are known before they are opened."""
    log = sorted((data / "log").glob("*.axlelog"))[-1:]
    state = [data / "state.db", data / "state.db-wal", data / "state.sums-unfinished"]
    store = [data / "store/manifest.json.new", data / "store/manifest.json", data / "store",
             data / "store/ride"]
    return {"log": log, "state": state, "store": store}


def failing(bench, calls, error, kinds):
    """The n-th such call on one kind of file fails once, n from 1; a restart, and all is there."""
    check_possible()
    server, ledger = bench.fleet()
    server.stop()
    for _ in range(bench.rounds):
        kind = kinds[bench.done % len(kinds)]
        number = bench.done // len(kinds) + 1
        where = f"{calls.split(',')[0]} {number} of {kind}"
        injection = Injection(bench, calls, places(server.data)[kind],
                              f"error={error}:when={number}")
        try:
            server.start(injection.prefix)
        except Ended as ended:
            moment = injection.await_moment(1, lambda: False)
            clear = moment is not None and ended.code not in (None, 0, 101) and ended.words.strip()
            bench.found({"unexpected": not clear}, f"{where}: {ended}")
            bench.note("refused_to_start")
        else:
            watch(bench, server, ledger, injection, (kind, where))
        end_round(bench, server, ledger)
    bench.restart(server)
    finish(bench, server, ledger)


def end_round(bench, server, ledger):
    """A crash, and a start without the fault: all is there."""
    server.kill()
    bench.restart(server)
    bench.check(server, ledger)
    server.kill()
    bench.done += 1


def watch(bench, server, ledger, injection, place):
    kind, where = place
    end = bench.load(server, ledger)
    moment = injection.await_moment(4, server.is_up)
    if moment is None:
        bench.note(f"not_reached_{kind}")
        end()
        return
    bench.note(f"failed_{kind}")
    said = says(server, moment)
    time.sleep(0.3)
    end()
    if kind == "log":
        late = ledger.acked_after(moment)
        bench.found({"acked_after": late}, f"{where}: {late} rows acknowledged after it failed")
        # A read error is met by the reader; a failed sync or write must stop the server's promises.
        bench.found({"unexpected": said is None}, f"{where}: the server says nothing")
    bench.note(f"{kind}_said_{said or 'nothing'}")


def says(server, moment):
    """How the server shows the failure: it ends, or it is not ready and says why."""
    while time.time() < moment + SAY_S:
        if not server.is_up():
            return "by_ending"
        try:
            is_ready, reasons = server.ready()
            if not is_ready and reasons:
                return "by_readyz"
        except OSError:
            pass
        time.sleep(0.02)
    return "in_log" if " ERROR " in server.words() or " WARN " in server.words() else None


def sync_errors(bench):
    """Each of the first syncs of log, state and store fails once with EIO."""
    failing(bench, SYNCS, "EIO", ("log", "state", "store"))


def write_errors(bench):
    """Each of the first writes of log, state and store fails once with EIO."""
    failing(bench, WRITES, "EIO", ("log", "state", "store"))


def read_errors(bench):
    """A read fails once with EIO: nothing is lost, and nobody takes it for the end of the data."""
    check_possible()
    server, ledger = bench.fleet()
    end = bench.load(server, ledger)
    time.sleep(2.5)
    end()
    server.kill()
    for _ in range(bench.rounds):
        kind = ("log", "state", "store")[bench.done % 3]
        number = bench.done // 3 + 1
        paths = places(server.data)[kind]
        if kind == "store":
            paths = paths + sorted((server.data / "store").rglob("*.parquet"))
        injection = Injection(bench, READS, paths, f"error=EIO:when={number}")
        try:
            server.start(injection.prefix)
            end = bench.load(server, ledger)
            time.sleep(0.3)
            end()
            look(bench, server, injection)
        except Ended as ended:
            # It may refuse to start, but must say why.
            clear = injection.moments() and ended.code not in (None, 0, 101)
            bench.found({"unexpected": not clear}, f"read {number} of {kind}: {ended}")
            bench.note("refused_to_start")
        bench.note(f"failed_{kind}" if injection.moments() else f"not_reached_{kind}")
        end_round(bench, server, ledger)
    bench.restart(server)
    finish(bench, server, ledger)


def look(bench, server, injection):
    """A question while reads fail is answered in full or not at all."""
    try:
        before = server.query("SELECT count(*) FROM ride")[0][0]
        again = server.query("SELECT count(*) FROM ride")[0][0]
        bench.found({"lost": max(before - again, 0)}, f"counts {before}, then {again}")
    except (OSError, RuntimeError):
        bench.note("query_refused" if injection.moments() else "query_refused_without_reason")


def slow(bench):
    """Every sync takes 50, 200 or 1000 ms: acknowledgements come later, and stay true."""
    check_possible()
    server, ledger = bench.fleet()
    server.stop()
    for _ in range(bench.rounds):
        delay = (50, 200, 1000)[bench.done % 3]
        injection = Injection(bench, SYNCS, places(server.data)["log"], f"delay_enter={delay}ms")
        server.start(injection.prefix)
        end = bench.load(server, ledger)
        came = bench.await_ack(ledger)
        time.sleep(1 + delay / 500)
        bench.found({"unexpected": not came or not server.is_up()}, f"syncs of {delay} ms: no ack")
        server.kill()
        end()
        end_round(bench, server, ledger)
    bench.restart(server)
    finish(bench, server, ledger)


CASES = {
    "sync-error": (sync_errors, 6, 150, "the n-th sync of log, state, store fails with EIO"),
    "write-error": (write_errors, 3, 150, "the n-th write of log, state, store fails with EIO"),
    "read-error": (read_errors, 3, 60, "the n-th read of log, state, store fails with EIO"),
    "slow-disk": (slow, 1, 12, "each sync of the log takes 50, 200, 1000 ms"),
}
