//! Bearer tokens at rest.

use async_trait::async_trait;

use crate::{Error, Token, TokenHash};

/// Where tokens are kept, as hashes.
///
/// 1. A method that changes something returns when the change is durable.
/// 2. The secret never reaches the store.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Keeps a token.
    ///
    /// # Errors
    /// `Conflict` when id or hash are taken.
    async fn create_token(&self, token: Token) -> Result<(), Error>;

    /// The token of that hash.
    async fn find_token(&self, hash: TokenHash) -> Result<Option<Token>, Error>;

    /// All tokens, by id.
    async fn list_tokens(&self) -> Result<Vec<Token>, Error>;

    /// Forgets a token; says whether there was one.
    async fn delete_token(&self, id: &str) -> Result<bool, Error>;
}
