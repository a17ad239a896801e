"""Runs one script of mosquitto's broker tests (`test/broker/*.py` of its source package) with axle
in place of the broker: `mosquitto_script.py SOURCE SCRIPT PORT`, with AXLE_BIN and AXLE_DATA.

The scripts compare bytes. What the standard leaves to a server is compared by meaning instead:
reason strings, a reason code 0 that is left out or written, "no matching subscribers", which of
the codes for a broken packet is told, and what CONNACK announces of the server's own limits. A relay between both gives the server's publishes
the packet ids that the scripts expect; with AXLE_SILENT it leaves the server's DISCONNECT out, for
scripts that await the end of the connection alone.
"""

import contextlib
import importlib
import json
import os
import pathlib
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time

REASON_STRING, TOPIC_ALIAS_MAXIMUM, RECEIVE_MAXIMUM = 0x1F, 0x22, 0x21
USER_PROPERTY, NO_SUBSCRIBERS = 0x26, 0x10
CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT = 1, 2, 3, 4, 5, 6, 7, 14
# Over restarts of the server too.
SESSIONS = {}
# Malformed, protocol error, topic filter, topic name, topic alias: a packet that must not be sent.
BROKEN = {0x81, 0x82, 0x8F, 0x90, 0x94}
OWN_LIMITS = {TOPIC_ALIAS_MAXIMUM, RECEIVE_MAXIMUM}
BYTE, TWO, FOUR, VARINT, TEXT, PAIR = range(6)
FORMS = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), BYTE),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), TWO),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), FOUR),
    0x0B: VARINT,
    **dict.fromkeys((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), TEXT),
    0x26: PAIR,
}


