"""F24: messages that are not what they seem do not stop the ones behind them."""

import json

from kill import finish
from link import Link

DEEP = b"[" * 5000 + b"]" * 5000


def payloads(bench):
    """What a projection may stumble over."""
    noise = bench.random.randbytes(200)
    return [
        b"", b"{", b"[", b"null", b"[[]]", b"{}", b"[]", b"\xff\xfe", noise, b"{" + noise, DEEP,
        b'{"time":1e400}', b'{"time":-1}', b'{"time":"2999-01-01T00:00:00Z"}', b'{"time":{}}',
        b'{"speed_kmh":"fast"}', b'{"speed_kmh":1e308,"lat":-1e308}', b'{"lat":NaN}',
        b'{"sent_at":"x","samples":[{}]}', b'{"samples":{}}', b'{"samples":[1,2,[3]]}',
        json.dumps({"extra": "x" * 60_000}).encode(), json.dumps({"k" * 5000: 1}).encode(),
        json.dumps({f"f{n}": n for n in range(3000)}).encode(), b'{"a":1,"a":2}',
        '{"text":"\u0000\u202e\ud7ff"}'.encode(), b"\x0a" + bytes([255] * 9) + b"\x01" + noise,
        b'{"time":"2026-02-30T00:00:00Z","lat":1}', b'{"code":1,"severity":[],"message":null}',
    ]


def poison(bench):
    """Poison among good messages, then a kill and a replay: only the poison is set aside."""
    server, ledger = bench.fleet()
    server.axle("device", "add", "p-1", "--out", str(ledger.keys))
    for _ in range(bench.rounds):
        end = bench.load(server, ledger)
        bench.await_ack(ledger)
        link, sent, acked = Link(server.addresses["mqtts"], "p-1", ledger.keys), 0, 0
        for stream in ("ride", "status", "fault", "energy", "none"):
            for payload in payloads(bench):
                link.publish([(1, f"v1/d/p-1/t/{stream}", payload)])
                sent += 1
                answer = link.acknowledged(5)
                acked += answer is not None and answer[1] < 0x80
        link.close()
        bench.note("poison", sent)
        # What will never be accepted is acknowledged and set aside, else devices resend for ever.
        bench.found({"unexpected": acked != sent}, f"{sent - acked} of {sent} not acknowledged")
        server.kill()
        end()
        bench.restart(server)
        bench.check(server, ledger)
        status, said = server.call("GET", "/api/v1/quarantine")
        bench.found({"unexpected": status != 200 or not said["items"]}, "nothing in quarantine")
        is_ready, reasons = server.ready()
        bench.found({"unexpected": not is_ready}, f"not ready: {reasons}")
        bench.found({"unexpected": "panicked" in server.log.read_text(errors="replace")}, "a panic")
        bench.done += 1
    finish(bench, server, ledger)


CASES = {"poison": (poison, 1, 20, "messages that no projection can understand")}
