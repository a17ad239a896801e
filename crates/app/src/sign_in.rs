//! Signing in: by password, by passkey, by an invitation; and what a person does about them.

use std::sync::Arc;

use axle_domain::port::{Clock, CredentialStore, SessionStore, UserStore, WhichSessions};
use axle_domain::{Error, Invitation, Kind, Passkey, SecretHash, User, UserName, limit};
use tracing::info;

use crate::app::Ports;
use crate::password::{Password, Passwords};
use crate::session::{Sessions, secret_hash};
use crate::user::check_text;

/// A passkey as an authenticator has made it, after its proof was verified.
#[derive(Clone, Debug)]
pub struct NewPasskey {
    /// The authenticator's name for it.
    pub id: Vec<u8>,
    /// The public key, a COSE_Key in CBOR.
    pub public_key: Vec<u8>,
    /// How often it has signed.
    pub sign_count: u32,
    /// What the person calls it.
    pub label: String,
}

/// The desk where people sign in. Secrets of sessions are returned once; axle keeps their hashes.
pub struct SignIn {
    users: Arc<dyn UserStore>,
    credentials: Arc<dyn CredentialStore>,
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    sessions: Sessions,
    passwords: Passwords,
}

impl SignIn {
    pub(crate) fn new(ports: &Ports) -> Self {
        Self {
            users: Arc::clone(&ports.users),
            credentials: Arc::clone(&ports.credentials),
            store: Arc::clone(&ports.sessions),
            clock: Arc::clone(&ports.clock),
            sessions: Sessions::new(ports),
            passwords: Passwords::default(),
        }
    }

    /// Opens a session by name and password. Whether name or password was wrong, or the person
    /// disabled, neither the answer nor its time tells.
    ///
    /// # Errors
    /// `Unauthenticated`; `Busy` when too many sign in at once.
    pub async fn by_password(&self, name: &str, password: Password) -> Result<String, Error> {
        let name = UserName::parse(name).ok();
        let (entry, stored) = match &name {
            Some(name) => {
                (self.users.find_user(name).await?, self.credentials.find_password(name).await?)
            }
            None => (None, None),
        };
        let is_known = entry.is_some();
        let user = entry.map(|entry| entry.user).filter(|user| user.disabled_at.is_none());
        let is_right = self.passwords.verify(stored, password).await?;
        if let Some(user) = user.filter(|_| is_right) {
            return self.open(&user.name, "password").await;
        }
        // A name that nobody has may be a password in the wrong field.
        let shown = name.as_ref().filter(|_| is_known).map_or("unknown", UserName::as_str);
        info!(user.name = shown, how = "password", "sign-in failed");
        let message = "name or password is wrong, or this person may not sign in";
        Err(Error::new(Kind::Unauthenticated, "sign_in.failed", message))
    }

    /// The passkey of that id and whose it is, to verify a signature with.
    ///
    /// # Errors
    /// `Unauthenticated` for an unknown one, and for who is disabled.
    pub async fn passkey(&self, id: &[u8]) -> Result<(Passkey, User), Error> {
        let passkey = self.credentials.find_passkey(id).await?.ok_or_else(unknown_passkey)?;
        let entry = self.users.find_user(&passkey.user).await?;
        let user = entry.map(|entry| entry.user).filter(|user| user.disabled_at.is_none());
        user.map(|user| (passkey, user)).ok_or_else(unknown_passkey)
    }

    /// Opens a session by a passkey whose signature was verified.
    ///
    /// # Errors
    /// `Unauthenticated` when its count went back, as that of a copied one does.
    pub async fn by_passkey(&self, passkey: &Passkey, sign_count: u32) -> Result<String, Error> {
        let now = self.clock.now();
        if !self.credentials.advance_passkey(&passkey.id, sign_count, now).await? {
            info!(user.name = %passkey.user, how = "passkey", "sign-in failed: its count went back");
            let message = "this passkey has been copied, or was removed: use another way in and \
                remove it";
            return Err(Error::new(Kind::Unauthenticated, "passkey.count_went_back", message));
        }
        self.open(&passkey.user, "passkey").await
    }

    /// Whom an invitation is for.
    ///
    /// # Errors
    /// `NotFound` when it was used, has expired, or never was.
    pub async fn invited(&self, code: &str) -> Result<User, Error> {
        let found = self.store.find_invitation(secret_hash(code)).await?;
        self.invited_user(found).await
    }

    /// Uses an invitation to choose a password, and signs in.
    ///
    /// # Errors
    /// As [`SignIn::invited`], and as [`Password::chosen`]; the invitation stays good then.
    pub async fn accept_with_password(&self, code: &str, password: &str) -> Result<String, Error> {
        let user = self.invited(code).await?;
        let password = Password::chosen(password, &user.name)?;
        let hash = self.passwords.hash(password).await?;
        let user = self.take(code).await?;
        self.credentials.put_password(&user.name, Some(hash)).await?;
        self.open(&user.name, "invitation").await
    }

