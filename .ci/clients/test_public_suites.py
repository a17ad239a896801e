"""Test suites of others against the built binary, as their keepers publish them: the tests of paho
and gmqtt for their brokers (PyPI), and mosquitto's for its own (Debian's source package).

Nothing of theirs is kept here. They are fetched once into the cache beside the build; what they
assume of a server that the standards leave open stands here with the reason, and each of these is
run too, so that the list cannot grow old.
"""

import concurrent.futures
import os
import pathlib
import re
import socket
import subprocess
import sys
import tarfile
import xml.etree.ElementTree

import pytest

from suites.mosquitto import ASSUMED, OTHERS, SILENT

HERE = pathlib.Path(__file__).parent / "suites"
CACHE = pathlib.Path(os.environ.get("AXLE_CACHE") or pathlib.Path.home() / ".cache" / "axle") / "suites"
PAHO, GMQTT, MOSQUITTO = "2.2.0", "0.8.0", "2.0.11"
AT_ONCE = 2


def fetch(*command, **named):
    """Gets a suite; a machine that cannot reach who keeps it says so and goes without."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **named)
    if done.returncode != 0:
        pytest.skip(f"cannot be fetched here: {' '.join(command[-3:])}: {done.stderr.strip()[-300:]}")


def unpacked(archive, folder):
    with tarfile.open(archive) as packed:
        packed.extractall(CACHE, filter="data")
    assert folder.is_dir(), folder
    return folder


def from_pypi(name, version):
    folder = CACHE / f"{name.replace('-', '_')}-{version}"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        fetch(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
              "--no-binary", name, "-d", str(CACHE), f"{name}=={version}")
        unpacked(CACHE / f"{folder.name}.tar.gz", folder)
    return folder


def from_debian(name, version):
    """A source package, with lists of its own: the machine's may have no sources."""
    folder = CACHE / f"{name}-{version}"
    if folder.is_dir():
        return folder
    lists = CACHE / "apt"
    for needed in ("parts", "lists/partial", "cache/archives/partial"):
        (lists / needed).mkdir(parents=True, exist_ok=True)
    listed = pathlib.Path("/etc/apt/sources.list.d/debian.sources")
    if not listed.exists():
        pytest.skip(f"no {listed}: nothing says where Debian's sources are")
    known = listed.read_text()
    sources = re.sub(r"(?m)^Types:.*$", "Types: deb-src", known)
    (lists / "parts" / "source.sources").write_text(sources)
    options = []
    for key, value in (("Dir::Etc::SourceList", "/dev/null"), ("Dir::Etc::SourceParts", lists / "parts"),
                       ("Dir::State::Lists", lists / "lists"), ("Dir::Cache", lists / "cache")):
        options += ["-o", f"{key}={value}"]
    fetch("apt-get", "-q", *options, "update")
    fetch("apt-get", "-q", *options, "source", "--download-only", name, cwd=CACHE)
    archive = CACHE / f"{name}_{version}.orig.tar.gz"
    if not archive.exists():
        pytest.skip(f"Debian has another version than {version} here")
    return unpacked(archive, folder)


def failed(server, folder, tests, *arguments):
    """Runs tests with pytest against the listener for local tools: how many there are, and which
    did not pass."""
    report = server.folder / "report.xml"
    host, port = server.host_port("mqtt")
    env = {**os.environ, "HOST": host, "PORT": str(port), "PYTHONPATH": str(HERE)}
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}",
         *arguments, tests],
        cwd=folder, env=env, capture_output=True, timeout=600, check=False,
    )
    cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
    kinds = ("failure", "error", "skipped")
    return len(cases), {it.get("name") for it in cases if any(it.find(kind) is not None for kind in kinds)}


def test_those_of_paho_pass(server):
    assumed = {
        # One topic of their own broker may not be subscribed to.
        "test_subscribe_failure",
    }
    folder = from_pypi("paho-mqtt", PAHO)
    # Further classes restart their own broker within the process, and are about the client.
    tests = "tests/test_mqttv5.py::Test"
    assert failed(server, folder, tests, "-p", "paho_broker") == (21, assumed)


def test_those_of_gmqtt_pass(server):
    assumed = {
        # Their client names itself where it is given no name, so no server ever assigns one.
        "test_assigned_clientid",
        # Port 8883 of this machine, without a certificate.
        "test_basic_ssl",
    }
    folder = from_pypi("gmqtt", GMQTT)
    assert failed(server, folder, "tests/test_mqtt5.py") == (16, assumed)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def passes(source, script, folder):
    """Tried once more where it fails: many of these go by the clock, and our relay may let a new
    connection overtake the goodbye of the one before."""
    return any(run_script(source, script, folder) for _ in range(1 if script in ASSUMED else 2))


def run_script(source, script, folder):
    env = {**os.environ, "AXLE_DATA": str(folder / script)}
    if script in SILENT:
        env["AXLE_SILENT"] = "1"
    with open(folder / f"{script}.log", "wb") as log:
        done = subprocess.run(
            [sys.executable, str(HERE / "mosquitto_script.py"), str(source), script, str(free_port())],
            env=env, stdout=log, stderr=log, timeout=120, check=False,
        )
    return done.returncode == 0


def test_those_of_mosquitto_pass(tmp_path):
    source = from_debian("mosquitto", MOSQUITTO)
    found = (path.name for path in (source / "test" / "broker").glob("[0-9][0-9]-*.py"))
    scripts = sorted(it for it in found if not it.endswith("-helper.py") and not it.startswith(OTHERS))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = dict(zip(scripts, pool.map(lambda it: passes(source, it, tmp_path), scripts), strict=True))
    unexpected = [it for it, good in outcomes.items() if good == (it in ASSUMED)]
    told = [f"{it}\n{(tmp_path / f'{it}.log').read_text(errors='replace')[-1500:]}" for it in unexpected]
    assert not unexpected, "\n".join(told)
