//! Who is connected, and the way down to them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axle_domain::port::{DeviceLink, Receipt, SendError};
use axle_domain::{ApplicationName, ConnectionId, DeviceId, Fingerprint, Timestamp};
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::link::{Delivery, Link};
use crate::packet::refusal::Refusal;

/// How long [`DeviceLink::disconnect`] waits for a task that is busy with its last words.
const DISCONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// The live connections of devices and local tools. Made before the use cases, which reach
/// devices through it; the gateway fills it.
#[derive(Default)]
pub struct Sessions {
    live: Mutex<Live>,
    departed: Notify,
    ids: AtomicU64,
    /// Subscriptions of local tools: routing costs nothing where there are none.
    tool_subscriptions: AtomicUsize,
}

#[derive(Default)]
struct Live {
    /// By client id: all of a device's stand between `device` and `device/…`.
    devices: BTreeMap<Arc<str>, Arc<Link>>,
    tools: BTreeMap<Arc<str>, Arc<Link>>,
    is_stopping: bool,
}

impl Live {
    fn of(&mut self, link: &Link) -> &mut BTreeMap<Arc<str>, Arc<Link>> {
        if link.device.is_some() { &mut self.devices } else { &mut self.tools }
    }

    fn of_device(&self, device: &DeviceId) -> Vec<Arc<Link>> {
        let first: &str = &format!("{device}/");
        let suffixed = self.devices.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        let suffixed = suffixed.take_while(|(id, _)| id.starts_with(first)).map(|(_, link)| link);
        self.devices.get(device.as_str()).into_iter().chain(suffixed).cloned().collect()
    }

    fn count(&self) -> usize {
        self.devices.len() + self.tools.len()
    }
}

impl Sessions {
    /// Nobody is connected yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets a connection in. One of the same client id ends, whatever it waits for: the new one
    /// is never refused on account of the old.
    pub(crate) fn register(&self, link: &Arc<Link>, most: usize) -> Result<(), Refusal> {
        let mut live = self.live();
        if live.is_stopping {
            return Err(Refusal::SHUTTING_DOWN);
        }
        let is_full = live.count() >= most;
        let same = live.of(link);
        if is_full && !same.contains_key(&link.client_id) {
            return Err(Refusal::FULL);
        }
        // [MQTT-3.1.4-3]
        if let Some(old) = same.insert(Arc::clone(&link.client_id), Arc::clone(link)) {
            old.close(Refusal::TAKEN_OVER);
        }
        Ok(())
    }

    /// Forgets a connection that has ended.
    pub(crate) fn deregister(&self, link: &Link) {
        link.close(Refusal::SHUTTING_DOWN);
        if link.device.is_none() {
            self.tool_subscriptions.fetch_sub(link.subscription_count(), Ordering::Relaxed);
        }
        let mut live = self.live();
        let same = live.of(link);
        if same.get(&link.client_id).is_some_and(|current| current.id == link.id) {
            same.remove(&link.client_id);
        }
        drop(live);
        self.departed.notify_waiters();
    }

    /// Ends all connections and lets nobody in any more.
    pub(crate) fn close_all(&self) {
        let mut live = self.live();
        live.is_stopping = true;
        for link in live.devices.values().chain(live.tools.values()) {
            link.close(Refusal::SHUTTING_DOWN);
        }
    }

    pub(crate) fn count_tool_subscription(&self, is_more: bool) {
        if is_more {
            self.tool_subscriptions.fetch_add(1, Ordering::Relaxed);
        } else {
            self.tool_subscriptions.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether anybody may be interested in what others publish.
    pub(crate) fn has_tool_subscriptions(&self) -> bool {
        self.tool_subscriptions.load(Ordering::Relaxed) > 0
    }

    /// Brings a durable message to the local tools that asked for it. One that does not take its
    /// messages off loses those of QoS 0, then its connection.
    pub(crate) fn route(&self, from: ConnectionId, message: &Routed) {
        let live = self.live();
        for link in live.tools.values() {
            let make = |granted: u8, identifiers| Delivery {
                topic: Arc::clone(&message.topic),
                payload: message.payload.clone(),
                properties: message.properties.clone(),
                qos: granted.min(message.qos),
                identifiers,
                receipt: None,
            };
            if link.offer(Some(from), &message.topic, make) == Err(SendError::Busy)
                && message.qos > 0
            {
                link.close(Refusal::QUOTA);
            }
        }
    }
}

/// A published message that may interest local tools.
pub(crate) struct Routed {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) properties: Bytes,
    pub(crate) qos: u8,
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
        let (topic, payload): (Arc<str>, _) = (Arc::from(topic), Bytes::from(payload));
        let mut reason = SendError::Away;
        for link in links {
            let (sender, receiver) = oneshot::channel();
            let make = |granted: u8, identifiers| Delivery {
                topic: Arc::clone(&topic),
                payload: payload.clone(),
                properties: Bytes::new(),
                qos: granted.min(1),
                identifiers,
                receipt: (granted > 0).then_some(sender),
            };
            match link.offer(None, &topic, make) {
                Ok(qos) => {
                    let is_acknowledged = qos > 0;
                    return Ok(Receipt {
                        is_acknowledged,
                        evidence: format!("written to connection {}", link.id.0),
                        delivered: Box::pin(async move {
                            if !is_acknowledged {
                                std::future::pending::<()>().await;
                            }
                            receiver.await.map_err(|_gone| SendError::Lost)
                        }),
                    });
                }
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
    }

    fn connection_count(&self) -> usize {
        self.live().count()
    }
}