    /// Uses an invitation to register a passkey, and signs in.
    ///
    /// # Errors
    /// As [`SignIn::invited`] and [`SignIn::add_passkey`].
    pub async fn accept_with_passkey(&self, code: &str, new: NewPasskey) -> Result<String, Error> {
        check_text("label", &new.label)?;
        let user = self.take(code).await?;
        self.add_passkey(&user.name, new).await?;
        self.open(&user.name, "invitation").await
    }

    /// Changes a person's password. The other sessions of the person end.
    ///
    /// # Errors
    /// `Denied` when the current password is wrong (who has none yet needs none); as
    /// [`Password::chosen`].
    pub async fn change_password(
        &self,
        name: &UserName,
        current: Password,
        new: &str,
        session: SecretHash,
    ) -> Result<(), Error> {
        let new = Password::chosen(new, name)?;
        let stored = self.credentials.find_password(name).await?;
        if stored.is_some() && !self.passwords.verify(stored, current).await? {
            info!(user.name = %name, "password not changed: the current one was wrong");
            let message = "the current password is wrong";
            return Err(Error::new(Kind::Denied, "password.wrong", message));
        }
        let hash = self.passwords.hash(new).await?;
        self.credentials.put_password(name, Some(hash)).await?;
        let others = WhichSessions::Of(name.clone(), Some(session));
        let ended = self.store.delete_sessions(others).await?;
        info!(user.name = %name, sessions = ended, "password changed, other sessions ended");
        Ok(())
    }

    /// The passkeys of a person.
    ///
    /// # Errors
    /// As the credential store.
    pub async fn passkeys(&self, name: &UserName) -> Result<Vec<Passkey>, Error> {
        self.credentials.list_passkeys(name).await
    }

    /// Gives a person one more passkey.
    ///
    /// # Errors
    /// `Conflict` when it is registered already; `TooLarge` for too many; `Invalid`.
    pub async fn add_passkey(&self, name: &UserName, new: NewPasskey) -> Result<(), Error> {
        check_text("label", &new.label)?;
        if new.id.is_empty() || new.id.len() > limit::CREDENTIAL_ID_BYTES_MAX {
            let message = "the passkey's id is empty or too long";
            return Err(Error::invalid("passkey.id_invalid", message));
        }
        let passkey = Passkey {
            id: new.id,
            user: name.clone(),
            public_key: new.public_key,
            sign_count: new.sign_count,
            label: new.label,
            created_at: self.clock.now(),
            last_used_at: None,
        };
        self.credentials.add_passkey(passkey).await?;
        info!(user.name = %name, "passkey registered");
        Ok(())
    }

    /// Takes a passkey from a person.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when nothing would be left to sign in with.
    pub async fn delete_passkey(&self, name: &UserName, id: &[u8]) -> Result<(), Error> {
        let others = self.credentials.list_passkeys(name).await?;
        let has_other = others.iter().any(|passkey| passkey.id != id);
        if !has_other && self.credentials.find_password(name).await?.is_none() {
            let message = "this is the last way in: choose a password or add a passkey first";
            return Err(Error::new(Kind::Conflict, "passkey.last", message));
        }
        if !self.credentials.delete_passkey(name, id).await? {
            return Err(Error::not_found("passkey.not_found", "there is no such passkey"));
        }
        info!(user.name = %name, "passkey removed");
        Ok(())
    }

    async fn invited_user(&self, found: Option<Invitation>) -> Result<User, Error> {
        let now = self.clock.now();
        let Some(invitation) = found.filter(|invitation| now < invitation.expires_at) else {
            return Err(used_up());
        };
        let entry = self.users.find_user(&invitation.user).await?;
        let user = entry.map(|entry| entry.user).filter(|user| user.disabled_at.is_none());
        user.ok_or_else(used_up)
    }

    /// Takes an invitation, and with it all that the person signed in with before.
    async fn take(&self, code: &str) -> Result<User, Error> {
        let found = self.store.take_invitation(secret_hash(code)).await?;
        let user = self.invited_user(found).await?;
        self.credentials.put_password(&user.name, None).await?;
        for passkey in self.credentials.list_passkeys(&user.name).await? {
            self.credentials.delete_passkey(&user.name, &passkey.id).await?;
        }
        self.store.delete_sessions(WhichSessions::Of(user.name.clone(), None)).await?;
        Ok(user)
    }

    async fn open(&self, name: &UserName, how: &'static str) -> Result<String, Error> {
        let secret = self.sessions.open(Some(name.clone())).await?;
        info!(user.name = %name, how, "signed in");
        Ok(secret)
    }
}

fn unknown_passkey() -> Error {
    let message = "this passkey is not known here: use another way in";
    Error::new(Kind::Unauthenticated, "passkey.unknown", message)
}

fn used_up() -> Error {
    let message = "this link is used up or too old: ask for a new one";
    Error::not_found("invitation.not_found", message)
}
