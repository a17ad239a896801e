//! Retained messages: the last one of each topic, for those who subscribe later. All of them are
//! in memory, bounded in number and bytes; the router changes them as it follows the log, and
//! stores each change with its position.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axle_domain::port::Record;
use axle_domain::{Offset, RetainedMessage, Subscription, Timestamp, filter_contains, limit};
use bytes::Bytes;

use crate::delivery::{Content, ITEM_BYTES};
use crate::origin::Origin;
use crate::packet::forward;

/// Topics that are looked at in one go; then others get their turn.
const LOOKED_AT_MAX: usize = 4096;

/// How much is retained at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { messages: limit::RETAINED_MESSAGES_MAX, bytes: limit::RETAINED_BYTES_MAX }
    }
}

/// What is retained.
#[derive(Default)]
pub(crate) struct Retained(Mutex<State>);

#[derive(Default)]
struct State {
    bounds: Bounds,
    messages: BTreeMap<Arc<str>, Kept>,
    bytes: usize,
}

struct Kept {
    content: Arc<Content>,
    publisher: Box<str>,
    expires_at: Option<Timestamp>,
}

/// What a record has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Nothing.
    Nothing,
    /// This is to be stored.
    Changed(RetainedMessage),
    /// There is no room: the topic has no retained message now. What is to be stored, if the
    /// topic had one.
    Full(Option<RetainedMessage>),
}

/// Some of the messages that match a filter.
pub(crate) struct Found {
    pub(crate) contents: Vec<Arc<Content>>,
    /// The topic that was looked at last; `None` where nothing is behind it.
    pub(crate) after: Option<Arc<str>>,
}

impl Retained {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what was stored.
    pub(crate) fn load(&self, bounds: Bounds, stored: Vec<RetainedMessage>) {
        let mut state = self.state();
        state.bounds = bounds;
        for message in stored {
            let RetainedMessage { topic, offset, qos, received_at, publisher, .. } = message;
            let properties = forward::restored(&message.content_type, &message.properties);
            let content = Content {
                offset,
                topic: Arc::from(topic),
                payload: message.payload,
                properties: Bytes::from(properties),
                received_at,
                qos,
                is_retained: true,
            };
            state.insert(content, publisher);
        }
    }

    /// Whether a message of so many bytes could be retained as things are.
    pub(crate) fn has_room(&self, topic: &str, bytes: usize) -> bool {
        self.state().has_room(topic, bytes)
    }

    /// Takes the retain flag of a record in. Doing so again changes nothing.
    pub(crate) fn apply(&self, record: &Record) -> Applied {
        let message = record.message();
        let topic = message.topic;
        // What begins with `$` is the server's own, and nothing to be kept for others.
        if !message.envelope.is_retained || topic.starts_with('$') {
            return Applied::Nothing;
        }
        let mut state = self.state();
        let known = state.messages.get(topic).map(|kept| kept.content.offset);
        if known.is_some_and(|known| known >= record.offset) {
            return Applied::Nothing;
        }
        let change = |payload: Bytes| RetainedMessage {
            topic: topic.into(),
            offset: record.offset,
            qos: message.envelope.qos,
            received_at: record.received_at,
            publisher: Origin::read(message.origin).client_id.into(),
            content_type: message.content_type.into(),
            properties: Bytes::copy_from_slice(message.envelope.properties),
            payload,
        };
        state.remove(topic);
        // [MQTT-3.3.1-6], [MQTT-3.3.1-7]
        if message.payload.is_empty() {
            return known.map_or(Applied::Nothing, |_| Applied::Changed(change(Bytes::new())));
        }
        let content = Content::of_retained(record);
        if !state.has_room(topic, content.cost()) {
            return Applied::Full(known.map(|_| change(Bytes::new())));
        }
        // A copy of its own, else it would keep all of the stretch that was read with it.
        let changed = change(content.payload.clone());
        state.insert(content, changed.publisher.clone());
        Applied::Changed(changed)
    }

    /// Messages from before `since` that match a subscription, behind a topic; at most `most`.
    /// What is newer reaches the subscription as any message does.
    pub(crate) fn find(
        &self,
        subscription: &Subscription,
        own_id: &str,
        after: &str,
        most: usize,
    ) -> Found {
        let filter = subscription.topic_filter();
        let prefix = literal_prefix(filter);
        let state = self.state();
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let range = state.messages.range::<str, _>((from, Bound::Unbounded));
        let mut found = Found { contents: Vec::new(), after: None };
        let within = range.take_while(|(topic, _)| topic.starts_with(prefix));
        for (count, (topic, kept)) in within.enumerate() {
            if count >= LOOKED_AT_MAX || found.contents.len() >= most {
                return found;
            }
            found.after = Some(Arc::clone(topic));
            // [MQTT-3.8.3-3]
            let is_own = subscription.is_no_local && *kept.publisher == *own_id;
            let is_before = kept.content.offset < subscription.since;
            if is_before && !is_own && filter_contains(filter, topic) {
                found.contents.push(Arc::clone(&kept.content));
            }
        }
        found.after = None;
        found
    }

