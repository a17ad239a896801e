//! The search in memory: every entry, ranked by the law.

use async_trait::async_trait;
use axle_domain::port::SearchIndex;
use axle_domain::search::order;
use axle_domain::{Error, SearchEntry, SearchHit, SearchKind, SearchQuery, rank};

use super::{Contents, MemoryState};

impl Contents {
    fn entries(&self) -> Vec<SearchEntry> {
        let devices = self.devices.values().map(|device| SearchEntry {
            kind: SearchKind::Device,
            id: device.id.to_string(),
            name: device.name.clone(),
            model: device.model.clone(),
            what: device.kind.clone(),
        });
        let components = self.master.components().map(|component| SearchEntry {
            kind: SearchKind::Component,
            id: component.serial.to_string(),
            name: String::new(),
            model: component.model.clone(),
            what: component.kind.to_string(),
        });
        let users = self.people.users().map(|user| SearchEntry {
            kind: SearchKind::User,
            id: user.name.to_string(),
            name: user.display_name.clone(),
            model: String::new(),
            what: user.role.to_string(),
        });
        devices.chain(components).chain(users).collect()
    }
}

#[async_trait]
impl SearchIndex for MemoryState {
    async fn search(&self, query: SearchQuery, limit: usize) -> Result<Vec<SearchHit>, Error> {
        let entries = self.contents().entries();
        let hits = entries.iter().filter_map(|entry| rank(&query, entry)).collect();
        Ok(order(hits, limit))
    }
}
