//! `axle authority`: the device authority's files, with the server running or stopped.

use std::path::Path;

use axle_app::format_time;
use axle_domain::port::Clock;
use axle_mqtt::{authority_standing, finish_replacement, replace_authority};
use serde_json::{Value, json};

use crate::cli::{AuthorityArgs, AuthorityCommand};
use crate::clock::SystemClock;
use crate::failure::{Exit, Failure};
use crate::output::{TextTable, note, print, print_json};

pub(super) fn run(command: &AuthorityCommand) -> Result<(), Failure> {
    let now = SystemClock.now();
    match command {
        AuthorityCommand::Show(args) => show(args),
        AuthorityCommand::Replace(args) => {
            replace_authority(directory(args)?, now)?;
            note(
                "a new authority signs from now on, and the one before is believed; next: `axle \
                 device rotate` for every device, then `axle authority finish`",
            );
            show(args)
        }
        AuthorityCommand::Finish(args) => {
            finish_replacement(directory(args)?, now)?;
            note("the authority before is believed no more");
            show(args)
        }
    }
}

fn directory(args: &AuthorityArgs) -> Result<&Path, Failure> {
    if args.dir.data_dir.join("ca.crt").exists() {
        return Ok(&args.dir.data_dir);
    }
    let message = format!("{} has no device authority", args.dir.data_dir.display());
    Err(Failure::new(Exit::NotFound, message).with_hint("`--data-dir DIR` of a server"))
}

fn show(args: &AuthorityArgs) -> Result<(), Failure> {
    let standing = authority_standing(directory(args)?)?;
    let warnings = standing.warnings(SystemClock.now());
    if args.json {
        let ends = standing.ends.iter();
        let ends = ends.map(|it| json!({"name": it.name, "not_after": format_time(it.ends)}));
        return print_json(&json!({"ends": ends.collect::<Value>(), "warnings": warnings}));
    }
    let mut table = TextTable::new(&["WHAT", "ENDS"]);
    for it in &standing.ends {
        table.push(vec![it.name.clone(), format_time(it.ends)]);
    }
    print(&table.render())?;
    warnings.iter().for_each(|warning| note(warning));
    Ok(())
}
