//! The pages of reference that are written from the code: `UPDATE_EXPECT=1` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use axle_server::cli::Cli;
use axle_server::config::Config;
use clap::CommandFactory;

/// Compares a page with what the code says.
fn check(name: &str, expected: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let hint = "run `UPDATE_EXPECT=1 cargo test -p axle reference`";
    assert!(found == expected, "docs/reference/{name} is not what the code says: {hint}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_command_stands_in_the_reference() {
    let mut page = "# Commands\n\nWritten from the code; `axle COMMAND --help` says the same.\n\n\
        Client commands find the server in its data directory (`--data-dir`, `AXLE_DATA_DIR`, else \
        `./data`); elsewhere `AXLE_URL` and `AXLE_TOKEN` say where it is.\nData goes to stdout, \
        everything else to stderr; `NO_COLOR` is respected; `AXLE_LOG` filters the server's log \
        (`info`, `debug`, `warn,axle_mqtt=debug`).\n\n\
        | exit code | means |\n|---|---|\n| 0 | done |\n| 1 | our own mistake, or the machine |\n\
        | 2 | the command line, the configuration or the request is wrong |\n| 3 | not found |\n\
        | 4 | conflict: it exists already, or something else holds it |\n\
        | 5 | refused, over a limit, failed on the device, or damaged |\n\
        | 6 | no server answers |\n"
        .to_owned();
    let mut command = Cli::command();
    command.build();
    describe(&command, "axle", &mut page);
    check("cli.md", &page);
}

fn describe(command: &clap::Command, path: &str, page: &mut String) {
    let help = command.clone().render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## `{path}`\n```text\n{}\n```\n", help.join("\n").trim_end()));
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        describe(inner, &format!("{path} {}", inner.get_name()), page);
    }
}

#[test]
fn every_setting_stands_in_the_reference() {
    let mut structs = BTreeMap::new();
    for file in [
        "server/src/config.rs",
        "server/src/config/presence.rs",
        "server/src/config/section.rs",
        "http/src/settings.rs",
    ] {
        structs.extend(documented(&fs::read_to_string(root().join("crates").join(file)).unwrap()));
    }
    let mut page = "# Settings\n\nWritten from the code. `axle` starts with none of them.\n\
        A flag beats an environment variable beats the file (`axle serve --config axle.toml`) beats \
        the default; `axle config print` shows the effective values with their origins, \
        `axle config check` only says whether they are right.\n\
        `--set section.key=value` sets any of them on the command line; lists are written with \
        commas there and in variables.\n"
        .to_owned();
    let defaults = Config::defaults();
    for (section, (kind, about)) in &structs["Config"] {
        page.push_str(&format!("\n## `[{section}]`\n{about}\n\n"));
        page.push_str("| key | default | variable | |\n|---|---|---|---|\n");
        for (key, default) in defaults[section].as_table().unwrap() {
            let (_, about) = &structs[kind][key];
            assert!(!about.is_empty(), "{section}.{key} has no description");
            let variable = format!("AXLE_{}__{}", section.to_uppercase(), key.to_uppercase());
            page.push_str(&format!("| `{key}` | `{default}` | `{variable}` | {about} |\n"));
        }
    }
    check("config.md", &page);
}

/// The fields of each struct of a source file: type and description.
fn documented(source: &str) -> BTreeMap<String, BTreeMap<String, (String, String)>> {
    let mut structs: BTreeMap<String, BTreeMap<String, (String, String)>> = BTreeMap::new();
    let (mut name, mut about) = (String::new(), String::new());
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            about = format!("{about} {}", text.trim());
        } else if let Some(rest) = line.strip_prefix("pub struct ") {
            name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
            about.clear();
        } else if let Some((field, kind)) =
            line.strip_prefix("pub ").and_then(|rest| rest.split_once(": "))
        {
            let kind = kind.trim_end_matches(',').to_owned();
            let about = std::mem::take(&mut about).trim().replace('|', "\\|");
            structs.entry(name.clone()).or_default().insert(field.to_owned(), (kind, about));
        } else if !line.starts_with('#') {
            about.clear();
        }
    }
    structs
}
