"""T06: certificates that are to cost the server its processor are refused, and cost it little."""

import pathlib
import socket
import ssl
import subprocess

import bench as harness
from link import Link, connect

CONFIG = """[req]
distinguished_name = name
[name]
[plain]
extendedKeyUsage = clientAuth
[huge]
subjectAltName = @names
[authority]
basicConstraints = critical, CA:TRUE
nameConstraints = @constraints
[names]
{names}
[constraints]
{constraints}
"""


def forge(folder, name, subject, extensions):
    """A certificate that signs itself, and its key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "10", "-subj", f"/CN={subject}", "-config", folder / "config",
         "-extensions", extensions, "-keyout", folder / f"{name}.key",
         "-out", folder / f"{name}.crt"],
        capture_output=True, timeout=60, check=True)
    return (folder / f"{name}.crt").read_text()


def credentials(folder, authority):
    """Chains by what is wrong with them; None is a client without one."""
    folder.mkdir()
    line = lambda kind, count: "\n".join(
        f"{kind}.{n} = {'x' * 40}-{n}.example.com" for n in range(count))
    (folder / "config").write_text(CONFIG.format(
        names=line("DNS", 900), constraints=line("permitted;DNS", 200)))
    leaf = forge(folder, "leaf", "b-1", "plain")
    huge = forge(folder, "huge", "b-1", "huge")
    bound = forge(folder, "bound", authority, "authority")
    twin = forge(folder, "twin", authority, "plain")
    return {
        "none": None,
        "of another authority": ("leaf", leaf),
        "of 55 KB": ("huge", huge),
        "in a chain of 31": ("leaf", leaf + twin * 30),
        "with three authorities named as ours": ("leaf", leaf + twin * 3),
        "with an authority of 200 constraints": ("leaf", leaf + bound),
    }


def context_of(folder, keys, credential):
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    if credential:
        name, chain = credential
        place = folder / "chain.crt"
        place.write_text(chain)
        context.load_cert_chain(place, folder / f"{name}.key")
    return context


def is_refused(address, context):
    """Whether the server ends the connection before it answers CONNECT."""
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=10) as plain, \
                context.wrap_socket(plain, server_hostname=host) as link:
            link.sendall(connect("b-1"))
            return not link.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True


def processor(server):
    """Milliseconds so far, all threads."""
    threads = pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e6


def chains(bench):
    """Each kind of chain, again and again, and a good device beside them as the measure."""
    harness.needs("openssl")
    # Nobody is kept away for having failed too often: every chain is looked at.
    server, ledger = bench.fleet(
        apps=0, settings={"MQTT__FAILURES_PER_ADDRESS_PER_MINUTE": "1000000"})
    server.axle("device", "add", "good", "--out", str(ledger.keys))
    said = subprocess.run(["openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in",
                           ledger.keys / "ca.crt"], capture_output=True, text=True, check=True)
    authority = said.stdout.split("CN=", 1)[1].split(",")[0].strip()
    folder, costs = bench.folder / "chains", {}

    def measure(kind, attempt):
        began = processor(server)
        for _ in range(bench.rounds):
            bench.found({"unexpected": not attempt()}, f"a certificate {kind} is let in")
        costs[kind] = round((processor(server) - began) / bench.rounds, 2)

    def accepted():
        Link(server.addresses["mqtts"], "good", ledger.keys).close()
        return True

    measure("that is good", accepted)
    for kind, credential in credentials(folder, authority).items():
        context = context_of(folder, ledger.keys, credential)
        measure(kind, lambda context=context: is_refused(server.addresses["mqtts"], context))
    bench.notes["processor_ms_each"] = costs
    end = bench.load(server, ledger)
    bench.found({"unexpected": not bench.await_ack(ledger)}, "no acknowledgement after them")
    end()
    bench.check(server, ledger)
    bench.done = bench.rounds


CASES = {"chains": (chains, 20, 500, "certificates that cost processor")}
