//! People: adding them, inviting them, saying what they may do, and taking that back.

use std::sync::Arc;

use axle_domain::port::{Clock, SessionStore, UserEntry, UserFilter, UserStore, WhichSessions};
use axle_domain::{DeviceId, Error, Invitation, Kind, Role, User, UserHandle, UserName, limit};

use crate::app::Ports;
use crate::principal::device_not_found;
use crate::random::random_text;
use crate::registry::Registry;
use crate::session::secret_hash;

/// What one says to add a person.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The name to sign in with.
    pub name: UserName,
    /// What the person is called; may be empty.
    pub display_name: String,
    /// What the person may do.
    pub role: Role,
    /// The devices of a household.
    pub devices: Vec<DeviceId>,
}

/// What one may change of a person.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// What the person is called.
    pub display_name: Option<String>,
    /// What the person may do.
    pub role: Option<Role>,
    /// The devices of a household.
    pub devices: Option<Vec<DeviceId>>,
    /// Whether the person may not sign in.
    pub is_disabled: Option<bool>,
    /// Only if the entry has this version still.
    pub if_version: Option<u64>,
}

/// The desk of people.
pub struct Users {
    store: Arc<dyn UserStore>,
    sessions: Arc<dyn SessionStore>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
}

impl Users {
    pub(crate) fn new(ports: &Ports, registry: Arc<Registry>) -> Self {
        Self {
            store: Arc::clone(&ports.users),
            sessions: Arc::clone(&ports.sessions),
            clock: Arc::clone(&ports.clock),
            registry,
        }
    }

    /// Adds a person; returns the code of the invitation, which is shown this once.
    ///
    /// # Errors
    /// `Conflict` when the name is taken; `Invalid`; `NotFound` for a device that is not
    /// registered.
    pub async fn create(&self, new: NewUser) -> Result<(UserEntry, String), Error> {
        let mut handle = [0_u8; 16];
        getrandom::fill(&mut handle).map_err(|error| {
            Error::internal("random", "no randomness").with_source(error.to_string())
        })?;
        let now = self.clock.now();
        let user = User {
            name: new.name,
            display_name: new.display_name,
            role: new.role,
            devices: new.devices,
            handle: UserHandle(handle),
            created_at: now,
            updated_at: now,
            disabled_at: None,
            version: 1,
        };
        let user = self.checked(user)?;
        self.store.create_user(user.clone()).await?;
        let code = self.invite(&user.name).await?;
        Ok((UserEntry { user, has_password: false, passkey_count: 0 }, code))
    }

    /// The person of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, name: &UserName) -> Result<UserEntry, Error> {
        self.store.find_user(name).await?.ok_or_else(|| user_not_found(name))
    }

    /// People by name.
    ///
    /// # Errors
    /// As the user store.
    pub async fn list(&self, filter: UserFilter) -> Result<Vec<UserEntry>, Error> {
        self.store.list_users(filter).await
    }

    /// Changes what is said of a person. Who is disabled is signed out at once.
    ///
    /// # Errors
    /// `NotFound`; `Invalid`; `Conflict` when the version is another.
    pub async fn update(&self, name: &UserName, change: UserChange) -> Result<UserEntry, Error> {
        let mut entry = self.get(name).await?;
        let user = &mut entry.user;
        if change.if_version.is_some_and(|version| version != user.version) {
            let message = format!("user `{name}` has version {}: read it again", user.version);
            return Err(Error::new(Kind::Conflict, "user.version_conflict", message));
        }
        if let Some(display_name) = change.display_name {
            user.display_name = display_name;
        }
        if let Some(role) = change.role {
            user.role = role;
            if role != Role::Household && change.devices.is_none() {
                user.devices.clear();
            }
        }
        if let Some(devices) = change.devices {
            user.devices = devices;
        }
        let now = self.clock.now();
        user.disabled_at = match change.is_disabled {
            Some(true) => user.disabled_at.or(Some(now)),
            Some(false) => None,
            None => user.disabled_at,
        };
        user.version += 1;
        user.updated_at = now;
        entry.user = self.checked(entry.user)?;
        self.store.update_user(entry.user.clone()).await?;
        if entry.user.disabled_at.is_some() {
            self.sessions.delete_sessions(WhichSessions::Of(name.clone(), None)).await?;
        }
        Ok(entry)
    }

    /// Forgets a person, with all that the person signs in with.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, name: &UserName) -> Result<(), Error> {
        match self.store.delete_user(name).await? {
            true => Ok(()),
            false => Err(user_not_found(name)),
        }
    }

    /// Makes a new invitation, which takes the place of an earlier one; returns its code. Whoever
    /// uses it begins anew: the old password and passkeys end then.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for who is disabled.
    pub async fn invite(&self, name: &UserName) -> Result<String, Error> {
        if self.get(name).await?.user.disabled_at.is_some() {
            let message = format!("user `{name}` is disabled: enable it first");
            return Err(Error::new(Kind::Conflict, "user.disabled", message));
        }
        let code = random_text("", 32)?;
        let expires_at = self.clock.now().after(limit::INVITATION_TIME_MAX);
        let invitation = Invitation { hash: secret_hash(&code), user: name.clone(), expires_at };
        self.sessions.put_invitation(invitation).await?;
        Ok(code)
    }

    fn checked(&self, mut user: User) -> Result<User, Error> {
        check_text("display_name", &user.display_name)?;
        user.devices.sort();
        user.devices.dedup();
        if user.role != Role::Household && !user.devices.is_empty() {
            let message = format!("devices are for the role household, not for {}", user.role);
            return Err(Error::invalid("user.devices_not_for_role", message));
        }
        let most = limit::DEVICES_PER_USER_MAX;
        if user.devices.len() > most {
            let message = format!("a person has at most {most} devices");
            return Err(Error::invalid("user.too_many_devices", message)
                .with_limit(most as u64, user.devices.len() as u64));
        }
        let known = |device: &&DeviceId| self.registry.knows(device.as_str());
        match user.devices.iter().find(|device| !known(device)) {
            Some(unknown) => Err(device_not_found(unknown)),
            None => Ok(user),
        }
    }
}

/// Refuses a text that a person is called by, or that names a passkey, where it is too long.
pub(crate) fn check_text(field: &str, text: &str) -> Result<(), Error> {
    let most = limit::USER_TEXT_BYTES_MAX;
    if text.len() > most {
        let message = format!("`{field}` is too long: at most {most} bytes");
        return Err(Error::invalid("user.text_too_long", message)
            .with_limit(most as u64, text.len() as u64));
    }
    if text.chars().any(char::is_control) {
        let message = format!("`{field}` holds a control character");
        return Err(Error::invalid("user.text_invalid", message));
    }
    Ok(())
}

fn user_not_found(name: &UserName) -> Error {
    Error::not_found("user.not_found", format!("user `{name}` not found: see `axle user list`"))
}
