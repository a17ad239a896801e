//! Challenges of ceremonies that are under way: each answers once, for one purpose, in time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axle_domain::{Error, UserName, limit};
use tokio::time::Instant;

use super::encode;

/// What a ceremony is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody signs in.
    SignIn,
    /// A person who has signed in adds a passkey.
    Add(UserName),
    /// A person who is invited registers a passkey.
    Welcome(UserName),
}

struct Waiting {
    purpose: Purpose,
    until: Instant,
}

/// The challenges.
#[derive(Default)]
pub(crate) struct Challenges {
    waiting: Mutex<HashMap<String, Waiting>>,
}

impl Challenges {
    /// Makes a challenge.
    ///
    /// # Errors
    /// `Internal`, when the operating system gives no randomness.
    pub(crate) fn create(&self, purpose: Purpose, now: Instant) -> Result<String, Error> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::internal("random", "no randomness").with_source(error.to_string())
        })?;
        let challenge = encode(&bytes);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= limit::CHALLENGES_MAX {
            waiting.retain(|_, it| it.until > now);
        }
        while waiting.len() >= limit::CHALLENGES_MAX {
            let oldest = waiting.iter().min_by_key(|(_, it)| it.until).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            waiting.remove(&oldest);
        }
        waiting
            .insert(challenge.clone(), Waiting { purpose, until: now + limit::CHALLENGE_TIME_MAX });
        Ok(challenge)
    }

    /// Uses a challenge up.
    ///
    /// # Errors
    /// `Invalid`, where it is none of ours, was used, is too old or was for something else.
    pub(crate) fn take(
        &self,
        challenge: &str,
        purpose: &Purpose,
        now: Instant,
    ) -> Result<(), Error> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let found = waiting.remove(challenge);
        match found.filter(|it| it.purpose == *purpose && it.until > now) {
            Some(_) => Ok(()),
            None => Err(Error::invalid(
                "passkey.challenge_over",
                "this took too long, or was done twice: try again",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_answers_once_for_its_purpose_and_in_time() {
        let (challenges, now) = (Challenges::default(), Instant::now());
        let late = now + limit::CHALLENGE_TIME_MAX;
        let anna = UserName::parse("anna").unwrap();
        let create = |purpose| challenges.create(purpose, now).unwrap();
        let first = create(Purpose::SignIn);
        assert_eq!(first.len(), 43);
        assert!(challenges.take(&first, &Purpose::SignIn, now).is_ok());
        assert!(challenges.take(&first, &Purpose::SignIn, now).is_err(), "twice");
        let second = create(Purpose::Add(anna.clone()));
        assert!(challenges.take(&second, &Purpose::Welcome(anna), now).is_err(), "for another");
        let third = create(Purpose::SignIn);
        assert!(challenges.take(&third, &Purpose::SignIn, late).is_err(), "late");
        assert!(challenges.take("", &Purpose::SignIn, now).is_err());
    }

    #[test]
    fn the_oldest_makes_room() {
        let (challenges, now) = (Challenges::default(), Instant::now());
        let first = challenges.create(Purpose::SignIn, now).unwrap();
        let later = now + std::time::Duration::from_secs(1);
        let mut last = String::new();
        for _ in 0..limit::CHALLENGES_MAX {
            last = challenges.create(Purpose::SignIn, later).unwrap();
        }
        assert!(challenges.take(&first, &Purpose::SignIn, later).is_err());
        assert!(challenges.take(&last, &Purpose::SignIn, later).is_ok());
    }
}
