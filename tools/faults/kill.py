"""F01, F02, F31: the process ends, wanted or not."""

import time

CLEAN_STOP_MS = 10_000


def at_random(bench):
    """kill -9 at a random moment of the load, a third of them right after the start."""
    server, ledger = bench.fleet()
    for _ in range(bench.rounds):
        end = bench.load(server, ledger)
        time.sleep(bench.random.random() * bench.random.choice((0.15, 1.5, 1.5)))
        server.kill()
        end()
        bench.restart(server)
        bench.check(server, ledger)
        bench.done += 1
    finish(bench, server, ledger)


def while_starting(bench):
    """One to five more kills while the server recovers from the first."""
    server, ledger = bench.fleet()
    usual = server.ready_ms / 1000
    for _ in range(bench.rounds):
        end = bench.load(server, ledger)
        bench.await_ack(ledger)
        time.sleep(bench.random.random() * 0.5)
        server.kill()
        end()
        for _again in range(bench.random.randint(1, 5)):
            server.spawn()
            time.sleep(bench.random.random() * usual * 1.2)
            server.kill()
            bench.note("kills_while_starting")
        bench.restart(server)
        bench.check(server, ledger)
        bench.done += 1
    finish(bench, server, ledger)


def drain(bench):
    """SIGTERM under load: exit code 0, in time, and nothing that was acknowledged is missing."""
    server, ledger = bench.fleet()
    for _ in range(bench.rounds):
        end = bench.load(server, ledger)
        bench.await_ack(ledger)
        time.sleep(bench.random.random())
        began = time.time()
        code = server.stop()
        took = (time.time() - began) * 1000
        end()
        bench.found({"unexpected": code != 0 or took > CLEAN_STOP_MS},
                    f"SIGTERM: exit {code} after {took:.0f} ms")
        bench.check_stopped(server)
        bench.restart(server)
        bench.check(server, ledger)
        bench.done += 1
    finish(bench, server, ledger)


def finish(bench, server, ledger):
    """A last look at everything, then at the stopped directory."""
    bench.check(server, ledger, everything=True)
    code = server.stop()
    bench.found({"unexpected": code != 0}, f"the last stop: exit {code}")
    bench.check_stopped(server)


CASES = {
    "kill": (at_random, 3, 500, "kill -9 at random moments under load"),
    "kill-starting": (while_starting, 1, 100, "kill -9 again and again during recovery"),
    "drain": (drain, 1, 20, "SIGTERM under load"),
}
