//! Finding devices, components and people by whatever somebody has at hand.

use std::sync::Arc;

use axle_domain::port::{ComponentRegistry, DeviceRegistry, SearchIndex, UserStore, Visibility};
use axle_domain::search::order;
use axle_domain::{
    Access, DeviceId, Error, Role, SearchEntry, SearchHit, SearchKind, SearchQuery, Serial,
    UserName, limit, rank,
};

use crate::app::Ports;
use crate::principal::Principal;

/// A hit, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was found, and why.
    pub hit: SearchHit,
    /// For a component the device that it sits in, for a person the own devices.
    pub devices: Vec<DeviceId>,
}

/// The search desk.
pub struct Search {
    index: Arc<dyn SearchIndex>,
    devices: Arc<dyn DeviceRegistry>,
    components: Arc<dyn ComponentRegistry>,
    users: Arc<dyn UserStore>,
}

impl Search {
    pub(crate) fn new(ports: &Ports) -> Self {
        Self {
            index: Arc::clone(&ports.search),
            devices: Arc::clone(&ports.devices),
            components: Arc::clone(&ports.components),
            users: Arc::clone(&ports.users),
        }
    }

    /// What matches among all that the principal may read, the best first; nothing for a text
    /// without letters and digits.
    ///
    /// # Errors
    /// As the state.
    pub async fn find(
        &self,
        principal: &Principal,
        text: &str,
        limit: usize,
    ) -> Result<Vec<Found>, Error> {
        let limit = limit.min(limit::SEARCH_HITS_MAX);
        let Some(query) = SearchQuery::parse(text) else { return Ok(Vec::new()) };
        match principal.reads() {
            Visibility::All => self.find_all(principal, query, limit).await,
            Visibility::Devices(own) => self.find_own(&query, &own, limit).await,
        }
    }

    async fn find_all(
        &self,
        principal: &Principal,
        query: SearchQuery,
        limit: usize,
    ) -> Result<Vec<Found>, Error> {
        let sees_colleagues = principal.allows(Access::Administer);
        let mut found = Vec::new();
        for hit in self.index.search(query, limit).await? {
            let devices = match hit.entry.kind {
                SearchKind::Device => Vec::new(),
                SearchKind::Component => self.holder(&hit.entry.id).await?,
                SearchKind::User => {
                    let entry = self.users.find_user(&UserName::parse(&hit.entry.id)?).await?;
                    let user = entry.map(|entry| entry.user);
                    // Whoever helps a household finds it by name; who else works here is for
                    // those who decide on people.
                    match user.filter(|user| sees_colleagues || user.role == Role::Household) {
                        Some(user) => user.devices,
                        None => continue,
                    }
                }
            };
            found.push(Found { hit, devices });
        }
        Ok(found)
    }

    /// Few devices are looked at one by one; what sat in them before is nobody's business.
    async fn find_own(
        &self,
        query: &SearchQuery,
        own: &[DeviceId],
        limit: usize,
    ) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for id in own {
            let Some(device) = self.devices.find_device(id).await? else { continue };
            let entry = SearchEntry {
                kind: SearchKind::Device,
                id: id.to_string(),
                name: device.name,
                model: device.model,
                what: device.kind,
            };
            found.extend(rank(query, &entry).map(|hit| Found { hit, devices: Vec::new() }));
            for (installation, component) in self.components.installations_in(id).await? {
                let entry = SearchEntry {
                    kind: SearchKind::Component,
                    id: component.serial.to_string(),
                    name: String::new(),
                    model: component.model,
                    what: component.kind.to_string(),
                };
                if let Some(hit) = rank(query, &entry).filter(|_| installation.is_open()) {
                    found.push(Found { hit, devices: vec![id.clone()] });
                }
            }
        }
        let best = order(found.iter().map(|found| found.hit.clone()).collect(), limit);
        found.retain(|found| best.contains(&found.hit));
        found.sort_by(|left, right| left.hit.cmp(&right.hit));
        Ok(found)
    }

    async fn holder(&self, serial: &str) -> Result<Vec<DeviceId>, Error> {
        let life = self.components.installations_of(&Serial::parse(serial)?).await?;
        let sits = life.into_iter().rfind(axle_domain::Installation::is_open);
        Ok(sits.map(|installation| installation.device).into_iter().collect())
    }
}
