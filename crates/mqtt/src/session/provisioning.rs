//! What a claim asks for: no message, so it goes to no log, and the answer comes to it alone.

use std::sync::Arc;

use axle_app::provisioning_refusal;
use axle_domain::provisioning::ProvisioningRequest;
use axle_domain::{ApplicationKind, ApplicationName, Error, Kind};
use bytes::Bytes;

use super::{End, Flow, Session};
use crate::delivery::{Content, Delivery};
use crate::link::Link;
use crate::packet::publish::Publish;

impl Session {
    /// The claim that the client is, if it is one.
    pub(super) fn claim(&self) -> Option<ApplicationName> {
        let name = self.link.application.as_ref()?;
        let found = self.shared.app.registry.find_application(name.as_str())?;
        matches!(found.kind, ApplicationKind::Claim(_)).then(|| name.clone())
    }

    /// Takes a request: it is acknowledged once it is read, and answered on the topic of the
    /// answer, if the client has subscribed to that.
    pub(super) fn take_request(
        &mut self,
        publish: &Publish<'_>,
        claim: ApplicationName,
        out: &mut Vec<u8>,
    ) -> Result<Flow, End> {
        // Nothing of a request outlasts its connection, so at QoS 2 it would promise too much.
        let request = ProvisioningRequest::parse(&claim, publish.topic);
        let Some(request) = request.filter(|_| publish.qos < 2) else {
            let message = format!(
                "claim `{claim}` asks for certificates and its own things only, at QoS 0 or 1"
            );
            let denied = Error::new(Kind::Denied, "topic.denied", message);
            return self.not_taken(publish, &denied, out);
        };
        self.published += 1;
        if publish.packet_id != 0 {
            self.unacknowledged += u16::from(publish.qos == 1);
            self.acknowledge_in_turn(publish, None, None, out);
        }
        let (app, link) = (Arc::clone(&self.shared.app), Arc::clone(&self.link));
        let topic = publish.topic.to_owned();
        // Before there is a task or a copy: so many a minute, and no more.
        if let Err(error) = app.admit_provisioning(&claim) {
            answer(&link, &topic, false, provisioning_refusal(&error));
            return Ok(Flow::Next);
        }
        let payload = publish.payload.to_vec();
        self.shared.tracker.spawn(async move {
            let (is_accepted, body) = app.provision(&claim, request, &payload).await;
            answer(&link, &topic, is_accepted, body);
        });
        Ok(Flow::Next)
    }
}

fn answer(link: &Link, topic: &str, is_accepted: bool, body: Vec<u8>) {
    let topic = format!("{topic}/{}", if is_accepted { "accepted" } else { "rejected" });
    let Some(grant) = link.inbox.get().and_then(|inbox| inbox.grant(&topic)) else { return };
    let content = Content::of_server(&topic, Bytes::from(body));
    // Who is gone, or does not read, asks again.
    let _offered = link.offer(Delivery::new(&content, grant.qos.min(1), grant.identifiers));
}
