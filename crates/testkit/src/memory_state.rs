//! The state in memory: registry, tokens, people, commands and what is computed from the log, in ordered
//! maps. The law of each port in the fewest lines, to be read beside a real implementation.

mod application;
mod client_session;
mod component;
mod connections;
mod consumer;
mod people;
mod search;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use axle_domain::port::{
    CommandStore, Counters, DeviceFilter, DeviceRegistry, Projected, ReportedState, SilentDevice,
    TokenStore, UploadReceipt,
};
use axle_domain::{
    Application, ApplicationName, Certificate, Command, CommandId, Device, DeviceId, DeviceStatus,
    Error, FieldKey, Fingerprint, Kind, LatestValue, Offset, QuarantineCount, QuarantineFilter,
    QuarantineId, QuarantineItem, QuarantineState, Reply, Timestamp, Token, TokenHash, Transition,
    limit,
};

/// All state ports over maps in memory.
#[derive(Debug, Default)]
pub struct MemoryState(Mutex<Contents>);

#[derive(Clone, Debug, Default)]
struct Contents {
    devices: BTreeMap<DeviceId, Device>,
    certificates: BTreeMap<Fingerprint, Certificate>,
    applications: BTreeMap<ApplicationName, Application>,
    tokens: BTreeMap<String, Token>,
    /// In the order of creation.
    commands: Vec<Command>,
    position: Offset,
    latest: BTreeMap<(DeviceId, FieldKey), LatestValue>,
    last_seen: BTreeMap<DeviceId, Timestamp>,
    quarantine: BTreeMap<QuarantineId, QuarantineItem>,
    receipts: BTreeMap<(String, String), UploadReceipt>,
    counters: Counters,
    damage: Option<String>,
    people: people::People,
    connections: connections::Connections,
    master: component::MasterData,
    client_sessions: client_session::ClientSessions,
    consumers: BTreeMap<axle_domain::ConsumerName, axle_domain::Consumer>,
}

