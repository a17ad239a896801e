"""Apps and operators: curl, promtool, DuckDB on the files."""

import gzip
import json
import subprocess

import duckdb

BATCH = {
    "device": "b-1",
    "stream": "ride",
    "samples": [{"time": 1_700_000_000_000 + index, "speed_kmh": index / 3, "lat": 48.1 + index / 1e6}
                for index in range(500)],
}


def upload(server, path, *headers):
    arguments = ["-X", "POST", server.http + "/api/v1/uploads", "--data-binary", f"@{path}",
                 "-H", f"Authorization: Bearer {server.token}"]
    for header in headers:
        arguments += ["-H", header]
    return json.loads(server.curl(*arguments))


def test_every_encoding_stores_the_same_rows_once(server, tmp_path):
    server.add_device("b-1")
    plain = tmp_path / "batch.json"
    plain.write_text(json.dumps(BATCH))
    (tmp_path / "batch.gz").write_bytes(gzip.compress(plain.read_bytes()))
    subprocess.run(["brotli", "-o", tmp_path / "batch.br", plain], check=True)
    subprocess.run(["zstd", "-q", "-o", tmp_path / "batch.zst", plain], check=True)
    json_type = "Content-Type: application/json"
    first = upload(server, plain, json_type)
    assert first["stored"] == 500, first
    for name, encoding in (("batch.gz", "gzip"), ("batch.br", "br"), ("batch.zst", "zstd")):
        again = upload(server, tmp_path / name, json_type, f"Content-Encoding: {encoding}",
                       f"Idempotency-Key: {encoding}")
        assert again["stored"] == 500 and again["upload"] != first["upload"], again
    assert upload(server, plain, json_type) == first
    server.settle()
    assert server.query("SELECT count(*), count(DISTINCT time) FROM ride") == [[500, 500]]


def test_ndjson_and_a_mended_sample(server, tmp_path):
    server.add_device("b-1")
    lines = tmp_path / "ride.ndjson"
    lines.write_text('{"time":1700000000000,"speed_kmh":1}\n{"time":"2085-01-01T00:00:00Z","speed_kmh":2}\n')
    answer = json.loads(server.curl(
        "-X", "POST", server.http + "/api/v1/uploads?device=b-1&stream=ride", "--data-binary", f"@{lines}",
        "-H", f"Authorization: Bearer {server.token}", "-H", "Content-Type: application/x-ndjson"))
    assert (answer["stored"], answer["quarantined"]) == (1, 1), answer
    server.settle()
    item = server.api("GET", "/api/v1/quarantine")["items"][0]
    assert item["code"] == "time.future", item
    server.axle("quarantine", "replay", item["id"], expect=4)
    mended = server.api("POST", f"/api/v1/quarantine/{item['id']}/replay",
                        {"payload": {"time": 1_700_000_001_000, "speed_kmh": 2}})
    assert "offset" in mended, mended
    server.settle()
    assert server.query("SELECT count(*) FROM ride") == [[2]]


def test_metrics_please_promtool_and_the_law_of_the_door_holds(server):
    server.add_device("b-1")
    server.api("POST", "/api/v1/uploads", BATCH)
    server.settle()
    text = server.curl("http://" + server.addresses["ops"] + "/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {}
    for line in text.splitlines():
        if line.startswith("axle_ingest_records_total{"):
            name, value = line.rsplit(" ", 1)
            counts[name.split('"')[1]] = float(value)
    assert counts["received"] == sum(counts[name] for name in ("stored", "quarantined", "rejected", "shed"))
    assert counts["stored"] == 500


def test_duckdb_reads_the_files_as_they_are(server):
    server.add_device("b-1")
    server.api("POST", "/api/v1/uploads", BATCH)
    server.settle()
    assert server.stop() == 0
    files = f"{server.data}/store/**/*.parquet"
    rows = duckdb.sql(
        "SELECT count(*), sum(coalesce(speed_kmh__exact, CAST(speed_kmh AS DOUBLE))) "
        f"FROM read_parquet('{files}', union_by_name = true)"
    ).fetchall()
    expected = sum(sample["speed_kmh"] for sample in BATCH["samples"])
    assert rows[0][0] == 500 and abs(rows[0][1] - expected) < 1e-6, rows
    server.axle("verify")
    server.start()
    assert server.query("SELECT count(*) FROM ride") == [[500]]


def test_openapi_and_its_page_are_there_without_leaving_the_server(server):
    document = json.loads(server.curl(server.http + "/openapi.json"))
    assert document["openapi"].startswith("3.1") and "/uploads" in str(document["paths"].keys())
    page = server.curl(server.http + "/docs")
    assert "<html" in page and "https://" not in page.replace("https://www.w3.org", "")
