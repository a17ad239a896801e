//! Passwords: which are good enough, and how they are hashed and verified without letting anyone
//! take all of the machine's memory.

use std::fmt;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use axle_domain::{Error, Kind, UserName, limit};
use tokio::sync::{OnceCell, Semaphore};

/// 19 MiB, two passes, one lane: what OWASP asks of argon2id at least.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// The worst that people choose and that are long enough, in lower case. Length is the rule; this
/// only stops the first guesses of everybody's list.
const WORST: [&str; 16] = [
    "1234567890",
    "0123456789",
    "1234512345",
    "12345678910",
    "123456789a",
    "1q2w3e4r5t",
    "1qaz2wsx3edc",
    "administrator",
    "changeme123",
    "iloveyou123",
    "letmein123",
    "password12",
    "password123",
    "password1234",
    "qwertyuiop",
    "qwerty12345",
];

/// A password on its way to be hashed. It is never printed.
#[derive(Clone)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

impl Password {
    /// Takes whatever somebody presents.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        // One that is too long is wrong in any case, and must not cost more than others.
        let end = text.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = end.take_while(|end| *end <= limit::PASSWORD_BYTES_MAX + 4).last();
        Self(text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned())
    }

    /// Checks a password that a person wants to have.
    ///
    /// # Errors
    /// `Invalid`, naming the rule.
    pub fn chosen(text: &str, name: &UserName) -> Result<Self, Error> {
        let least = limit::PASSWORD_CHARS_MIN;
        let count = text.chars().count();
        if count < least {
            let message = format!("a password has at least {least} characters: a few words do");
            let (limit, actual) = (least as u64, count as u64);
            return Err(Error::invalid("password.too_short", message).with_limit(limit, actual));
        }
        if text.len() > limit::PASSWORD_BYTES_MAX {
            let most = limit::PASSWORD_BYTES_MAX;
            let message = format!("a password is at most {most} bytes long");
            let (limit, actual) = (most as u64, text.len() as u64);
            return Err(Error::invalid("password.too_long", message).with_limit(limit, actual));
        }
        let folded = text.to_lowercase();
        let mut kinds: Vec<char> = folded.chars().collect();
        kinds.sort_unstable();
        kinds.dedup();
        let is_name = folded.replace(name.as_str(), "").chars().count() < least / 2;
        if is_name || kinds.len() < 4 || WORST.contains(&folded.as_str()) {
            let message = "this password is among the first that anybody would guess: take a few \
                words that do not belong together";
            return Err(Error::invalid("password.too_common", message));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Hashes and verifies, a few at a time.
pub(crate) struct Passwords {
    hashing: Semaphore,
    places: Semaphore,
    /// Stands in where there is nothing to compare with, so that it takes as long.
    dummy: OnceCell<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            hashing: Semaphore::new(limit::PASSWORDS_HASHING_MAX),
            places: Semaphore::new(limit::PASSWORDS_HASHING_MAX + limit::PASSWORDS_WAITING_MAX),
            dummy: OnceCell::new(),
        }
    }
}

