//! SUBSCRIBE and UNSUBSCRIBE: what a client may hear.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use axle_domain::{Subscription, limit};
use tokio::sync::oneshot;

use super::{Flow, Session, Wait};
use crate::packet::Version;
use crate::packet::refusal::Refusal;
use crate::packet::subscribe::{Subscribe, Unsubscribe, Wish};
use crate::packet::topic::{FilterError, Form, check_filter};
use crate::packet::write;
use crate::sessions::RetainedWish;

const NOT_AUTHORIZED: u8 = 0x87;
const FILTER_INVALID: u8 = 0x8f;
const QUOTA_EXCEEDED: u8 = 0x97;
const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
/// The one error that 3.1.1 knows.
const FAILURE: u8 = 0x80;
/// Answers that may wait until the session is stored; then the client has to wait too.
const STORING_MAX: usize = 16;

/// Answers that leave once the session is stored; hardly any connection has one at any time.
#[derive(Default)]
pub(crate) struct Storing(Option<Box<Answers>>);

#[derive(Default)]
struct Answers {
    waiting: VecDeque<Answer>,
}

impl Storing {
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |answers| answers.waiting.len())
    }

    fn push(&mut self, answer: Answer) {
        self.0.get_or_insert_default().waiting.push_back(answer);
    }
}

struct Answer {
    stored: oneshot::Receiver<()>,
    bytes: Vec<u8>,
    is_granted: bool,
}

impl Session {
    pub(super) fn handle_subscribe(
        &mut self,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Flow, Refusal> {
        if self.storing.len() >= STORING_MAX {
            return Ok(Flow::Later(Wait::Stored));
        }
        let version = self.version();
        let subscribe = Subscribe::read(body, version)?;
        self.check_answer(subscribe.wishes(version).count())?;
        let mut codes = Vec::new();
        for (index, wish) in subscribe.wishes(version).enumerate() {
            let granted = if index < limit::FILTERS_PER_PACKET_MAX {
                self.subscribe(&wish, subscribe.identifier)?
            } else {
                Err(QUOTA_EXCEEDED)
            };
            codes.push(match granted {
                Ok(qos) => qos,
                Err(_) if version == Version::V3 => FAILURE,
                Err(code) => code,
            });
        }
        let is_granted = codes.iter().any(|code| *code < FAILURE);
        let mut answer = Vec::new();
        write::put_suback(&mut answer, version, subscribe.packet_id, &codes);
        self.answer_stored(answer, is_granted, is_granted, out);
        Ok(Flow::Next)
    }

    /// Whether the client takes SUBACK or UNSUBACK with so many codes [MQTT-3.1.2-24].
    fn check_answer(&self, codes: usize) -> Result<(), Refusal> {
        const AROUND: usize = 6;
        let fits = self.link.packet_bytes_max >= codes.saturating_add(AROUND);
        if fits { Ok(()) } else { Err(Refusal::ANSWER_LARGE) }
    }

    /// Answers at once, or when what has changed of a session that is kept is stored.
    fn answer_stored(
        &mut self,
        answer: Vec<u8>,
        is_changed: bool,
        is_granted: bool,
        out: &mut Vec<u8>,
    ) {
        let inbox = self.link.inbox.get().filter(|inbox| is_changed && inbox.is_kept());
        if let Some(inbox) = inbox {
            let stored = self.shared.sessions.ledger.put_and_wait(inbox);
            self.storing.push(Answer { stored, bytes: answer, is_granted });
        } else if self.storing.len() == 0 {
            out.extend_from_slice(&answer);
            self.begin_dispatch(is_granted);
        } else {
            // Behind those that wait, so that a client sees one order.
            let (sender, stored) = oneshot::channel();
            let _there = sender.send(()).is_ok();
            self.storing.push(Answer { stored, bytes: answer, is_granted });
        }
    }

    /// Writes the answers whose sessions are stored; says whether there were any.
    pub(crate) fn poll_storing(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> bool {
        let Some(answers) = &mut self.storing.0 else { return false };
        let answers = &mut answers.waiting;
        let (before, mut is_granted) = (answers.len(), false);
        while let Some(answer) = answers.front_mut()
            && Pin::new(&mut answer.stored).poll(cx).is_ready()
        {
            out.extend_from_slice(&answer.bytes);
            is_granted |= answer.is_granted;
            answers.pop_front();
        }
        let has_answered = answers.len() < before;
        if answers.is_empty() {
            self.storing = Storing::default();
        }
        self.begin_dispatch(is_granted);
        has_answered
    }

    /// Sends the commands that wait. What it sends comes out of the queue after the answer that
    /// was just written.
    pub(crate) fn begin_dispatch(&self, is_granted: bool) {
        if let (true, Some(device)) = (is_granted, self.device().cloned()) {
            let app = Arc::clone(&self.shared.app);
            self.shared.tracker.spawn(async move { app.dispatch.run(&device).await });
        }
    }

    /// The QoS that is granted, or the reason code.
    fn subscribe(&mut self, wish: &Wish<'_>, identifier: u32) -> Result<Result<u8, u8>, Refusal> {
        match check_filter(wish.filter) {
            Err(FilterError::Invalid) => return Ok(Err(FILTER_INVALID)),
            // [MQTT-3.8.3-4]
            Ok(Form::Shared) if wish.is_no_local => return Err(Refusal::PROTOCOL),
            Ok(_) => {}
        }
        if !self.publisher.may_subscribe(wish.filter) {
            return Ok(Err(NOT_AUTHORIZED));
        }
        self.is_named |= wish.is_no_local;
        let Some(inbox) = self.link.inbox.get() else { return Ok(Err(FAILURE)) };
        // What this client has published before comes before its subscription, synced or not.
        let own = self.effort.as_ref().and_then(|effort| effort.unsynced.last());
        let durable = self.shared.app.ports.log.bounds().durable;
        let subscription = Subscription {
            filter: Box::from(wish.filter),
            qos: wish.qos,
            identifier,
            is_no_local: wish.is_no_local,
            is_retain_as_published: wish.is_retain_as_published,
            since: own.map_or(durable, |own| durable.max(own.next())),
            retained_after: None,
        };
        let retained = match wish.retain_handling {
            0 => RetainedWish::Always,
            1 => RetainedWish::IfNew,
            _ => RetainedWish::Never,
        };
        match self.shared.sessions.subscribe(inbox, subscription, retained) {
            None => Ok(Err(QUOTA_EXCEEDED)),
            Some(_was_there) => Ok(Ok(wish.qos)),
        }
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Flow, Refusal> {
        if self.storing.len() >= STORING_MAX {
            return Ok(Flow::Later(Wait::Stored));
        }
        let unsubscribe = Unsubscribe::read(body, self.version())?;
        self.check_answer(unsubscribe.filters().count())?;
        let Some(inbox) = self.link.inbox.get() else { return Err(Refusal::PROTOCOL) };
        let mut codes = Vec::new();
        for (index, filter) in unsubscribe.filters().enumerate() {
            let is_known = index < limit::FILTERS_PER_PACKET_MAX
                && self.shared.sessions.unsubscribe(inbox, filter);
            codes.push(if is_known { 0 } else { NO_SUBSCRIPTION_EXISTED });
        }
        let is_changed = codes.contains(&0);
        let mut answer = Vec::new();
        write::put_unsuback(&mut answer, self.version(), unsubscribe.packet_id, &codes);
        self.answer_stored(answer, is_changed, false, out);
        Ok(Flow::Next)
    }
}
