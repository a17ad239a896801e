//! Backend applications at rest.

use async_trait::async_trait;

use crate::{Application, ApplicationName, Error};

/// Where applications are kept.
///
/// 1. A method that changes something returns when the change is durable.
/// 2. A method that fails has changed nothing.
/// 3. The secret of a token never reaches the store.
#[async_trait]
pub trait ApplicationStore: Send + Sync {
    /// Keeps an application.
    ///
    /// # Errors
    /// `Conflict` when name or token are taken.
    async fn create_application(&self, application: Application) -> Result<(), Error>;

    /// Replaces the entry of that name.
    ///
    /// # Errors
    /// `NotFound`.
    async fn update_application(&self, application: Application) -> Result<(), Error>;

    /// All applications, by name.
    async fn list_applications(&self) -> Result<Vec<Application>, Error>;

    /// Forgets an application; says whether there was one.
    async fn delete_application(&self, name: &ApplicationName) -> Result<bool, Error>;
}
