//! One-time links into the console, and the cookie that a session lives in.
//!
//! The sessions themselves are `axle_app::Sessions`, in the state; the links are in memory, since
//! whoever may restart the server may have a new one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axle_domain::{Error, limit};
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::random::random_secret;

/// How long a link waits for its one use.
pub(crate) const LINK_TIME_MAX: Duration = Duration::from_secs(3600);
/// Most links that wait; the oldest goes first.
const LINKS_MAX: usize = 64;
/// The cookie's name.
const COOKIE_NAME: &str = "axle_session";

/// One-time links by the hash of their codes, each until a moment. Looking up a hash tells a
/// guesser nothing.
#[derive(Default)]
pub(crate) struct Links {
    until: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Links {
    /// Makes a link's path; it works once.
    ///
    /// # Errors
    /// `Internal`, when the operating system gives no randomness.
    pub(crate) fn create(&self) -> Result<String, Error> {
        Ok(format!("/login?code={}", self.create_code(Instant::now())?))
    }

    /// Uses a link's code up; says whether it was good.
    pub(crate) fn take(&self, code: &str) -> bool {
        self.take_code(code, Instant::now())
    }

    fn create_code(&self, now: Instant) -> Result<String, Error> {
        let code = random_secret()?;
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, end| *end > now);
        while until.len() >= LINKS_MAX {
            let oldest = until.iter().min_by_key(|(_, end)| **end).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            until.remove(&oldest);
        }
        until.insert(hash(&code), now + LINK_TIME_MAX);
        Ok(code)
    }

    fn take_code(&self, code: &str, now: Instant) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.remove(&hash(code)).is_some_and(|end| end > now)
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The cookie of a new session. `is_secure` keeps it off connections without TLS.
pub(crate) fn cookie(secret: &str, is_secure: bool) -> String {
    let seconds = limit::SESSION_TIME_MAX.as_secs();
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}")
}

/// The cookie that makes the browser forget the session.
pub(crate) fn cookie_of_nobody() -> String {
    format!("{COOKIE_NAME}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
}

/// The session's secret that a request carries.
pub(crate) fn secret(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| name.trim() == COOKIE_NAME);
    found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_work_once_for_an_hour_and_are_bounded() {
        let (links, now) = (Links::default(), Instant::now());
        let link = links.create().unwrap();
        let code = link.strip_prefix("/login?code=").unwrap();
        assert!(links.take(code));
        assert!(!links.take(code));
        let first = links.create_code(now).unwrap();
        assert!(!links.take_code(&first, now + LINK_TIME_MAX), "expired");
        let first = links.create_code(now).unwrap();
        for seconds in 0..LINKS_MAX as u64 {
            links.create_code(now + Duration::from_secs(seconds + 1)).unwrap();
        }
        assert!(!links.take_code(&first, now), "pushed out");
    }

    #[test]
    fn finds_the_cookie_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(secret(&headers), None);
        let pair = cookie("s3cret", true);
        let pair = pair.split(';').next().unwrap();
        headers.insert(COOKIE, format!("a=b; {pair}").parse().unwrap());
        assert_eq!(secret(&headers), Some("s3cret"));
        headers.insert(COOKIE, "axle_session=".parse().unwrap());
        assert_eq!(secret(&headers), None);
    }
}
