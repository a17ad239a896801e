"""A pytest plugin for paho's own tests: the broker that they would start is the server at PORT."""

import os
import sys
import types


class Listening:
    """What the tests ask of the broker that they believe to have started."""

    def __init__(self):
        self.socket = self

    def getsockname(self):
        return "127.0.0.1", int(os.environ["PORT"])

    def shutdown(self):
        """The server is ended by who started it."""

    def server_close(self):
        """The same."""


broker = types.ModuleType("mqtt.brokers")
broker.run = lambda config: None
broker.listeners = types.SimpleNamespace(TCPListeners=types.SimpleNamespace(server=Listening()))
package = types.ModuleType("mqtt")
package.brokers = broker
sys.modules.update({"mqtt": package, "mqtt.brokers": broker})