impl MemoryState {
    /// An empty state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a crash at this moment leaves: everything that was committed.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self(Mutex::new(self.contents().clone()))
    }

    /// Says from now on that something is damaged.
    pub fn put_damage(&self, what: &str) {
        self.contents().damage = Some(what.to_owned());
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn conflict(code: &'static str, message: String) -> Error {
    Error::new(Kind::Conflict, code, message)
}

fn no_device(id: &DeviceId) -> Error {
    Error::not_found("device.not_found", format!("device `{id}` not found"))
}

#[async_trait]
impl DeviceRegistry for MemoryState {
    async fn create_device(&self, device: Device) -> Result<(), Error> {
        let mut contents = self.contents();
        if contents.devices.contains_key(&device.id) {
            let message = format!("device `{}` exists already", device.id);
            return Err(conflict("device.exists", message));
        }
        contents.devices.insert(device.id.clone(), device);
        Ok(())
    }

    async fn update_device(&self, device: Device) -> Result<(), Error> {
        let mut contents = self.contents();
        let Some(stored) = contents.devices.get_mut(&device.id) else {
            return Err(no_device(&device.id));
        };
        if stored.version + 1 != device.version {
            let message = format!("device `{}` has version {}", device.id, stored.version);
            return Err(conflict("device.version_conflict", message));
        }
        *stored = device;
        Ok(())
    }

    async fn find_device(&self, id: &DeviceId) -> Result<Option<Device>, Error> {
        Ok(self.contents().devices.get(id).cloned())
    }

    async fn list_devices(&self, filter: DeviceFilter) -> Result<Vec<Device>, Error> {
        let search = filter.search.to_lowercase();
        let is_wanted = |device: &&Device| {
            filter.after.as_ref().is_none_or(|after| device.id > *after)
                && (device.id.as_str().to_lowercase().contains(&search)
                    || device.name.to_lowercase().contains(&search))
        };
        let contents = self.contents();
        Ok(contents.devices.values().filter(is_wanted).take(filter.limit).cloned().collect())
    }

    async fn add_certificate(&self, certificate: Certificate) -> Result<(), Error> {
        let mut contents = self.contents();
        if !contents.devices.contains_key(&certificate.device) {
            return Err(no_device(&certificate.device));
        }
        match contents.certificates.get(&certificate.fingerprint) {
            Some(stored) if stored.device != certificate.device => {
                let message = format!("certificate is bound to device `{}`", stored.device);
                Err(conflict("certificate.bound", message))
            }
            Some(_) => Ok(()),
            None => {
                contents.certificates.insert(certificate.fingerprint, certificate);
                Ok(())
            }
        }
    }

    async fn revoke_certificates(
        &self,
        device: &DeviceId,
        only: Option<Fingerprint>,
        at: Timestamp,
    ) -> Result<usize, Error> {
        let mut marked = 0;
        for certificate in self.contents().certificates.values_mut() {
            let is_meant = only.is_none_or(|only| only == certificate.fingerprint);
            let is_later = certificate.revoked_at.is_none_or(|revoked| revoked > at);
            if certificate.device == *device && is_meant && is_later {
                certificate.revoked_at = Some(at);
                marked += 1;
            }
        }
        Ok(marked)
    }

    async fn list_certificates(&self, of: Option<&DeviceId>) -> Result<Vec<Certificate>, Error> {
        let is_wanted = |certificate: &&Certificate| of.is_none_or(|of| certificate.device == *of);
        Ok(self.contents().certificates.values().filter(is_wanted).cloned().collect())
    }
}

#[async_trait]
impl TokenStore for MemoryState {
    async fn create_token(&self, token: Token) -> Result<(), Error> {
        let mut contents = self.contents();
        if contents.tokens.values().any(|other| other.id == token.id || other.hash == token.hash) {
            return Err(conflict("token.exists", format!("token `{}` exists already", token.id)));
        }
        contents.tokens.insert(token.id.clone(), token);
        Ok(())
    }

    async fn find_token(&self, hash: TokenHash) -> Result<Option<Token>, Error> {
        Ok(self.contents().tokens.values().find(|token| token.hash == hash).cloned())
    }

    async fn list_tokens(&self) -> Result<Vec<Token>, Error> {
        Ok(self.contents().tokens.values().cloned().collect())
    }

    async fn delete_token(&self, id: &str) -> Result<bool, Error> {
        Ok(self.contents().tokens.remove(id).is_some())
    }
}

#[async_trait]
impl CommandStore for MemoryState {
    async fn create_command(&self, command: Command) -> Result<(), Error> {
        let mut contents = self.contents();
        if contents.commands.iter().any(|other| other.id == command.id) {
            let message = format!("command `{}` exists already", command.id);
            return Err(conflict("command.exists", message));
        }
        let is_open =
            |other: &&Command| other.device == command.device && !other.status().is_final();
        let open = contents.commands.iter().filter(is_open).count();
        if open >= limit::COMMANDS_OPEN_PER_DEVICE_MAX {
            let message = format!("device `{}` has {open} open commands", command.device);
            return Err(Error::new(Kind::Busy, "command.too_many_open", message));
        }
        contents.commands.push(command);
        Ok(())
    }

    async fn find_command(&self, id: &CommandId) -> Result<Option<Command>, Error> {
        Ok(self.contents().commands.iter().find(|command| command.id == *id).cloned())
    }

    async fn advance(&self, id: &CommandId, step: Transition) -> Result<(Command, bool), Error> {
        let mut contents = self.contents();
        match contents.commands.iter_mut().find(|command| command.id == *id) {
            Some(command) => {
                let changed = command.advance(step);
                Ok((command.clone(), changed))
            }
            None => Err(Error::not_found("command.not_found", format!("command `{id}` not found"))),
        }
    }

    async fn answer(&self, replies: Vec<Reply>) -> Result<(), Error> {
        let mut contents = self.contents();
        for reply in replies {
            if let Some(command) = contents.commands.iter_mut().find(|c| c.id == reply.command) {
                command.answer(&reply);
            }
        }
        Ok(())
    }

    async fn open_commands(&self, device: &DeviceId) -> Result<Vec<Command>, Error> {
        let is_open =
            |command: &&Command| command.device == *device && !command.status().is_final();
        Ok(self.contents().commands.iter().filter(is_open).cloned().collect())
    }

    async fn list_commands(&self, device: &DeviceId, limit: usize) -> Result<Vec<Command>, Error> {
        let contents = self.contents();
        let of_device = contents.commands.iter().rev().filter(|command| command.device == *device);
        Ok(of_device.take(limit).cloned().collect())
    }

    async fn overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<CommandId>, Error> {
        let contents = self.contents();
        let is_overdue =
            |command: &&Command| command.deadline < now && !command.status().is_final();
        let overdue = contents.commands.iter().filter(is_overdue).take(limit);
        Ok(overdue.map(|command| command.id.clone()).collect())
    }
}

#[async_trait]
impl ReportedState for MemoryState {
    fn damage(&self) -> Option<String> {
        self.contents().damage.clone()
    }

    async fn position(&self) -> Result<Offset, Error> {
        Ok(self.contents().position)
    }

    async fn commit(&self, projected: Projected) -> Result<(), Error> {
        let mut contents = self.contents();
        if projected.through <= contents.position {
            return Ok(());
        }
        contents.position = projected.through;
        for value in projected.latest {
            let key = (value.device.clone(), value.field.clone());
            let stored = contents.latest.get(&key);
            if stored.is_none_or(|stored| stored.is_replaced_by(value.time, value.received_at)) {
                contents.latest.insert(key, value);
            }
        }
        for (device, at) in projected.last_seen {
            let seen = contents.last_seen.entry(device).or_insert(at);
            *seen = at.max(*seen);
        }
        for item in projected.quarantined {
            contents.quarantine.entry(item.id).or_insert(item);
        }
        for id in projected.replayed {
            if let Some(item) = contents.quarantine.get_mut(&id) {
                item.state = QuarantineState::Replayed;
            }
        }
        for receipt in projected.receipts {
            let key = (receipt.token.clone(), receipt.key.clone());
            contents.receipts.insert(key, receipt);
        }
        for reply in projected.replies {
            if let Some(command) = contents.commands.iter_mut().find(|c| c.id == reply.command) {
                command.answer(&reply);
            }
        }
        contents.counters.add(projected.counted);
        Ok(())
    }

    async fn latest(
        &self,
        device: &DeviceId,
    ) -> Result<(Vec<LatestValue>, Option<Timestamp>), Error> {
        let contents = self.contents();
        let values = contents.latest.values().filter(|value| value.device == *device);
        Ok((values.cloned().collect(), contents.last_seen.get(device).copied()))
    }

    async fn latest_of(
        &self,
        fields: &[FieldKey],
        after: Option<&DeviceId>,
        devices_max: usize,
    ) -> Result<(Vec<LatestValue>, Option<DeviceId>), Error> {
        let contents = self.contents();
        let mut devices: Vec<&DeviceId> = contents.latest.keys().map(|(it, _)| it).collect();
        devices.dedup();
        devices.retain(|device| after.is_none_or(|after| *device > after));
        devices.truncate(devices_max);
        let is_wanted = |value: &&LatestValue| {
            devices.contains(&&value.device) && fields.contains(&value.field)
        };
        let values = contents.latest.values().filter(is_wanted).cloned().collect();
        Ok((values, devices.last().map(|last| (*last).clone())))
    }

    async fn list_quarantined(
        &self,
        filter: QuarantineFilter,
    ) -> Result<Vec<QuarantineItem>, Error> {
        let contents = self.contents();
        let newest_first = contents.quarantine.values().rev();
        let wanted = newest_first.filter(|item| {
            filter.device.as_ref().is_none_or(|device| item.device == device.as_str())
                && filter.code.as_ref().is_none_or(|code| item.code == *code)
                && filter.stream.as_ref().is_none_or(|stream| item.stream == stream.as_str())
                && filter.state.is_none_or(|state| item.state == state)
                && filter.before.is_none_or(|before| item.id < before)
        });
        Ok(wanted.take(filter.limit).cloned().collect())
    }

    async fn count_quarantined(&self) -> Result<Vec<QuarantineCount>, Error> {
        let contents = self.contents();
        let mut counts: BTreeMap<&str, QuarantineCount> = BTreeMap::new();
        for item in contents.quarantine.values() {
            let (code, waiting, replayed) = (item.code.clone(), 0, 0);
            let new = QuarantineCount { code, waiting, replayed };
            let count = counts.entry(&item.code).or_insert(new);
            match item.state {
                QuarantineState::Waiting => count.waiting += 1,
                QuarantineState::Replayed => count.replayed += 1,
            }
        }
        Ok(counts.into_values().collect())
    }

    async fn list_silent(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Result<(Vec<SilentDevice>, u64), Error> {
        let contents = self.contents();
        let active = contents.devices.values().filter(|it| it.status == DeviceStatus::Active);
        let mut silent: Vec<_> = active
            .map(|it| SilentDevice {
                device: it.id.clone(),
                last_seen: contents.last_seen.get(&it.id).copied(),
            })
            .filter(|it| it.last_seen.is_none_or(|seen| seen < since))
            .collect();
        silent.sort_by_key(|it| std::cmp::Reverse(it.last_seen));
        let count = silent.len() as u64;
        silent.truncate(limit);
        Ok((silent, count))
    }

    async fn find_quarantined(&self, id: QuarantineId) -> Result<Option<QuarantineItem>, Error> {
        Ok(self.contents().quarantine.get(&id).cloned())
    }

    async fn find_receipt(&self, token: &str, key: &str) -> Result<Option<UploadReceipt>, Error> {
        Ok(self.contents().receipts.get(&(token.to_owned(), key.to_owned())).cloned())
    }

    async fn counters(&self) -> Result<Counters, Error> {
        Ok(self.contents().counters)
    }
}
