//! Tokens: making them and recognising them.

use std::sync::Arc;

use axle_domain::port::{Clock, TokenStore};
use axle_domain::{Error, Kind, Scope, Token, TokenHash};
use sha2::{Digest, Sha256};

use crate::app::Ports;
use crate::principal::{Principal, device_not_found};
use crate::random::random_text;
use crate::registry::Registry;

/// The token desk.
pub struct Tokens {
    store: Arc<dyn TokenStore>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    pub(crate) fn new(ports: &Ports, registry: Arc<Registry>) -> Self {
        let (store, clock) = (Arc::clone(&ports.tokens), Arc::clone(&ports.clock));
        Self { store, registry, clock }
    }

    /// Makes a token; returns it with its secret, which is shown this once.
    ///
    /// # Errors
    /// `Invalid` without a scope, `NotFound` when a scope names a device that is not registered.
    pub async fn create(&self, scopes: Vec<Scope>) -> Result<(Token, String), Error> {
        if scopes.is_empty() {
            return Err(Error::invalid("token.no_scope", "a token needs one scope at least"));
        }
        for device in scopes.iter().filter_map(Scope::device) {
            if !self.registry.knows(device.as_str()) {
                return Err(device_not_found(device));
            }
        }
        let secret = random_text("axle_", 40)?;
        let token = Token {
            id: random_text("t-", 12)?,
            hash: hash(&secret),
            scopes,
            created_at: self.clock.now(),
        };
        self.store.create_token(token.clone()).await?;
        Ok((token, secret))
    }

    /// Makes sure that a given secret is an administrator's token: the one in the data directory.
    ///
    /// # Errors
    /// As the token store.
    pub async fn ensure_administrator(&self, secret: &str) -> Result<(), Error> {
        let hash = hash(secret);
        if self.store.find_token(hash).await?.is_some() {
            return Ok(());
        }
        let id = random_text("t-", 12)?;
        let created_at = self.clock.now();
        self.store.create_token(Token { id, hash, scopes: vec![Scope::Admin], created_at }).await
    }

    /// A new secret for [`Tokens::ensure_administrator`].
    ///
    /// # Errors
    /// `Internal`, when the operating system gives no randomness.
    pub fn new_secret() -> Result<String, Error> {
        random_text("axle_", 40)
    }

    /// Recognises a secret.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn authenticate(&self, secret: &str) -> Result<Principal, Error> {
        match self.store.find_token(hash(secret)).await? {
            Some(token) => Ok(Principal::Token(token)),
            None => Err(Error::new(
                Kind::Unauthenticated,
                "token.unknown",
                "the bearer token is not known: make one with `axle token create`",
            )),
        }
    }

    /// All tokens.
    ///
    /// # Errors
    /// As the token store.
    pub async fn list(&self) -> Result<Vec<Token>, Error> {
        self.store.list_tokens().await
    }

    /// Withdraws a token.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke(&self, id: &str) -> Result<(), Error> {
        if self.store.delete_token(id).await? {
            return Ok(());
        }
        let shown: String = id.chars().take(64).collect();
        Err(Error::not_found("token.not_found", format!("token `{shown}` not found")))
    }
}

pub(crate) fn hash(secret: &str) -> TokenHash {
    TokenHash(Sha256::digest(secret.as_bytes()).into())
}
