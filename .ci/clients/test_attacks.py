"""Clients that mean no good, and a server that runs out of file descriptors, from outside."""

import json
import pathlib
import resource
import socket
import ssl
import subprocess
import time

import paho.mqtt.client as mqtt
import pytest

from conftest import Server
from test_devices import Device


def s_client(server, listener, *options):
    """What openssl says of a handshake, after it has read what comes behind it."""
    host, port = server.host_port(listener)
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", "-ign_eof", *options],
        input="", capture_output=True, text=True, timeout=30, check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("listener", ["mqtts", "device_https"])
def test_t03_what_is_weak_begins_no_handshake(server, listener):
    keys, _ = server.add_device("b-1")
    proved = ["-cert", str(keys / "b-1.crt"), "-key", str(keys / "b-1.key"), "-CAfile", str(keys / "ca.crt")]
    weak = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
    for old in ("-tls1", "-tls1_1"):
        told = s_client(server, listener, *proved, old, "-cipher", weak)
        assert "alert protocol version" in told or "alert handshake failure" in told, told
    for suite in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "NULL", "ECDHE-RSA-DES-CBC3-SHA", "ADH-AES256-SHA"):
        told = s_client(server, listener, *proved, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
        assert "Cipher is (NONE)" in told or "no cipher match" in told, told
    told = s_client(server, listener, *proved, "-alpn", "h2")
    assert "no application protocol" in told, told
    for options in (["-noservername"], ["-alpn", {"mqtts": "mqtt", "device_https": "http/1.1"}[listener]]):
        told = s_client(server, listener, *proved, *options)
        assert "Verify return code: 0 (ok)" in told, told
        assert "Compression: NONE" in told or "TLSv1.3" in told
    # Nobody negotiates anew: it would let a client change who it is.
    told = s_client(server, listener, *proved, "-tls1_2", "-legacy_renegotiation")
    assert "Secure Renegotiation IS supported" in told, told


def test_t20_forged_values_are_kept_and_change_no_latest_value_for_the_worse(server):
    keys, _ = server.add_device("b-1")
    device = Device(server, keys, "b-1", mqtt.MQTTv5)
    now = int(time.time() * 1000)
    sent = [
        {"time": now, "odometer_km": 100, "lat": 52.5, "lon": 13.4},
        # A minute older, ten minutes ahead, ten years ahead, before there was anything.
        {"time": now - 60_000, "odometer_km": 1},
        {"time": now + 600_000, "odometer_km": 999_999},
        {"time": now + 10 * 365 * 86_400_000, "odometer_km": 2},
        {"time": 0, "odometer_km": 3},
    ]
    for sample in sent:
        device.client.publish("v1/d/b-1/t/status", json.dumps(sample), qos=1)
        assert not device.wait("puback").is_failure
    for broken in (b'{"odometer_km": NaN}', b'{"odometer_km": 1e400}', b'{"lat": "north"}'):
        device.client.publish("v1/d/b-1/t/status", broken, qos=1)
        assert not device.wait("puback").is_failure
    device.close()
    server.settle()
    fields = server.api("GET", "/api/v1/devices/b-1/state")["fields"]
    assert fields["status.odometer_km"]["value"] == 100
    rows = server.query("SELECT odometer_km, time_quality FROM status ORDER BY odometer_km")
    assert [row[0] for row in rows] == [1, 100, 999_999]
    assert rows[2][1] == "future"
    set_aside = server.api("GET", "/api/v1/quarantine")["items"]
    codes = sorted(item["code"] for item in set_aside)
    assert len(codes) == 5 and "time.future" in codes and "time.past" in codes, codes


def test_t21_an_answer_counts_from_its_own_device_alone_and_in_time(server):
    keys, _ = server.add_device("b-1")
    server.add_device("b-2")
    thief = Device(server, keys, "b-2", mqtt.MQTTv5)
    made = server.api("POST", "/api/v1/devices/b-1/commands", {"name": "unlock", "timeout_s": 60})
    succeeded = json.dumps({"status": "succeeded"})
    # As the other device, which its certificate does not let it be.
    thief.client.publish(f"v1/d/b-1/c/{made['id']}/r", succeeded, qos=1)
    assert thief.wait("puback").value == 0x87
    # In its own tree, with the command of another, and with one that there never was.
    for command in (made["id"], "01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        thief.client.publish(f"v1/d/b-2/c/{command}/r", succeeded, qos=1)
        assert not thief.wait("puback").is_failure
    server.settle()
    shown = server.api("GET", f"/api/v1/commands/{made['id']}")
    assert shown["status"] == made["status"] == "waiting", shown
    late = server.api("POST", "/api/v1/devices/b-2/commands", {"name": "unlock", "timeout_s": 1})
    deadline = time.monotonic() + 20
    while server.api("GET", f"/api/v1/commands/{late['id']}")["status"] != "expired":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    thief.client.publish(f"v1/d/b-2/c/{late['id']}/r", succeeded, qos=1)
    assert not thief.wait("puback").is_failure
    thief.close()
    server.settle()
    assert server.api("GET", f"/api/v1/commands/{late['id']}")["status"] == "expired"


def cpu_seconds(process):
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_f29_without_descriptors_who_is_there_is_served_and_others_come_back_later(tmp_path):
    server = Server(tmp_path)
    keys, _ = server.add_device("b-1")
    server.add_device("b-2")
    device = Device(server, keys, "b-1", mqtt.MQTTv5)
    held = len(list(pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir()))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (held + 12, held + 12))
    host, port = server.host_port("mqtts")
    crowd = []
    for _ in range(300):
        one = socket.socket()
        one.settimeout(0.2)
        crowd.append(one)
        # Beyond what the kernel queues for us a connection does not even begin.
        if one.connect_ex((host, port)) != 0:
            break
    used = cpu_seconds(server.process)
    began = time.monotonic()
    number = 0
    while time.monotonic() < began + 3:
        number += 1
        device.client.publish("v1/d/b-1/t/status", json.dumps({"odometer_km": number}), qos=1)
        assert not device.wait("puback").is_failure
        time.sleep(0.05)
    busy = (cpu_seconds(server.process) - used) / (time.monotonic() - began)
    for one in crowd:
        one.close()
    deadline = time.monotonic() + 30
    while True:
        try:
            other = Device(server, keys, "b-2", mqtt.MQTTv5)
            break
        except (OSError, ssl.SSLError, AssertionError):
            assert time.monotonic() < deadline, "nobody comes in again"
            time.sleep(0.2)
    other.client.publish("v1/d/b-2/t/status", json.dumps({"odometer_km": 1}), qos=1)
    assert not other.wait("puback").is_failure
    other.close()
    device.close()
    server.settle()
    assert server.query("SELECT count(*) FROM status WHERE device = 'b-1'") == [[number]]
    assert server.stop() == 0
    log = (tmp_path / "server.log").read_text()
    assert busy < 0.5, f"{busy:.2f} of a core while nobody could be taken"
    assert "panicked" not in log
    assert "Too many open files" in log, log[-3000:]