    /// The message that stood at a place of the log, if it is retained still.
    pub(crate) fn at(&self, offset: Offset) -> Option<Arc<Content>> {
        let state = self.state();
        let mut kept = state.messages.values();
        kept.find(|kept| kept.content.offset == offset).map(|kept| Arc::clone(&kept.content))
    }

    /// Takes away what has expired [MQTT-3.3.2-5]; what is to be stored of that.
    pub(crate) fn expire(&self, now: Timestamp) -> Vec<RetainedMessage> {
        let mut state = self.state();
        let is_over = |kept: &Kept| kept.expires_at.is_some_and(|end| end <= now);
        let over = state.messages.iter().filter(|(_, kept)| is_over(kept));
        let over: Vec<Arc<str>> = over.map(|(topic, _)| Arc::clone(topic)).collect();
        for topic in &over {
            state.remove(topic);
        }
        let cleared = over.iter().map(|topic| RetainedMessage {
            topic: (&**topic).into(),
            offset: Offset(0),
            qos: 0,
            received_at: now,
            publisher: "".into(),
            content_type: "".into(),
            properties: Bytes::new(),
            payload: Bytes::new(),
        });
        cleared.collect()
    }

    /// How many there are, and their bytes.
    pub(crate) fn figures(&self) -> (usize, usize) {
        let state = self.state();
        (state.messages.len(), state.bytes)
    }
}

impl State {
    fn has_room(&self, topic: &str, bytes: usize) -> bool {
        let known = self.messages.get(topic).map(|kept| kept.content.cost());
        let bytes = (self.bytes + bytes).saturating_sub(known.unwrap_or(0));
        let is_new = known.is_none();
        bytes <= self.bounds.bytes
            && !(is_new && self.messages.len() >= self.bounds.messages)
            && !(is_new && self.is_tree_full(topic))
    }

    /// Whether the device whose topic this is has as many retained messages as it may: none takes
    /// the room of all.
    fn is_tree_full(&self, topic: &str) -> bool {
        let device = topic.strip_prefix("v1/d/").and_then(|rest| rest.split('/').next());
        let Some(device) = device else { return false };
        let tree = format!("v1/d/{device}/");
        let own = self.messages.range::<str, _>((Bound::Included(&*tree), Bound::Unbounded));
        let own = own.take_while(|(topic, _)| topic.starts_with(&tree));
        own.take(limit::RETAINED_PER_DEVICE_MAX).count() >= limit::RETAINED_PER_DEVICE_MAX
    }

    fn insert(&mut self, content: Content, publisher: Box<str>) {
        self.bytes += content.cost();
        let expires_at = forward::expiry(&content.properties).map(|seconds| {
            Timestamp(content.received_at.0.saturating_add(i64::from(seconds) * 1_000_000))
        });
        let topic = Arc::clone(&content.topic);
        let kept = Kept { content: Arc::new(content), publisher, expires_at };
        self.messages.insert(topic, kept);
    }

    fn remove(&mut self, topic: &str) {
        if let Some(kept) = self.messages.remove(topic) {
            self.bytes = self.bytes.saturating_sub(kept.content.cost());
        }
    }
}

/// What every topic that a filter matches begins with.
fn literal_prefix(filter: &str) -> &str {
    let end = filter.find(['+', '#']).unwrap_or(filter.len());
    let prefix = filter.get(..end).unwrap_or_default();
    // `a/#` matches `a` too.
    if filter.get(end..) == Some("#") { prefix.strip_suffix('/').unwrap_or(prefix) } else { prefix }
}

const _: () = assert!(limit::RETAINED_BYTES_MAX > limit::PACKET_BYTES_MAX + ITEM_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_begins_where_its_filter_does() {
        for (filter, prefix) in [
            ("a/b", "a/b"),
            ("a/+/b", "a/"),
            ("a/#", "a"),
            ("#", ""),
            ("+", ""),
            ("/#", ""),
            ("/+", "/"),
        ] {
            assert_eq!(literal_prefix(filter), prefix, "{filter}");
        }
    }
}
