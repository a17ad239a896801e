#!/usr/bin/env python3
"""Measures how long pages and API routes of a running axle take, as a person's browser sees it.

Asks each route again and again over one kept connection, one request at a time, in turn, so that
all routes see the same load, and prints the median, the 99th percentile and the size of each.
Start the load yourself, for example `axle load-test --rate 20000 --duration 120s`.

    tools/latency/measure.py --data-dir ./data --rounds 100 --device bike-0001 --meter meter-0001
"""

import argparse
import http.client
import json
import pathlib
import time
import urllib.parse

SQL = "SELECT time_quality, count(*) FROM status GROUP BY time_quality"


def routes(device, meter):
    """What a person opens, and what the pages and programs ask for behind it."""
    device, meter = urllib.parse.quote(device), urllib.parse.quote(meter)
    europe = "bbox=-10,35,30,60&zoom=4"
    return [
        ("GET", "/", None),
        ("GET", "/devices", None),
        ("GET", f"/devices/{device}", None),
        ("GET", f"/search?q={device[-4:]}", None),
        ("GET", "/map", None),
        ("GET", f"/energy/{meter}", None),
        ("GET", "/quality", None),
        ("GET", "/quarantine", None),
        ("GET", "/query", None),
        ("GET", "/system", None),
        ("GET", f"/api/v1/map?{europe}", None),
        ("GET", f"/api/v1/search?q={device}", None),
        ("GET", f"/api/v1/devices/{device}/state", None),
        ("GET", f"/api/v1/devices/{device}/telemetry/ride?max_points=1000", None),
        ("GET", f"/api/v1/households/{meter}/consumption?bucket=day", None),
        ("POST", "/api/v1/query", json.dumps({"sql": SQL})),
    ]


class Browser:
    """One connection, signed in."""

    def __init__(self, data_dir):
        folder = pathlib.Path(data_dir)
        address = json.loads((folder / "addresses.json").read_text())["http"]
        self.token = (folder / "admin.token").read_text().strip()
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.cookie = None
        self.cookie = self.sign_in()

    def ask(self, method, path, body):
        """Returns seconds, status, bytes and the answer's headers."""
        headers = {"Accept-Encoding": "gzip", "Content-Type": "application/json"}
        if path.startswith("/api/"):
            headers["Authorization"] = f"Bearer {self.token}"
        elif self.cookie:
            headers["Cookie"] = self.cookie
        start = time.perf_counter()
        self.connection.request(method, path, body=body, headers=headers)
        answer = self.connection.getresponse()
        content = answer.read()
        return time.perf_counter() - start, answer.status, content, answer.headers

    def sign_in(self):
        """Opens a session by a one-time link, as `axle login` makes it."""
        _, status, content, _ = self.ask("POST", "/api/v1/login-links", "{}")
        assert status in (200, 201), content
        link = next(v for k, v in json.loads(content).items() if k in ("url", "link", "path"))
        parts = urllib.parse.urlsplit(link)
        _, _, _, headers = self.ask("GET", f"{parts.path}?{parts.query}", None)
        return headers["Set-Cookie"].split(";")[0]


def percentile(sorted_values, share):
    """The smallest value that at least this share does not exceed."""
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--device", default="bike-0001")
    parser.add_argument("--meter", default="meter-0001")
    arguments = parser.parse_args()
    browser = Browser(arguments.data_dir)
    asked = routes(arguments.device, arguments.meter)
    seconds = {path: [] for _, path, _ in asked}
    sizes, refused = {}, {}
    for _ in range(arguments.rounds):
        for method, path, body in asked:
            took, status, content, _ = browser.ask(method, path, body)
            seconds[path].append(took)
            sizes[path] = len(content)
            if status != 200:
                refused[path] = (status, content[:200])
    print("| route | p50 ms | p99 ms | most ms | bytes |\n|---|---|---|---|---|")
    for _, path, _ in asked:
        taken = sorted(seconds[path])
        p50, p99, most = percentile(taken, 0.5), percentile(taken, 0.99), taken[-1]
        print(f"| `{path}` | {p50 * 1e3:.1f} | {p99 * 1e3:.1f} | {most * 1e3:.1f} | {sizes[path]} |")
    for path, (status, content) in refused.items():
        print(f"not answered with 200: {path}: {status} {content!r}")
    raise SystemExit(1 if refused else 0)


if __name__ == "__main__":
    main()
