//! SUBSCRIBE and UNSUBSCRIBE: what a client may hear.

use std::sync::Arc;

use axle_domain::limit;

use super::Session;
use crate::link::Subscription;
use crate::packet::Version;
use crate::packet::refusal::Refusal;
use crate::packet::subscribe::{Subscribe, Unsubscribe, Wish};
use crate::packet::topic::{FilterError, check_filter};
use crate::packet::write;

const NOT_AUTHORIZED: u8 = 0x87;
const FILTER_INVALID: u8 = 0x8f;
const QUOTA_EXCEEDED: u8 = 0x97;
const SHARED_NOT_SUPPORTED: u8 = 0x9e;
const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
/// The one error that 3.1.1 knows.
const FAILURE: u8 = 0x80;

impl Session {
    pub(super) fn handle_subscribe(
        &mut self,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let version = self.version();
        let subscribe = Subscribe::read(body, version)?;
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
        write::put_suback(out, version, subscribe.packet_id, &codes);
        if let (true, Some(device)) = (is_granted, self.device().cloned()) {
            // What it sends comes out of the queue after the SUBACK that was just written.
            let app = Arc::clone(&self.shared.app);
            self.shared.tracker.spawn(async move { app.dispatch.run(&device).await });
        }
        Ok(())
    }

    /// The QoS that is granted, or the reason code.
    fn subscribe(&self, wish: &Wish<'_>, identifier: u32) -> Result<Result<u8, u8>, Refusal> {
        match check_filter(wish.filter) {
            Err(FilterError::Invalid) => return Ok(Err(FILTER_INVALID)),
            // [MQTT-3.8.3-4]
            Err(FilterError::Shared) if wish.is_no_local => return Err(Refusal::PROTOCOL),
            Err(FilterError::Shared) => return Ok(Err(SHARED_NOT_SUPPORTED)),
            Ok(()) => {}
        }
        if !self.publisher.may_subscribe(wish.filter) {
            return Ok(Err(NOT_AUTHORIZED));
        }
        let qos = wish.qos.min(1);
        let added = self.link.subscribe(Subscription {
            filter: Box::from(wish.filter),
            qos,
            identifier,
            is_no_local: wish.is_no_local,
        });
        match added {
            None => Ok(Err(QUOTA_EXCEEDED)),
            Some(is_new) => {
                if is_new && self.device().is_none() {
                    self.shared.sessions.count_tool_subscription(true);
                }
                Ok(Ok(qos))
            }
        }
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let unsubscribe = Unsubscribe::read(body, self.version())?;
        let mut codes = Vec::new();
        for (index, filter) in unsubscribe.filters().enumerate() {
            let is_known = index < limit::FILTERS_PER_PACKET_MAX && self.link.unsubscribe(filter);
            if is_known && self.device().is_none() {
                self.shared.sessions.count_tool_subscription(false);
            }
            codes.push(if is_known { 0 } else { NO_SUBSCRIPTION_EXISTED });
        }
        write::put_unsuback(out, self.version(), unsubscribe.packet_id, &codes);
        Ok(())
    }
}
