//! Who looks at the console: one-time links, and the sessions that they open.
//!
//! A session reads the console's pages and nothing else; the API takes bearer tokens alone, so
//! that no other site can make a browser act on it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axle_domain::Error;
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::random::random_secret;

/// How long a link waits for its one use.
pub(crate) const LINK_TIME_MAX: Duration = Duration::from_secs(3600);
/// How long a session lasts.
pub(crate) const SESSION_TIME_MAX: Duration = Duration::from_secs(12 * 3600);
/// Most links that wait; the oldest goes first.
const LINKS_MAX: usize = 64;
/// Most sessions; the oldest goes first.
const SESSIONS_MAX: usize = 256;
/// The cookie's name.
const COOKIE_NAME: &str = "axle_session";

/// Secrets by their hash, each until a moment. Looking up a hash tells a guesser nothing.
struct Secrets {
    until: Mutex<HashMap<[u8; 32], Instant>>,
    count_max: usize,
}

impl Secrets {
    fn new(count_max: usize) -> Self {
        Self { until: Mutex::default(), count_max }
    }

    fn create(&self, lasts: Duration, now: Instant) -> Result<String, Error> {
        let secret = random_secret()?;
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, end| *end > now);
        while until.len() >= self.count_max {
            let Some(oldest) = until.iter().min_by_key(|(_, end)| **end).map(|(key, _)| *key)
            else {
                break;
            };
            until.remove(&oldest);
        }
        until.insert(hash(&secret), now + lasts);
        Ok(secret)
    }

    fn take(&self, secret: &str, now: Instant) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.remove(&hash(secret)).is_some_and(|end| end > now)
    }

    fn knows(&self, secret: &str, now: Instant) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(&hash(secret)).is_some_and(|end| *end > now)
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Links and sessions, in memory: a restart ends them.
pub(crate) struct Sessions {
    links: Secrets,
    sessions: Secrets,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { links: Secrets::new(LINKS_MAX), sessions: Secrets::new(SESSIONS_MAX) }
    }
}

impl Sessions {
    /// Makes a link's path; it works once.
    ///
    /// # Errors
    /// `Internal`, when the operating system gives no randomness.
    pub(crate) fn create_link(&self) -> Result<String, Error> {
        Ok(format!("/login?code={}", self.links.create(LINK_TIME_MAX, Instant::now())?))
    }

    /// Uses a link's code up; returns the cookie of a new session.
    ///
    /// # Errors
    /// `Internal`, when the operating system gives no randomness.
    pub(crate) fn open(&self, code: &str) -> Result<Option<String>, Error> {
        let now = Instant::now();
        if !self.links.take(code, now) {
            return Ok(None);
        }
        let secret = self.sessions.create(SESSION_TIME_MAX, now)?;
        let seconds = SESSION_TIME_MAX.as_secs();
        Ok(Some(format!(
            "{COOKIE_NAME}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}"
        )))
    }

    /// Whether a request carries a live session.
    pub(crate) fn is_open(&self, headers: &HeaderMap) -> bool {
        let now = Instant::now();
        secrets(headers).any(|secret| self.sessions.knows(secret, now))
    }

    /// Ends the session of a request; returns the cookie that makes the browser forget it.
    pub(crate) fn close(&self, headers: &HeaderMap) -> String {
        let now = Instant::now();
        for secret in secrets(headers) {
            self.sessions.take(secret, now);
        }
        format!("{COOKIE_NAME}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
    }
}

/// The session cookies of a request.
fn secrets(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| name.trim() == COOKIE_NAME).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_opens_a_session() {
        let sessions = Sessions::default();
        let link = sessions.create_link().unwrap();
        let code = link.strip_prefix("/login?code=").unwrap();
        let cookie = sessions.open(code).unwrap().unwrap();
        assert_eq!(sessions.open(code).unwrap(), None);
        let mut headers = HeaderMap::new();
        assert!(!sessions.is_open(&headers));
        let pair = cookie.split(';').next().unwrap();
        headers.insert(COOKIE, format!("a=b; {pair}").parse().unwrap());
        assert!(sessions.is_open(&headers));
        sessions.close(&headers);
        assert!(!sessions.is_open(&headers));
    }

    #[test]
    fn secrets_are_bounded_and_expire() {
        let (secrets, now) = (Secrets::new(2), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        let first = secrets.create(LINK_TIME_MAX, at(0)).unwrap();
        let second = secrets.create(LINK_TIME_MAX, at(1)).unwrap();
        secrets.create(LINK_TIME_MAX, at(2)).unwrap();
        assert!(!secrets.knows(&first, at(2)), "pushed out");
        assert!(secrets.knows(&second, at(3600)));
        assert!(!secrets.knows(&second, at(3601)), "expired");
        assert!(!secrets.take(&second, at(3601)));
    }
}
