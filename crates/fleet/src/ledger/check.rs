//! The comparison: what the server shows against what the ledger knows.

use std::collections::BTreeMap;

use axle_domain::{CommandStatus, DeviceId, Error};
use serde_json::Value;

use super::device::{Device, Execution};
use super::person::{Outcome, Shown};
use super::{Ledger, Violations};
use crate::api::{Api, Call};
use crate::clock::parse_rfc3339_micros;
use crate::load::sent::Sent;
use crate::load::verify::{is_same, verify};

/// Findings that are spelled out.
const EXAMPLES_MAX: usize = 20;

impl Violations {
    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }
}

impl Ledger {
    /// Compares. Everything has come to rest.
    pub(super) async fn check(&self, api: &Api) -> Result<Violations, Error> {
        let mut found = Violations::default();
        self.check_rows(api, &mut found).await?;
        for device in &self.devices {
            check_state(api, device, &mut found).await?;
        }
        for text in &self.partial {
            found.partial += 1;
            found.example(text.clone());
        }
        for app in &self.apps {
            found.receipt += app.wrong_receipts.len() as u64;
            found.refused += app.refused.len() as u64;
            app.wrong_receipts.iter().chain(&app.refused).for_each(|text| {
                found.example(text.clone());
            });
        }
        self.check_commands(&mut found);
        Ok(found)
    }

    async fn check_rows(&self, api: &Api, found: &mut Violations) -> Result<(), Error> {
        let devices = self.devices.iter().map(|device| (device.name.clone(), device.sent()));
        let apps = self.apps.iter().map(|app| (app.name.clone(), app.sent()));
        let (names, sent): (Vec<DeviceId>, Vec<Sent>) = devices.chain(apps).unzip();
        let rows = verify(api, &names, &sent, &|_| ()).await?;
        found.lost += rows.lost;
        found.doubled += rows.doubled;
        found.corrupt += rows.corrupt;
        found.phantom += rows.phantom;
        rows.examples.into_iter().for_each(|text| found.example(text));
        for device in self.devices.iter().filter(|device| device.refused > 0) {
            found.refused += device.refused;
            found.example(format!("refused: {} requests of {}", device.refused, device.name));
        }
        Ok(())
    }

    fn check_commands(&self, found: &mut Violations) {
        let mut executed: BTreeMap<u64, u64> = BTreeMap::new();
        let mut executions: BTreeMap<&str, &Execution> = BTreeMap::new();
        for (id, execution) in self.devices.iter().flat_map(|device| &device.executions) {
            executions.insert(id, execution);
            if let Some(complaint) = &execution.complaint {
                found.executed_wrongly += 1;
                found.example(format!("command {id}: {complaint}"));
            }
            let posted = execution.nonce.and_then(|nonce| self.person.book().get(&nonce));
            if posted.is_none_or(|posted| posted.outcome == Outcome::Refused) {
                found.executed_wrongly += 1;
                found.example(format!("command {id} reached a device and was never posted"));
            }
            if let (Some(nonce), Some(_)) = (execution.nonce, execution.status) {
                *executed.entry(nonce).or_default() += 1;
            }
        }
        for (nonce, times) in executed.into_iter().filter(|(_, times)| *times > 1) {
            found.executed_twice += 1;
            found.example(format!("command number {nonce} was executed {times} times"));
        }
        for posted in self.person.book().values() {
            let Outcome::Accepted(id) = &posted.outcome else { continue };
            if !self.person.shown.contains_key(id) {
                found.refused += 1;
                found.example(format!("command {id} was accepted, and is not known"));
            }
        }
        for (id, shown) in &self.person.shown {
            let posted = shown.nonce.and_then(|nonce| self.person.book().get(&nonce));
            let is_short = posted.is_some_and(|posted| posted.is_short);
            let complaint = match posted {
                None => Some("was never posted"),
                Some(_) => complaint(shown, executions.get(id.as_str()).copied(), is_short),
            };
            if let Some(complaint) = complaint {
                found.command_state += 1;
                let history: Vec<&str> = shown.history.iter().map(|step| step.as_str()).collect();
                found.example(format!("command {id} {complaint}: {}", history.join(" ")));
            }
        }
    }
}

/// What is wrong with a command's life, given what the device did.
fn complaint(shown: &Shown, execution: Option<&Execution>, is_short: bool) -> Option<&'static str> {
    let finals = shown.history.iter().filter(|status| status.is_final()).count();
    if finals != 1 || !shown.status().is_final() {
        return Some("has not exactly one final state, at its end");
    }
    let done = execution.and_then(|execution| Some((execution.status?, execution.nonce)));
    match (shown.status(), done) {
        (CommandStatus::Expired, _) if is_short => None,
        (CommandStatus::Succeeded | CommandStatus::Failed, None) => {
            Some("is done, and no device has done it")
        }
        (status, Some((answer, _))) if status.as_str() != answer => {
            Some("ended otherwise than the device said")
        }
        (_, Some((_, nonce))) if shown.result != nonce => Some("lost the device's result"),
        (_, Some(_)) => None,
        (_, None) => Some("ended before its deadline, and no device has seen it"),
    }
}

/// The latest values must be those of the last message.
async fn check_state(api: &Api, device: &Device, found: &mut Violations) -> Result<(), Error> {
    let Some(seq) = device.last_acked() else { return Ok(()) };
    let path = format!("/api/v1/devices/{}/state", device.name);
    let state = api.call(&Call::get(&path)).await?.into_json()?;
    let source = &device.source;
    let profile = source.profile();
    let mut values = Vec::new();
    for column in profile.columns() {
        let field = state
            .get("fields")
            .and_then(|fields| fields.get(format!("{}.{}", profile.stream(), column.name)));
        let time = field.and_then(|field| parse_rfc3339_micros(field.get("time")?.as_str()?));
        let is_latest = time == Some(source.time_ms(seq) * 1000);
        let value = field.and_then(|field| field.get("value")).filter(|_| is_latest);
        values.push(value.cloned().unwrap_or(Value::Null));
    }
    if !is_same(profile.columns(), &source.cells(seq, 0), &values) {
        found.corrupt += 1;
        found.example(format!("state: {} shows {values:?} instead of message {seq}", device.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use CommandStatus::{Accepted, Expired, Sent, Succeeded, Waiting};

    fn shown(history: &[CommandStatus], result: Option<u64>) -> Shown {
        Shown { nonce: Some(1), history: history.to_vec(), result }
    }

    #[test]
    fn a_command_ends_once_and_as_the_device_said() {
        let done = Execution {
            nonce: Some(1),
            status: Some("succeeded"),
            is_answered: true,
            complaint: None,
        };
        let good = shown(&[Accepted, Sent, Succeeded], Some(1));
        assert_eq!(complaint(&good, Some(&done), false), None);
        assert!(complaint(&good, None, false).is_some());
        assert!(complaint(&shown(&[Accepted, Succeeded], None), Some(&done), false).is_some());
        assert!(complaint(&shown(&[Accepted, Waiting], None), None, false).is_some());
        let twice = shown(&[Accepted, Expired, Succeeded], Some(1));
        assert!(complaint(&twice, Some(&done), true).is_some());
    }

    #[test]
    fn only_a_command_with_a_near_deadline_may_expire() {
        let expired = shown(&[Accepted, Waiting, Expired], None);
        assert_eq!(complaint(&expired, None, true), None);
        assert!(complaint(&expired, None, false).is_some());
    }
}
