"""Further client libraries: gmqtt and aiomqtt, each up and down over TLS with a certificate."""

import asyncio
import contextlib
import json
import ssl

import aiomqtt
import gmqtt
import pytest

from test_applications import FILTER, application

TOPIC = "v1/d/b-1/t/status"


def context(keys, name=None):
    """TLS with the certificate of a device, or without one where a token is brought."""
    made = ssl.create_default_context(cafile=keys / "ca.crt")
    if name:
        made.load_cert_chain(keys / f"{name}.crt", keys / f"{name}.key")
    return made


def numbered(number):
    return json.dumps({"odometer_km": number})


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_aiomqtt_publishes_and_an_application_reads(server, qos):
    keys, _ = server.add_device("b-1")
    token = application(server, "backend")
    host, port = server.host_port("mqtts")

    async def play():
        reading = aiomqtt.Client(
            host, port, identifier="backend", username="backend", password=token,
            protocol=aiomqtt.ProtocolVersion.V5, tls_context=context(keys),
        )
        device = aiomqtt.Client(
            host, port, identifier="b-1", protocol=aiomqtt.ProtocolVersion.V5,
            tls_context=context(keys, "b-1"),
        )
        async with reading, device:
            await reading.subscribe(FILTER, qos=qos)
            for number in range(20):
                await device.publish(TOPIC, numbered(number), qos=qos)
            seen = []
            async for message in reading.messages:
                seen.append((json.loads(message.payload)["odometer_km"], message.qos))
                if len(seen) == 20:
                    return seen

    assert asyncio.run(asyncio.wait_for(play(), 30)) == [(number, qos) for number in range(20)]


@pytest.mark.parametrize("version", [4, 5])
def test_gmqtt_publishes_and_an_application_reads(server, version):
    keys, _ = server.add_device("b-1")
    token = application(server, "backend")
    host, port = server.host_port("mqtts")

    async def play():
        loop = asyncio.get_running_loop()
        subscribed, seen, all_seen = loop.create_future(), [], loop.create_future()
        reader, device = gmqtt.Client("backend"), gmqtt.Client("b-1")
        reader.set_auth_credentials("backend", token)
        reader.on_subscribe = lambda *_arguments: subscribed.done() or subscribed.set_result(True)

        def arrived(_client, topic, payload, _qos, _properties):
            assert topic == TOPIC
            seen.append(json.loads(payload)["odometer_km"])
            if len(seen) == 20:
                all_seen.set_result(True)
            return 0

        reader.on_message = arrived
        await reader.connect(host, port, ssl=context(keys), version=version)
        reader.subscribe(FILTER, qos=1)
        await subscribed
        await device.connect(host, port, ssl=context(keys, "b-1"), version=version)
        for number in range(20):
            device.publish(TOPIC, numbered(number), qos=1)
        await all_seen
        for client in (device, reader):
            # It closes TLS while acknowledgements are on their way, and Python's TLS minds those.
            with contextlib.suppress(ssl.SSLError):
                await client.disconnect()
        return seen

    assert asyncio.run(asyncio.wait_for(play(), 30)) == list(range(20))
