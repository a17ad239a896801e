"""F14, F16: the server stands still for a while."""

import os
import signal
import time

from kill import finish


def stand_still(bench):
    """SIGSTOP under load for 1, 5 or 30 s, then SIGCONT: sessions stay, and nothing is lost."""
    server, ledger = bench.fleet()
    for _ in range(bench.rounds):
        pause = (1, 5, 30)[bench.done % 3] if bench.rounds > 2 else 1
        end = bench.load(server, ledger)
        bench.await_ack(ledger)
        time.sleep(bench.random.random() * 0.3)
        server.freeze()
        time.sleep(pause)
        os.kill(server.process.pid, signal.SIGCONT)
        ledger.first_ack = None
        went_on = bench.await_ack(ledger, 10)
        bench.found({"unexpected": not went_on}, f"no acknowledgement after {pause} s of SIGSTOP")
        end()
        bench.check(server, ledger)
        bench.done += 1
    finish(bench, server, ledger)


CASES = {"pause": (stand_still, 1, 20, "SIGSTOP and SIGCONT under load")}
