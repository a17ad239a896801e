//! The agent and the server, each a process of its own, and everything between them cut off at
//! random: `AXLE_KILLS` says how often (6 unless told), `AXLE_SEED` repeats a run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::{axle, text};
use crate::path::rows;
use crate::server::TestServer;

/// 2026-01-02T03:04:05Z in milliseconds.
const BEGIN_MS: u64 = 1_767_323_045_000;
/// Lines that each round adds to the file.
const ROUND_LINES: u64 = 150;

/// An agent in a process of its own. Dropping it kills it.
struct AgentProcess {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl AgentProcess {
    fn start(folder: &Path, server: &str, more: &[&str]) -> Self {
        let mut command = axle();
        command.args(["agent", "--device", "home-1", "--data-dir", "agent", "--server", server]);
        command.args(["--certificate", "keys/home-1.crt", "--key", "keys/home-1.key"]);
        command.args(["--send-every", "50ms"]).args(more).current_dir(folder);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (heard, stderr) = (Arc::clone(&said), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Self { child, said }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.said.lock().unwrap());
    }

    /// Waits until it has said something.
    fn wait_for(&self, part: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.said.lock().unwrap().contains(part) {
            assert!(Instant::now() < until, "no `{part}`: {}", self.said.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ended = self.child.kill().is_err() || self.child.wait().is_err();
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Everything outside the agent that remembers.
struct Ledger {
    folder: PathBuf,
    lines: u64,
    commands: Vec<String>,
}

impl Ledger {
    fn write_lines(&mut self) {
        let path = self.folder.join("values.ndjson");
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        for number in self.lines..self.lines + ROUND_LINES {
            // Three values of one moment, as a meter has them.
            let (time, name) =
                (BEGIN_MS + number / 3, ["power", "in", "out"][(number % 3) as usize]);
            let line =
                format!(r#"{{"time":{time},"socket":"s-1","name":"{name}","watts":{number}.25}}"#);
            writeln!(file, "{line}").unwrap();
        }
        self.lines += ROUND_LINES;
    }

    fn send_command(&mut self, server: &TestServer) {
        let number = format!("n={}", self.commands.len());
        let sent = server.json(&["command", "send", "home-1", "append", &number, "--json"]);
        self.commands.push(sent["id"].as_str().unwrap().to_owned());
    }

    /// How often each command was executed.
    fn executed(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        let text = fs::read_to_string(self.folder.join("done")).unwrap_or_default();
        for id in text.lines() {
            *found.entry(id.to_owned()).or_default() += 1;
        }
        found
    }

    fn check_values(&self, server: &TestServer) {
        let count = "SELECT count(*) FROM energy WHERE device = 'home-1'";
        let until = Instant::now() + Duration::from_secs(60);
        while rows(server, count)[0][0].as_u64() < Some(self.lines) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(rows(server, count), serde_json::json!([[self.lines]]), "each value, and once");
        // An answer has at most 10,000 rows.
        for from in (0..self.lines).step_by(5000) {
            let sql = format!(
                "SELECT watts, name, time FROM energy WHERE device = 'home-1' \
                 AND watts >= {from} AND watts < {} ORDER BY watts",
                from + 5000
            );
            for (number, row) in (from..).zip(rows(server, &sql).as_array().unwrap()) {
                assert_eq!(row[0].as_f64(), Some(number as f64 + 0.25), "{row}");
                let millis = format!(".{:03}", (BEGIN_MS + number / 3) % 1000);
                let time = row[2].as_str().unwrap();
                assert!(time.contains(&millis) || millis == ".000", "{time} for {number}");
            }
        }
    }

    fn check_commands(&self, server: &TestServer) {
        let executed = self.executed();
        for id in &self.commands {
            let until = Instant::now() + Duration::from_secs(60);
            let command = loop {
                let command = server.json(&["command", "show", id, "--json"]);
                let is_final = ["succeeded", "failed", "rejected", "expired"]
                    .contains(&command["status"].as_str().unwrap());
                if is_final || Instant::now() > until {
                    break command;
                }
                std::thread::sleep(Duration::from_millis(20));
            };
            let times = executed.get(id).copied().unwrap_or(0);
            match command["status"].as_str().unwrap() {
                "succeeded" => assert_eq!(times, 1, "{command}"),
                // A kill between beginning and end: nobody knows, and the answer says so.
                "failed" => {
                    assert!(command.to_string().contains("interrupted; not executed again"));
                    assert!(times <= 1, "{command}");
                }
                other => panic!("{other}: {command}"),
            }
        }
        assert!(executed.len() <= self.commands.len());
    }
}

#[test]
fn kills_of_agent_and_server_neither_lose_nor_double_nor_repeat() {
    let time = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let (kills, seed) =
        (from_environment("AXLE_KILLS", 6), from_environment("AXLE_SEED", u64::from(time)));
    println!("kills {kills}, AXLE_SEED={seed}");
    let mut dice = Dice(seed);
    let mut server = TestServer::start();
    let folder = server.folder().path().to_owned();
    server.ok(&["device", "add", "home-1", "--out", "keys", "--kind", "meter"]);
    // The server comes back where the agent knows it.
    let address = server.address("mqtts");
    let mut ledger = Ledger { folder: folder.clone(), lines: 0, commands: Vec::new() };
    let arguments = [
        "--ca",
        "keys/ca.crt",
        "--read-file",
        "values.ndjson",
        "--on-command",
        "append=echo $AXLE_COMMAND_ID >> done; sleep 0.05",
    ];
    let mut agent = AgentProcess::start(&folder, &address, &arguments);
    for _ in 0..kills {
        ledger.write_lines();
        ledger.send_command(&server);
        std::thread::sleep(Duration::from_millis(dice.below(600)));
        if dice.below(3) == 0 {
            let data = server.kill();
            ledger.write_lines();
            std::thread::sleep(Duration::from_millis(dice.below(300)));
            server = TestServer::start_on(data, &[("AXLE_MQTT__LISTEN", &address)]);
        } else {
            agent.kill();
            ledger.write_lines();
            agent = AgentProcess::start(&folder, &address, &arguments);
        }
    }
    ledger.check_values(&server);
    ledger.check_commands(&server);
    agent.stop();
    let loss = rows(&server, "SELECT count(*) FROM fault WHERE device = 'home-1'");
    assert_eq!(loss, serde_json::json!([[0]]), "AXLE_SEED={seed}");
    server.stop();
}

#[test]
fn each_way_to_be_refused_is_told_with_the_next_step() {
    let server = TestServer::start();
    let folder = server.folder().path().to_owned();
    server.ok(&["device", "add", "home-1", "--out", "keys"]);
    let address = server.address("mqtts");
    let source = ["--read-file", "values.ndjson"];
    let other = TestServer::start();
    fs::copy(other.data_dir().join("ca.crt"), folder.join("other.crt")).unwrap();

    let wrong = [&source[..], &["--ca", "other.crt"]].concat();
    let agent = AgentProcess::start(&folder, &address, &wrong);
    agent.wait_for("was not signed by the authority in `ca`: take ca.crt from");
    agent.kill();

    let right = [&source[..], &["--ca", "keys/ca.crt"]].concat();
    let plain = server.address("http");
    let agent = AgentProcess::start(&folder, &plain, &right);
    agent.wait_for("does not speak TLS: the port of MQTT over TLS is 8883 unless set");
    agent.kill();

    let agent = AgentProcess::start(&folder, &other.address("mqtts"), &wrong);
    agent.wait_for("does not know who signed this device's certificate: issue one with");
    agent.kill();

    server.ok(&["device", "revoke", "home-1"]);
    let agent = AgentProcess::start(&folder, &address, &right);
    agent.wait_for("see `axle device show home-1` on the server");
    let mut second = axle();
    second.args(["agent", "--device", "home-1", "--data-dir", "agent", "--server", &address]);
    second.args(["--certificate", "keys/home-1.crt", "--key", "keys/home-1.key"]);
    let second = second.args(&right).current_dir(&folder).output().unwrap();
    assert_eq!(second.status.code(), Some(4), "{}", text(&second.stderr));
    agent.kill();

    let data = server.stop();
    let agent = AgentProcess::start(&folder, &address, &right);
    agent.wait_for("nothing listens on");
    agent.stop();
    drop(data);
    other.stop();
}

#[test]
fn a_dry_run_and_a_command_go_through_the_whole_system() {
    let server = TestServer::start();
    let folder = server.folder().path().to_owned();
    server.ok(&["device", "add", "home-1", "--out", "keys", "--kind", "meter"]);
    let agent = AgentProcess::start(
        &folder,
        &server.address("mqtts"),
        &["--ca", "keys/ca.crt", "--on-command", "relay=cat >> done; echo '{\"is_on\":true}'"],
    );
    let send = |more: &[&str]| -> Value {
        let arguments = ["command", "send", "home-1", "relay", "to=on", "--wait", "--json"];
        server.json(&[&arguments[..], more].concat())
    };
    let dry = send(&["--dry-run"]);
    assert_eq!(dry["status"], "succeeded", "{dry}");
    assert!(!folder.join("done").exists(), "a dry run does nothing");
    let done = send(&[]);
    assert_eq!((&done["status"], &done["result"]["is_on"]), (&"succeeded".into(), &true.into()));
    assert_eq!(fs::read_to_string(folder.join("done")).unwrap(), "{\"to\":\"on\"}");
    agent.stop();
    server.stop();
}
