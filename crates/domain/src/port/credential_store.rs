//! What people sign in with, at rest.

use async_trait::async_trait;

use crate::{Error, Passkey, Timestamp, UserName};

/// Where password hashes and passkeys are kept.
///
/// 1. A method that changes something returns when the change is durable.
/// 2. A method that fails has changed nothing.
/// 3. No password reaches the store, only its salted hash.
/// 4. *Counted up.* `advance_passkey` compares and writes in one transaction: a count that is not
///    above the stored one changes nothing, unless both are 0.
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// Keeps the hash of a person's password, or forgets it.
    ///
    /// # Errors
    /// `NotFound` when there is no such person.
    async fn put_password(&self, user: &UserName, hash: Option<String>) -> Result<(), Error>;

    /// The hash of a person's password.
    async fn find_password(&self, user: &UserName) -> Result<Option<String>, Error>;

    /// Keeps a passkey.
    ///
    /// # Errors
    /// `NotFound` when there is no such person; `Conflict` when the id is taken; `TooLarge` when
    /// the person has [`crate::limit::PASSKEYS_PER_USER_MAX`].
    async fn add_passkey(&self, passkey: Passkey) -> Result<(), Error>;

    /// The passkey of that id.
    async fn find_passkey(&self, id: &[u8]) -> Result<Option<Passkey>, Error>;

    /// The passkeys of a person, by the time of their registration.
    async fn list_passkeys(&self, user: &UserName) -> Result<Vec<Passkey>, Error>;

    /// Writes down a use of a passkey; says whether its count allowed that.
    async fn advance_passkey(
        &self,
        id: &[u8],
        sign_count: u32,
        at: Timestamp,
    ) -> Result<bool, Error>;

    /// Forgets a passkey of a person; says whether there was one.
    async fn delete_passkey(&self, user: &UserName, id: &[u8]) -> Result<bool, Error>;
}