def varint(packet, at):
    value, shift = 0, 0
    while True:
        byte = packet[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte & 128 == 0:
            return value, at


def text(packet, at):
    end = at + 2 + int.from_bytes(packet[at:at + 2], "big")
    return packet[at:end], end


def properties(packet, at):
    """The properties that begin there, each as its number and its bytes."""
    length, at = varint(packet, at)
    end, found = at + length, []
    while at < end:
        number, at = varint(packet, at)
        form, start = FORMS[number], at
        if form in (BYTE, TWO, FOUR):
            at += {BYTE: 1, TWO: 2, FOUR: 4}[form]
        elif form == VARINT:
            _, at = varint(packet, at)
        else:
            for _ in range(2 if form == PAIR else 1):
                _, at = text(packet, at)
        found.append((number, bytes(packet[start:at])))
    return found


def meaning(packet):
    """A packet as what it says, where that can be written in several ways."""
    kind = packet[0] >> 4
    length, at = varint(packet, 1)
    if kind == CONNACK and length > 2:
        said = [it for it in properties(packet, at + 2) if it[0] not in OWN_LIMITS]
        return kind, packet[at], packet[at + 1], frozenset(said)
    if kind in (PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT):
        packet_id = packet[at:at + 2] if kind != DISCONNECT else b""
        rest = packet[at + len(packet_id):]
        code = rest[0] if rest and rest[0] != NO_SUBSCRIBERS else 0
        said = properties(rest, 1) if len(rest) > 1 else []
        if kind == DISCONNECT and code in BROKEN:
            code = min(BROKEN)
        return packet[0], packet_id, code, frozenset(it for it in said if it[0] != REASON_STRING)
    if kind == PUBLISH:
        with contextlib.suppress(IndexError, KeyError):  # of MQTT 3.1.1: has no properties
            return published(packet, at)
    return bytes(packet)


def published(packet, at):
    """A PUBLISH of MQTT 5: of its properties only the user's have an order."""
    topic, at = text(packet, at)
    if packet[0] & 6:
        topic, at = topic + packet[at:at + 2], at + 2
    length, start = varint(packet, at)
    said = properties(packet, at)
    user = [it for it in said if it[0] == USER_PROPERTY]
    others = sorted(it for it in said if it[0] != USER_PROPERTY)
    return packet[0], topic, tuple(user), tuple(others), packet[start + length:]


def refuses(packet):
    """Whether this tells why the connection ends, where a script awaits the end alone."""
    return packet[:1] == b"\xe0" or (packet[:1] == b"\x20" and packet[3:4] > b"\x00")


def agrees(received, expected):
    if received == expected:
        return True
    if not received or not expected:
        return False
    ours, theirs = meaning(received), meaning(expected)
    if received[0] >> 4 == CONNACK and len(ours) == len(theirs) == 4:
        return ours[:3] == theirs[:3] and ours[3] >= theirs[3]
    return ours == theirs


def split(packets):
    while packets:
        length, at = varint(packets, 1)
        yield packets[:at + length]
        packets = packets[at + length:]


def exactly(sock, count):
    taken = b""
    while len(taken) < count:
        more = sock.recv(count - len(taken))
        if not more:
            break
        taken += more
    return taken


def next_packet(sock):
    packet = exactly(sock, 2)
    while len(packet) > 1 and packet[-1] & 128:
        packet += exactly(sock, 1)
    return packet + exactly(sock, varint(packet, 1)[0]) if len(packet) > 1 else packet


class Numbers:
    """Packet ids of the server's publishes to one client as the scripts expect them: in order."""

    def __init__(self):
        self.theirs, self.last = {}, 0

    def down(self, kind, real):
        if kind == PUBLISH and real not in self.theirs:
            self.last += 1
            self.theirs[real] = self.last
        return self.theirs.get(real, real)

    def up(self, kind, counted):
        real = next((it for it, as_counted in self.theirs.items() if as_counted == counted), counted)
        if kind in (PUBACK, PUBCOMP):
            self.theirs.pop(real, None)
        return real


def renumbered(packets, number, kinds):
    done = b""
    for packet in split(packets):
        kind, (_, at) = packet[0] >> 4, varint(packet, 1)
        if kind == PUBLISH and kind in kinds and packet[0] & 6:
            _, at = text(packet, at)
        elif kind == PUBLISH or kind not in kinds:
            done += packet
            continue
        counted = number(kind, int.from_bytes(packet[at:at + 2], "big"))
        done += packet[:at] + counted.to_bytes(2, "big") + packet[at + 2:]
    return done


class Relay:
    """A client's connection through us, and the numbers of its session."""

    def __init__(self, client, server, sessions):
        self.client, self.server, self.sessions = client, server, sessions
        self.client_id, self.numbers = b"", Numbers()
        threading.Thread(target=self.carry, args=(client, server, self.up), daemon=True).start()
        threading.Thread(target=self.carry, args=(server, client, self.down), daemon=True).start()

    def up(self, packets):
        if packets[0] == CONNECT << 4:
            _, at = varint(packets, 1)
            _, at = text(packets, at)
            if packets[at] == 5:
                length, end = varint(packets, at + 4)
                self.client_id, _ = text(packets, end + length)
            else:
                self.client_id, _ = text(packets, at + 4)
        return renumbered(packets, self.numbers.up, (PUBACK, PUBREC, PUBCOMP))

    def down(self, packet):
        if packet[0] == DISCONNECT << 4 and "AXLE_SILENT" in os.environ:
            return b""
        if packet[0] == CONNACK << 4 and packet[2:3] == b"\x01":
            self.numbers = self.sessions.get(self.client_id, self.numbers)
        self.sessions[self.client_id] = self.numbers
        return renumbered(packet, self.numbers.down, (PUBLISH, PUBREL))

    def carry(self, one, other, change):
        with contextlib.suppress(OSError):
            while packets := next_packet(one) if one is self.server else one.recv(1 << 16):
                with contextlib.suppress(IndexError):  # broken on purpose: as it is
                    packets = change(packets)
                other.sendall(packets)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def relay(listener, target, sessions):
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            Relay(client, socket.create_connection(target), sessions)


class Axle:
    """The broker of a script: the listener for local tools, on the port that the script connects to."""

    def __init__(self, port):
        self.data = pathlib.Path(os.environ["AXLE_DATA"])
        env = dict(os.environ)
        for section in ("HTTP", "OPS", "MQTT", "DEVICE_HTTPS"):
            env[f"AXLE_{section}__LISTEN"] = "127.0.0.1:0"
        env["AXLE_MQTT__PLAIN_LISTEN"] = "127.0.0.1:0"
        env["AXLE_MQTT__PLAIN_ACCESS"] = "all"
        (self.data / "addresses.json").unlink(missing_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        self.log = open(self.data / "server.log", "ab")
        self.process = subprocess.Popen(
            [os.environ["AXLE_BIN"], "serve", "--data-dir", str(self.data)],
            env=env, stdout=self.log, stderr=self.log,
        )
        deadline = time.monotonic() + 30
        while not (self.data / "addresses.json").exists():
            assert self.process.poll() is None, (self.data / "server.log").read_text()
            assert time.monotonic() < deadline, "the server did not get ready"
            time.sleep(0.02)
        host, own = json.loads((self.data / "addresses.json").read_text())["mqtt"].rsplit(":", 1)
        self.listener = socket.create_server(("127.0.0.1", port))
        told = (self.listener, (host, int(own)), SESSIONS)
        threading.Thread(target=relay, args=told, daemon=True).start()

    def terminate(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.process.terminate()

    def kill(self):
        self.terminate()
        self.process.kill()

    def poll(self):
        return self.process.poll()

    def wait(self):
        self.process.wait(timeout=30)

    def communicate(self, **_):
        self.process.wait(timeout=30)
        return b"", (self.data / "server.log").read_bytes()[-2000:]


def adapt(mosq_test, source, fresh):
    def start_broker(filename, cmd=None, port=0, use_conf=False, expect_fail=False):
        fresh()
        return Axle(port)

    def packet_matches(name, received, expected):
        if agrees(received, expected):
            return True
        print(f"FAIL: {name}\n  received {received.hex(' ')}\n  expected {expected.hex(' ')}")
        return False

    def expect_packet(sock, name, expected):
        for one in list(split(expected)) or [b""]:
            received = next_packet(sock)
            if not one and refuses(received):
                received = sock.recv(1)
            if not packet_matches(name, received, one):
                raise mosq_test.TestError
        return True

    def receive_unordered(sock, one, other, error):
        awaited = list(split(one)) + list(split(other))
        while awaited:
            received = next_packet(sock)
            found = next((it for it in awaited if agrees(received, it)), None)
            if found is None:
                packet_matches(error, received, awaited[0])
                raise ValueError(error)
            awaited.remove(found)

    gen_connect = mosq_test.gen_connect

    def gen_3_1_1(*arguments, **named):
        """MQTT 3.1 is not spoken here; where a script asks for it, it gets 3.1.1."""
        if named.get("proto_ver") == 3:
            named["proto_ver"] = 4
        return gen_connect(*arguments, **named)

    popen = subprocess.Popen

    def helper(command, *arguments, **named):
        """A script's helper compares as the script does."""
        if str(command[0]).endswith("-helper.py"):
            command = [sys.executable, __file__, str(source), *command]
        return popen(command, *arguments, **named)

    mosq_test.gen_connect = gen_3_1_1
    subprocess.Popen = helper
    for replaced in (start_broker, packet_matches, expect_packet, receive_unordered):
        setattr(mosq_test, replaced.__name__, replaced)


def main():
    source, script, port = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
    os.chdir(source / "test" / "broker")
    sys.path[:0] = [str(source / "test"), "."]
    mosq_test = importlib.import_module("mosq_test")
    data = pathlib.Path(os.environ["AXLE_DATA"])
    # What mosquitto would keep over a restart, which scripts delete when they begin.
    kept = pathlib.Path(f"mosquitto-{port}.db")
    keeps = "persistence true" in pathlib.Path(script).read_text()

    def fresh():
        if not (keeps and kept.exists()):
            shutil.rmtree(data, ignore_errors=True)
        if keeps:
            kept.touch()

    adapt(mosq_test, source, fresh)
    sys.argv = [script, port]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
