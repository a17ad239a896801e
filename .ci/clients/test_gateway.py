"""Retained messages, wills, QoS 2 and WebSocket with a client that nobody here wrote, over kill -9."""

import json
import queue
import ssl
import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from test_applications import FILTER, Application, application
from test_devices import VERSIONS, Device

TOPIC = "v1/d/b-1/t/status"


def sample(number):
    return json.dumps({"odometer_km": number})


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_retained_survives_a_kill(server, version):
    keys, _ = server.add_device("b-1")
    token = application(server, "backend")
    device = Device(server, keys, "b-1", version)
    for number, topic in [(1, TOPIC), (2, TOPIC), (3, "v1/d/b-1/t/ride")]:
        payload = sample(number) if topic == TOPIC else json.dumps({"speed_kmh": number})
        device.client.publish(topic, payload, qos=1, retain=True)
        assert not device.wait("puback").is_failure
    device.client.publish("v1/d/b-1/t/ride", b"", qos=1, retain=True)
    assert not device.wait("puback").is_failure
    server.kill()
    device.close()
    server.start()
    reader = Application(server, keys / "ca.crt", "backend", token, version)
    reader.subscribe(FILTER, 1)
    message = reader.messages.get(timeout=20)
    assert (message.topic, message.retain, json.loads(message.payload)) == (TOPIC, True, {"odometer_km": 2})
    with pytest.raises(queue.Empty):
        reader.messages.get(timeout=1)
    reader.close()


def test_a_delayed_will_is_sent_after_a_kill(server):
    keys, _ = server.add_device("b-1")
    token = application(server, "backend")
    reader = Application(server, keys / "ca.crt", "backend", token, mqtt.MQTTv5)
    reader.subscribe(FILTER, 1)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="b-1", protocol=mqtt.MQTTv5)
    client.tls_set(keys / "ca.crt", keys / "b-1.crt", keys / "b-1.key", tls_version=ssl.PROTOCOL_TLS_CLIENT)
    delayed = Properties(PacketTypes.WILLMESSAGE)
    delayed.WillDelayInterval = 3
    delayed.UserProperty = ("why", "gone")
    client.will_set(TOPIC, sample(7), qos=1, properties=delayed)
    kept = Properties(PacketTypes.CONNECT)
    kept.SessionExpiryInterval = 3600
    seen = queue.Queue()
    client.on_connect = lambda c, u, flags, reason, p: seen.put(reason)
    client.connect(*server.host_port("mqtts"), properties=kept)
    client.loop_start()
    assert not seen.get(timeout=20).is_failure
    server.kill()
    client.loop_stop()
    reader.close()
    server.start()
    reader = Application(server, keys / "ca.crt", "backend", token, mqtt.MQTTv5)
    assert reader.has_session
    message = reader.messages.get(timeout=20)
    assert json.loads(message.payload) == {"odometer_km": 7}
    assert message.properties.UserProperty == [("why", "gone")]
    reader.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_publish_at_qos_2_that_is_sent_again_after_a_kill_is_stored_once(server, version):
    keys, _ = server.add_device("b-1")
    options = {} if version == mqtt.MQTTv5 else {"clean_session": False}
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, client_id="b-1", protocol=version, **options
    )
    client.tls_set(keys / "ca.crt", keys / "b-1.crt", keys / "b-1.key", tls_version=ssl.PROTOCOL_TLS_CLIENT)
    arguments = {}
    if version == mqtt.MQTTv5:
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600
        arguments = {"clean_start": False, "properties": kept}
    done, connected = queue.Queue(), queue.Queue()
    client.on_publish = lambda c, u, mid, reason, p: done.put(mid)
    client.on_connect = lambda c, u, flags, reason, p: connected.put(reason)
    client.connect(*server.host_port("mqtts"), **arguments)
    client.loop_start()
    assert not connected.get(timeout=20).is_failure
    # The server dies between what it has taken and what it has answered.
    for number in range(200):
        client.publish(TOPIC, sample(number), qos=2)
    done.get(timeout=20)
    server.kill()
    client.loop_stop()
    server.start()
    client.connect(*server.host_port("mqtts"), **arguments)
    client.loop_start()
    deadline = time.monotonic() + 30
    while client._out_messages and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not client._out_messages
    client.disconnect()
    client.loop_stop()
    server.settle()
    # Rows of one identity are one row in SQL: the records in the log are what is counted.
    listed = server.axle("log", "dump", "--json", "--topic", TOPIC)
    numbers = [json.loads(json.loads(line)["payload"])["odometer_km"] for line in listed.splitlines()]
    assert sorted(numbers) == list(range(200))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_device_comes_over_websocket(server, version):
    keys, _ = server.add_device("b-1")
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, client_id="b-1", protocol=version, transport="websockets"
    )
    client.ws_set_options(path="/mqtt")
    client.tls_set(keys / "ca.crt", keys / "b-1.crt", keys / "b-1.key", tls_version=ssl.PROTOCOL_TLS_CLIENT)
    seen = queue.Queue()
    client.on_connect = lambda c, u, flags, reason, p: seen.put(reason)
    client.on_publish = lambda c, u, mid, reason, p: seen.put(reason)
    client.connect(*server.host_port("device_https"))
    client.loop_start()
    assert not seen.get(timeout=20).is_failure
    for number in range(20):
        client.publish(TOPIC, sample(number), qos=1)
        assert not seen.get(timeout=20).is_failure
    client.disconnect()
    client.loop_stop()
    server.settle()
    assert server.query("SELECT count(*) FROM status WHERE device = 'b-1'") == [[20]]
