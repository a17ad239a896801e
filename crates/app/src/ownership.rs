//! The end of a device's service, and its change of owner: what is cut then.

use axle_domain::port::{UserEntry, UserFilter, WhichSessions};
use axle_domain::{Device, DeviceId, Error, Role, UserName, limit};

use crate::app::App;
use crate::user::UserChange;

/// What a change of owner has cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// The people who had the device and have it no more.
    pub former: Vec<UserName>,
    /// Commands that had not ended, canceled.
    pub commands: usize,
    /// Tokens for the device, withdrawn.
    pub tokens: usize,
}

impl App {
    /// Takes a device out of service for good: its certificates are revoked, its connections end,
    /// its open commands are canceled. Its data and its id stay. Returns the device and how many
    /// commands were canceled.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn retire(&self, id: &DeviceId) -> Result<(Device, usize), Error> {
        let device = self.devices.retire(id).await?;
        Ok((device, self.cancel_open(id, "the device was retired").await?))
    }

    /// Gives a device to another household, or to none. Everybody who had it loses it and is
    /// signed out, tokens with a scope for it are withdrawn, and what waited for it is canceled:
    /// nothing that a former owner has begun reaches it any more. Again changes nothing more.
    ///
    /// # Errors
    /// `NotFound` for the device or the person; `Invalid` when the person is of another role than
    /// household, or has too many devices.
    pub async fn transfer(&self, id: &DeviceId, to: Option<&UserName>) -> Result<Transfer, Error> {
        self.devices.get(id).await?;
        let heir = match to {
            Some(name) => Some(self.users.get(name).await?),
            None => None,
        };
        if let Some(heir) = &heir {
            check(heir, id)?;
        }
        let mut former = self.owners(id).await?;
        former.retain(|entry| Some(&entry.user.name) != to);
        let is_new = heir.as_ref().is_some_and(|heir| !heir.user.devices.contains(id));
        let mut transfer = Transfer::default();
        if former.is_empty() && !is_new {
            return Ok(transfer);
        }
        // People go last: a change that was cut short begins anew when it is asked for again.
        for token in self.tokens.list().await? {
            if token.scopes.iter().any(|scope| scope.device() == Some(id)) {
                self.tokens.revoke(&token.id).await?;
                transfer.tokens += 1;
            }
        }
        let why = "the device changed hands";
        transfer.commands = self.cancel_open(id, why).await?;
        for UserEntry { user, .. } in former {
            let devices = user.devices.into_iter().filter(|device| device != id).collect();
            let change = UserChange { devices: Some(devices), ..UserChange::default() };
            self.users.update(&user.name, change).await?;
            let sessions = WhichSessions::Of(user.name.clone(), None);
            self.ports.sessions.delete_sessions(sessions).await?;
            transfer.former.push(user.name);
        }
        // What came in between.
        transfer.commands += self.cancel_open(id, why).await?;
        if let (Some(UserEntry { user, .. }), true) = (heir, is_new) {
            let mut devices = user.devices;
            devices.push(id.clone());
            let change = UserChange { devices: Some(devices), ..UserChange::default() };
            self.users.update(&user.name, change).await?;
        }
        Ok(transfer)
    }

    /// The people who have a device.
    async fn owners(&self, id: &DeviceId) -> Result<Vec<UserEntry>, Error> {
        let filter = UserFilter { limit: limit::USERS_MAX, ..UserFilter::default() };
        let mut people = self.users.list(filter).await?;
        people.retain(|entry| entry.user.devices.contains(id));
        Ok(people)
    }

    async fn cancel_open(&self, id: &DeviceId, why: &str) -> Result<usize, Error> {
        let mut canceled = 0;
        for command in self.ports.commands.open_commands(id).await? {
            canceled += usize::from(self.commands.end(&command.id, why).await?);
        }
        Ok(canceled)
    }
}

fn check(heir: &UserEntry, id: &DeviceId) -> Result<(), Error> {
    let (user, most) = (&heir.user, limit::DEVICES_PER_USER_MAX);
    if user.role != Role::Household {
        let message = format!("user `{}` is no household but {}", user.name, user.role);
        return Err(Error::invalid("user.devices_not_for_role", message));
    }
    if !user.devices.contains(id) && user.devices.len() >= most {
        let message = format!("user `{}` has {most} devices already", user.name);
        return Err(Error::invalid("user.too_many_devices", message)
            .with_limit(most as u64, most as u64 + 1));
    }
    Ok(())
}
