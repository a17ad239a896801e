//! People at rest.

use async_trait::async_trait;

use crate::{Error, User, UserName};

/// Which people to list.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Part of the name or of what the person is called, any case; empty for all.
    pub search: String,
    /// Only names after this one, for the next page.
    pub after: Option<UserName>,
    /// At most this many.
    pub limit: usize,
}

/// A person in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEntry {
    /// The person.
    pub user: User,
    /// Whether the person has a password.
    pub has_password: bool,
    /// How many passkeys the person has.
    pub passkey_count: usize,
}

/// Where people are kept.
///
/// 1. A method that changes something returns when the change is durable.
/// 2. A method that fails has changed nothing.
/// 3. Lists are ordered by name.
/// 4. With a person go the person's password, passkeys, sessions and invitation.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Adds a person.
    ///
    /// # Errors
    /// `Conflict` when the name is taken; `TooLarge` when there are
    /// [`crate::limit::USERS_MAX`] already.
    async fn create_user(&self, user: User) -> Result<(), Error>;

    /// Replaces the entry of a person whose version is `user.version - 1`.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the version is another.
    async fn update_user(&self, user: User) -> Result<(), Error>;

    /// The person of that name.
    async fn find_user(&self, name: &UserName) -> Result<Option<UserEntry>, Error>;

    /// People by name.
    async fn list_users(&self, filter: UserFilter) -> Result<Vec<UserEntry>, Error>;

    /// Forgets a person; says whether there was one.
    async fn delete_user(&self, name: &UserName) -> Result<bool, Error>;
}
