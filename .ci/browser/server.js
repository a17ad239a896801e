// The real binary in a process of its own, on ports that nobody else has, with a data directory of
// its own. What was started here is ended here.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const READY_MS = 60_000;

export const binary = process.env.AXLE_BIN ?? "target/debug/axle";

export class Server {
  // Starts `axle serve`, or `axle demo` with the given arguments.
  static async start(verb = "serve", args = []) {
    const folder = await mkdtemp(join(tmpdir(), "axle-browser-"));
    const data = join(folder, "data");
    const listen = Object.fromEntries(
      ["HTTP", "OPS", "MQTT", "DEVICE_HTTPS"].map((name) => [`AXLE_${name}__LISTEN`, "127.0.0.1:0"]),
    );
    const child = spawn(binary, [verb, "--data-dir", data, ...args], {
      env: { ...process.env, ...listen },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const server = new Server(folder, data, child);
    await server.#ready();
    const addresses = await readFile(join(data, "addresses.json"), "utf8");
    server.addresses = JSON.parse(addresses);
    server.origin = `http://${server.addresses.http}`;
    server.token = (await readFile(join(data, "admin.token"), "utf8")).trim();
    return server;
  }

  constructor(folder, data, child) {
    Object.assign(this, { folder, data, child, said: "" });
    this.ended = new Promise((resolve) => child.once("exit", resolve));
  }

  #ready() {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`not ready: ${this.said}`)), READY_MS);
      this.child.stderr.on("data", (bytes) => {
        this.said += bytes;
        if (this.said.includes("open once")) {
          clearTimeout(late);
          resolve();
        }
      });
      this.child.once("error", reject);
      this.child.once("exit", () => reject(new Error(`ended at its start: ${this.said}`)));
    });
  }

  // A client command on this server.
  async axle(...args) {
    const { stdout } = await run(binary, args, {
      env: { ...process.env, AXLE_DATA_DIR: this.data },
      cwd: this.folder,
    });
    return stdout;
  }

  // A fresh one-time link.
  async link() {
    return /https?:\S+\/login\?code=\S+/.exec(await this.axle("login"))[0];
  }

  // A request with the administrator's token; the answer must be a success.
  async api(method, path, body, headers = {}) {
    const answer = await fetch(`${this.origin}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  // Waits until everything that was acknowledged can be read.
  async settled() {
    const { appended } = await this.api("GET", "/positions");
    await until(async () => {
      const { applied } = await this.api("GET", "/positions");
      return Object.values(applied).every((position) => position >= appended);
    }, "the projections");
  }

  async stop() {
    this.child.kill("SIGTERM");
    const isLate = Symbol("late");
    const late = new Promise((resolve) => setTimeout(resolve, 10_000, isLate).unref());
    if ((await Promise.race([this.ended, late])) === isLate) this.child.kill("SIGKILL");
    await this.ended;
    await rm(this.folder, { recursive: true, force: true });
  }
}

// Looks again and again at what sends no event.
export async function until(isMet, what, timeout = 20_000) {
  const end = Date.now() + timeout;
  for (;;) {
    const found = await isMet();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
