"""G10: a server that was killed is back and acknowledges at once, however much log it has."""

import multiprocessing
import os
import time

from overload import flood

GIB = float(os.environ.get("FAULTS_LOG_GIB", "1"))
CONNECTIONS = 4
PAD = 6000
FILL_S_MAX = 900


def bytes_of(folder):
    return sum(path.stat().st_size for path in folder.glob("*.axlelog"))


def full_log(bench):
    """Fills the log, then kill -9 under load and a start, again and again."""
    # Rows stay in memory as long as they may: what was not flushed is read again after a start.
    server, ledger = bench.fleet(settings={"STORE__FLUSH_INTERVAL": "1h"})
    names = [f"flood-{number}" for number in range(CONNECTIONS)]
    for name in names:
        server.axle("device", "add", name, "--out", str(ledger.keys))
    log, wanted, began = server.data / "log", GIB * 1024 ** 3, time.time()
    while bytes_of(log) < wanted:
        if time.time() - began > FILL_S_MAX:
            raise RuntimeError(f"{bytes_of(log)} bytes of log after {FILL_S_MAX} s")
        counts = multiprocessing.Queue()
        work = [multiprocessing.Process(target=flood, daemon=True, args=(
            server.addresses["mqtts"], name, ledger.keys, 1, time.time() + 2, counts, PAD))
            for name in names]
        for flooding in work:
            flooding.start()
        for flooding in work:
            flooding.join(120)
    bench.notes["log_mib"] = round(bytes_of(log) / 1024 ** 2)
    bench.notes["fill_s"] = round(time.time() - began)
    for _ in range(bench.rounds):
        end = bench.load(server, ledger)
        bench.found({"unexpected": not bench.await_ack(ledger)}, "no acknowledgement")
        time.sleep(bench.random.random())
        server.kill()
        end()
        del bench.first_acks[-1:]
        bench.restart(server)
        end = bench.load(server, ledger)
        bench.found({"unexpected": not bench.await_ack(ledger)}, "no acknowledgement")
        end()
        bench.done += 1
    server.settle(FILL_S_MAX)
    bench.check(server, ledger)
    bench.found({"unexpected": server.stop() != 0}, "the last stop")


CASES = {"restart-full": (full_log, 0, 10, "kill -9 and restart with 1 GiB of log")}
