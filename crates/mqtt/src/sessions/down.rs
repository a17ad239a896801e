//! The way down: the use cases reach devices through their sessions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axle_domain::port::{DeviceLink, Receipt, SendError};
use axle_domain::{ApplicationName, DeviceId, Fingerprint, Timestamp};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Sessions;
use crate::delivery::{Content, Delivery};
use crate::inbox::Grant;
use crate::link::Link;
use crate::packet::refusal::Refusal;

/// How long [`DeviceLink::disconnect`] waits for a task that is busy with its last words.
const DISCONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Gives a command to one connection.
fn hand_over(link: &Link, content: &Arc<Content>, grant: Grant) -> Result<Receipt, SendError> {
    let qos = grant.qos.min(1);
    let (sender, receiver) = oneshot::channel();
    let mut delivery = Delivery::new(content, qos, grant.identifiers);
    delivery.receipt = (qos > 0).then_some(sender);
    link.offer(delivery)?;
    let is_acknowledged = qos > 0;
    Ok(Receipt {
        is_acknowledged,
        evidence: format!("written to connection {}", link.id.0),
        delivered: Box::pin(async move {
            if !is_acknowledged {
                std::future::pending::<()>().await;
            }
            receiver.await.map_err(|_gone| SendError::Lost)
        }),
    })
}

#[async_trait]
impl DeviceLink for Sessions {
    async fn send(
        &self,
        device: &DeviceId,
        topic: String,
        payload: Vec<u8>,
    ) -> Result<Receipt, SendError> {
        let links = self.live().of_device(device);
        let layouts = self.layouts.get();
        let mapped = layouts.map_or_else(Vec::new, |layouts| layouts.down(&topic));
        let payload = Bytes::from(payload);
        let contents: Vec<_> = std::iter::once(topic)
            .chain(mapped)
            .map(|topic| Content::of_server(&topic, payload.clone()))
            .collect();
        let mut reason = SendError::Away;
        for link in links {
            // Once to each connection, on the first of the topics that it has asked for.
            let asked = |content: &Arc<Content>| {
                let grant = link.inbox.get()?.grant(&content.topic)?;
                Some((Arc::clone(content), grant))
            };
            let Some((content, grant)) = contents.iter().find_map(asked) else { continue };
            match hand_over(&link, &content, grant) {
                Ok(receipt) => return Ok(receipt),
                Err(SendError::Busy) => reason = SendError::Busy,
                Err(_away) => {}
            }
        }
        Err(reason)
    }

    fn online_since(&self, device: &DeviceId) -> Option<Timestamp> {
        self.live().of_device(device).iter().map(|link| link.connected_at).min()
    }

    fn online(&self) -> Vec<DeviceId> {
        self.live().devices.values().filter_map(|link| link.device.clone()).collect()
    }

    async fn disconnect(&self, device: &DeviceId) {
        let wait = async {
            loop {
                let departed = self.departed.notified();
                let links = self.live().of_device(device);
                if links.is_empty() {
                    return;
                }
                for link in links {
                    link.close(Refusal::ADMINISTRATIVE);
                }
                departed.await;
            }
        };
        self.end_kept(true, |inbox| inbox.device.as_ref() == Some(device));
        // A closed link takes nothing any more, also where its task is slow to leave.
        if tokio::time::timeout(DISCONNECT_TIME_MAX, wait).await.is_err() {
            tracing::warn!(device.id = %device, "a connection was slow to end");
        }
    }

    fn disconnect_certificate(&self, fingerprint: &Fingerprint) {
        let live = self.live();
        let of_certificate =
            live.devices.values().filter(|it| it.fingerprint.as_ref() == Some(fingerprint));
        of_certificate.for_each(|link| link.close(Refusal::CERTIFICATE_ENDED));
    }

    fn disconnect_application(&self, name: &ApplicationName) {
        let live = self.live();
        let of_application = live.tools.values().filter(|it| it.application.as_ref() == Some(name));
        of_application.for_each(|link| link.close(Refusal::ADMINISTRATIVE));
        drop(live);
        self.end_kept(false, |inbox| inbox.application.as_ref() == Some(name));
    }

    fn connection_count(&self) -> usize {
        self.live().count()
    }
}
