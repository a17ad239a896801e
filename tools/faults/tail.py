"""F09: the log ends anywhere. The segment's layout is that of docs/formats/log-segment.md."""

import json
import shutil
import struct
import time

HEADER_BYTES, RECORD_BYTES_MIN = 64, 48
KINDS = ("cut", "zeros", "noise", "old")


def records(segment):
    """`(begin, end, device, payload)` of each record."""
    at, found = HEADER_BYTES, []
    while segment[at:at + 4] == b"AXR1":
        length, flags = struct.unpack_from("<I", segment, at + 8)[0], segment[at + 13]
        device, topic, content, origin = struct.unpack_from("<4H", segment, at + 40)
        text = at + RECORD_BYTES_MIN + 8 * (flags & 1) + 8 * (flags >> 1 & 1)
        payload = text + device + topic + content + origin
        found.append((at, at + length, segment[text:text + device].decode(),
                      segment[payload:at + length]))
        at += length
    return found


def numbers(device, payload):
    """The rows of a record that the ledger sent, by device and number."""
    said = json.loads(payload)
    samples = said["samples"] if isinstance(said, dict) and "samples" in said else [said]
    # What the server itself says of a device, as of its presence, has no odometer.
    return {(device, sample["odometer_km"]) for sample in samples if "odometer_km" in sample}


def torn(bench):
    """Cuts, zeros, noise and old bytes at offsets all over the last records of a killed log."""
    server, ledger = bench.fleet(apps=0)
    server.stop()
    # Projections that are behind the log, as a crash leaves them: what they hold comes from here.
    before = bench.folder / "before"
    shutil.copytree(server.data, before)
    server.start()
    end = bench.load(server, ledger)
    bench.await_ack(ledger)
    time.sleep(0.4)
    server.kill()
    end()
    path = sorted((server.data / "log").glob("*.axlelog"))[-1]
    whole = path.read_bytes()
    seen = records(whole)
    last = seen[-1][1]
    # Every byte of the last records in the long run; a sample of them in the short one.
    first = seen[-min(len(seen), 10)][0]
    places = list(range(first, last + 1))
    bench.random.shuffle(places)
    for turn in range(bench.rounds):
        cut, kind = places[turn % len(places)], KINDS[turn // len(places) % len(KINDS)]
        if bench.rounds < len(places):
            kind = KINDS[turn % len(KINDS)]
        one(bench, (before, path.name, whole, seen, last), cut, kind)
        bench.done += 1
    bench.notes["offsets"] = min(len(places), bench.rounds)


def spoil(bench, whole, cut, last, kind):
    """The segment as a crash might leave it from `cut` on."""
    rest = len(whole) - cut
    if kind == "cut":
        return whole[:cut]
    if kind == "zeros":
        return whole[:cut] + bytes(rest)
    if kind == "noise":
        return whole[:cut] + bench.random.randbytes(last - cut) + bytes(len(whole) - last)
    old = whole[HEADER_BYTES:HEADER_BYTES + last - cut]
    return whole[:cut] + old + bytes(rest - len(old))


def one(bench, origin, cut, kind):
    before, name, whole, seen, last = origin
    data = bench.folder / "torn"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(before, data)
    spoilt = spoil(bench, whole, cut, last, kind)
    (data / "log" / name).write_bytes(spoilt)
    kept = [record for record in seen if record[1] <= cut]
    expected = set().union(*(numbers(device, payload) for _b, _e, device, payload in kept))
    boundary = max((record[1] for record in kept), default=HEADER_BYTES)
    is_torn = any(spoilt[boundary:])
    server = bench.server(data)
    findings, torn_bytes = server.verify()
    where = f"{kind} at {cut}"
    bench.found({"unreported": is_torn and not torn_bytes and not findings}, f"{where}: verify")
    bench.restart(server)
    server.settle()
    rows = server.query("SELECT device, odometer_km FROM ride")
    visible = {(device, int(number)) for device, number in rows}
    # A cut whose old bytes happen to be the bytes that stood there is no cut.
    lost, more = expected - visible, visible - expected
    sent = set().union(*(numbers(device, payload) for _b, _e, device, payload in seen))
    bench.found({"lost": len(lost), "phantom": len(more - sent),
                 "doubled": len(rows) - len(visible)}, f"{where}: {sorted(lost)[:5]}")
    if is_torn:
        words = server.words()
        bench.found({"unreported": "unfinished write" not in words and "damaged" not in words},
                    f"{where}: the server does not say that it cleared something")
    server.kill()
    bench.servers.remove(server)
    server.log.unlink()


CASES = {"torn-tail": (torn, 12, 2000, "the log ends at any byte of its last records")}
