//! A phone that uploads batches of two samples, keeps each until it is answered, and forgets
//! sometimes that it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axle_app::{Principal, UploadAnswer, UploadRequest};
use axle_domain::{Error, Scope, Source, Timestamp, Token, TokenHash};
use tokio::task::JoinHandle;

use super::super::ledger::{Row, Seen, time_of};
use super::clients::settle_blocking;
use super::{DEVICES, Life};

/// Between the two samples of a batch.
const STEP_MICROS: i64 = 500_000;

/// A batch that is on its way: its number, and its answer.
pub(super) type UnderWay = (u64, JoinHandle<Result<UploadAnswer, Error>>);

/// What the phone keeps, by number.
#[derive(Default)]
pub(in super::super) struct Uploads(BTreeMap<u64, Batch>);

struct Batch {
    device: &'static str,
    answer: Option<String>,
}

impl Batch {
    fn body(&self, number: u64) -> String {
        let millis = time_of(number).0 / 1000;
        let later = millis + STEP_MICROS / 1000;
        format!(
            "{{\"device\":\"{}\",\"stream\":\"ride\",\"samples\":[\
             {{\"time\":{millis},\"speed_kmh\":{number}}},\
             {{\"time\":{later},\"speed_kmh\":{number}.5}}]}}",
            self.device
        )
    }

    fn rows(&self, number: u64) -> [Row; 2] {
        let row = |micros: i64, value: String| Row {
            device: self.device.to_owned(),
            time: Timestamp(time_of(number).0 + micros),
            value,
        };
        [row(0, number.to_string()), row(STEP_MICROS, format!("{number}.5"))]
    }
}

impl Uploads {
    /// Every batch that was answered is in the log, none twice; returns the rows of all of them.
    pub(in super::super) fn check<'a>(
        &self,
        seen: impl Iterator<Item = &'a Seen>,
    ) -> Result<Vec<Row>, String> {
        let known: BTreeMap<Vec<u8>, u64> =
            self.0.iter().map(|(number, it)| (it.body(*number).into_bytes(), *number)).collect();
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        for record in seen.filter(|it| it.source == Source::Upload) {
            let number = known.get(&record.payload).ok_or("an upload that was never sent")?;
            *times.entry(*number).or_insert(0) += 1;
        }
        if let Some((number, count)) = times.iter().find(|(_, count)| **count > 1) {
            return Err(format!("upload {number} is in the log {count} times"));
        }
        let answered = self.0.iter().filter(|(_, batch)| batch.answer.is_some());
        if let Some((lost, _)) = answered.into_iter().find(|it| !times.contains_key(it.0)) {
            return Err(format!("upload {lost} was answered and is lost"));
        }
        Ok(times.keys().flat_map(|number| self.0[number].rows(*number)).collect())
    }
}

fn phone() -> Principal {
    Principal::Token(Token {
        id: "phone".to_owned(),
        hash: TokenHash([7; 32]),
        scopes: vec![Scope::Admin],
        created_at: Timestamp(0),
    })
}

impl Life<'_> {
    /// Begins an upload: a new one, or one again that had no answer, or seems to have had none.
    pub(super) async fn upload(&mut self) {
        // An upload waits for what was in the log at the start; other tasks shall not go on
        // meanwhile in an order that depends on threads.
        if self.app.projector.applied().1 < self.log_began {
            return;
        }
        let (ledger, chance) = (&mut self.ground.ledger, &mut self.ground.chance);
        let open = ledger.uploads.0.iter().filter(|(_, batch)| batch.answer.is_none());
        let open: Vec<u64> = open.map(|(number, _)| *number).collect();
        let any: Vec<u64> = ledger.uploads.0.keys().copied().collect();
        let from = if chance.one_in(8) { any } else { open };
        let again = (!from.is_empty() && chance.one_in(2))
            .then(|| from[usize::try_from(chance.below(from.len() as u64)).unwrap()]);
        let number = again.unwrap_or_else(|| {
            let place = usize::try_from(chance.below(DEVICES.len() as u64)).unwrap();
            let number = ledger.number();
            ledger.uploads.0.insert(number, Batch { device: DEVICES[place], answer: None });
            number
        });
        if self.uploads.iter().any(|(other, _)| *other == number) {
            return;
        }
        let request = UploadRequest {
            device: None,
            stream: None,
            sent_at: None,
            idempotency_key: Some(format!("k-{number}")),
            content_type: "application/json".to_owned(),
            body: ledger.uploads.0[&number].body(number).into(),
        };
        let app = Arc::clone(&self.app);
        let task = tokio::spawn(async move { app.uploads.accept(&phone(), request).await });
        self.uploads.push((number, task));
        settle_blocking().await;
    }

    /// Takes the answers.
    pub(super) async fn take_answers(&mut self, has_stopped: bool) -> Result<(), String> {
        let patience = Duration::from_millis(if has_stopped { 20 } else { 2000 });
        for (number, task) in std::mem::take(&mut self.uploads) {
            let abort = task.abort_handle();
            let answer = match tokio::time::timeout(patience, task).await {
                Ok(Ok(Ok(answer))) => answer,
                Ok(Ok(Err(_))) | Err(_) if has_stopped => {
                    abort.abort();
                    continue;
                }
                other => return Err(format!("upload {number} is answered {other:?}")),
            };
            self.ground.ledger.note(format!("upload {number} answered"));
            if !answer.body.contains("\"stored\":2") {
                return Err(format!("upload {number} is answered {}", answer.body));
            }
            let batch = self.ground.ledger.uploads.0.get_mut(&number).unwrap();
            let before = batch.answer.replace(answer.body.clone());
            if before.is_some_and(|before| before != answer.body) {
                return Err(format!("upload {number} is answered in another way"));
            }
        }
        Ok(())
    }
}