impl Passwords {
    /// The salted hash of a password, in PHC form.
    ///
    /// # Errors
    /// `Busy` when too many wait.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, Error> {
        self.run(move || hash(&password.0)).await?
    }

    /// Whether a password is the one of a hash. Without a hash it is not, and that takes as long.
    ///
    /// # Errors
    /// `Busy` when too many wait; `Corrupt` for a hash that is none.
    pub(crate) async fn verify(
        &self,
        stored: Option<String>,
        password: Password,
    ) -> Result<bool, Error> {
        let is_there = stored.is_some();
        let against = match stored {
            Some(stored) => stored,
            None => self.dummy().await?,
        };
        let is_right = self.run(move || verify(&against, &password.0)).await??;
        Ok(is_right && is_there)
    }

    async fn dummy(&self) -> Result<String, Error> {
        let make = || async { self.hash(Password("a door without a lock".to_owned())).await };
        self.dummy.get_or_try_init(make).await.cloned()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || {
            let message = "too many people sign in just now: try again in a moment";
            Error::new(Kind::Busy, "sign_in.busy", message)
                .with_retry_after(std::time::Duration::from_secs(2))
        };
        let _place = self.places.try_acquire().map_err(|_error| busy())?;
        let _turn = self.hashing.acquire().await.map_err(|_error| busy())?;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| failed().with_source(error))
    }
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None)
        .map_err(|error| failed().with_source(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| failed().with_source(error.to_string()))?;
    let salt = SaltString::encode_b64(&bytes);
    let salt = salt.map_err(|error| failed().with_source(error.to_string()))?;
    let hash = argon2()?.hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|error| failed().with_source(error.to_string()))?.to_string())
}

fn verify(stored: &str, password: &str) -> Result<bool, Error> {
    let stored = PasswordHash::new(stored).map_err(|error| {
        Error::new(Kind::Corrupt, "password.corrupt", "a stored password hash is unreadable")
            .with_source(error.to_string())
    })?;
    // The parameters are those of the hash, so that old ones stay good when ours change.
    match argon2()?.verify_password(password.as_bytes(), &stored) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(failed().with_source(error.to_string())),
    }
}

fn failed() -> Error {
    Error::internal("password.failed", "the password could not be hashed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    #[test]
    fn length_is_the_rule_and_the_first_guesses_are_refused() {
        for (text, expected) in [
            ("correct horse battery", None),
            ("öäüßöäüßöä", None),
            ("   four words   ", None),
            ("short", Some("password.too_short")),
            ("öäüöäüöäü", Some("password.too_short")),
            (&"long ".repeat(60), Some("password.too_long")),
            ("Password123", Some("password.too_common")),
            ("anna.lena1", Some("password.too_common")),
            ("aaaaaaaaaaaa", Some("password.too_common")),
            ("1212121212", Some("password.too_common")),
            ("ANNA.LENA12", Some("password.too_common")),
        ] {
            let seen = Password::chosen(text, &name("anna.lena")).err().map(|error| error.code);
            assert_eq!(seen, expected, "{text}");
        }
        assert_eq!(format!("{:?}", Password::presented("secret")), "Password(***)");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let long = "ä".repeat(10_000);
        assert!(Password::presented(&long).0.len() > limit::PASSWORD_BYTES_MAX);
        assert!(Password::presented(&long).0.len() <= limit::PASSWORD_BYTES_MAX + 4);
        assert_eq!(Password::presented("").0, "");
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_alone() {
        let passwords = Passwords::default();
        let hash = passwords.hash(Password::presented("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash(Password::presented("correct horse")).await.unwrap());
        for (text, stored, expected) in [
            ("correct horse", Some(hash.clone()), true),
            ("correct horsf", Some(hash.clone()), false),
            ("", Some(hash), false),
            ("a door without a lock", None, false),
        ] {
            let seen = passwords.verify(stored, Password::presented(text)).await.unwrap();
            assert_eq!(seen, expected, "{text}");
        }
        let broken = passwords.verify(Some("no hash".to_owned()), Password::presented("x")).await;
        assert_eq!(broken.unwrap_err().kind, Kind::Corrupt);
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away_before_it_takes_memory() {
        let passwords = Passwords::default();
        let crowd = limit::PASSWORDS_HASHING_MAX + limit::PASSWORDS_WAITING_MAX;
        let places = passwords.places.acquire_many(u32::try_from(crowd).unwrap()).await.unwrap();
        let refused = passwords.hash(Password::presented("correct horse")).await.unwrap_err();
        assert_eq!((refused.kind, refused.code), (Kind::Busy, "sign_in.busy"));
        drop(places);
        assert!(passwords.hash(Password::presented("correct horse")).await.is_ok());
    }
}
