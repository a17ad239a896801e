//! Components, installations and the review queue in memory: the law in the fewest lines.

use std::collections::BTreeMap;

use async_trait::async_trait;
use axle_domain::port::{
    BatchFilter, BatchReceipt, ComponentFilter, ComponentRegistry, Decision, FeedBatch,
    ReviewFilter, SetAside,
};
use axle_domain::{
    Change, Component, Decided, DeviceId, Error, FeedRecord, Installation, Known, Neighbor,
    PlantName, Reason, ReviewId, ReviewItem, ReviewStatus, Serial, Timestamp, judge,
};

use super::{Contents, MemoryState, conflict};

/// What plants have said.
#[derive(Clone, Debug, Default)]
pub(super) struct MasterData {
    components: BTreeMap<Serial, Component>,
    installations: BTreeMap<(Serial, Timestamp), Installation>,
    reviews: BTreeMap<ReviewId, ReviewItem>,
    /// In the order of arrival, with their keys.
    batches: Vec<((PlantName, String), BatchReceipt)>,
    last_review: u64,
}

impl MasterData {
    pub(super) fn components(&self) -> impl Iterator<Item = &Component> {
        self.components.values()
    }
}

impl Contents {
    fn known(&self, record: &FeedRecord) -> Known {
        let master = &self.master;
        match record {
            FeedRecord::Device(facts) => Known {
                device: self.devices.get(&facts.id).cloned(),
                is_kind_in_use: self.devices.values().any(|it| it.kind == facts.kind.as_str()),
                ..Known::default()
            },
            FeedRecord::Component(facts) => {
                let mut installations = master.installations.values();
                Known {
                    component: master.components.get(&facts.serial).cloned(),
                    is_kind_in_use: master.components.values().any(|it| it.kind == facts.kind),
                    first_installed_at: installations
                        .find(|it| it.serial == facts.serial)
                        .map(|it| it.from),
                    ..Known::default()
                }
            }
            FeedRecord::Installation(record) => self.known_of(record),
        }
    }

    fn known_of(&self, record: &Installation) -> Known {
        let master = &self.master;
        let component = master.components.get(&record.serial).cloned();
        let mut overlapping: Vec<_> =
            master.installations.values().filter(|it| it.overlaps(record)).collect();
        overlapping.sort_by_key(|it| (it.from, &it.serial));
        let own = overlapping.iter().filter(|it| it.serial == record.serial);
        let elsewhere = own.filter(|it| it.from != record.from).map(|it| (*it).clone()).collect();
        let mut neighbors = Vec::new();
        for installation in overlapping {
            let other = master.components.get(&installation.serial);
            let Some((mine, other)) = component.as_ref().zip(other) else { continue };
            let is_neighbor = installation.device == record.device
                && installation.serial != record.serial
                && other.kind == mine.kind;
            if is_neighbor {
                let (component, installation) = (other.clone(), installation.clone());
                neighbors.push(Neighbor { component, installation });
            }
        }
        Known {
            device: self.devices.get(&record.device).cloned(),
            same_start: master.installations.get(&(record.serial.clone(), record.from)).cloned(),
            component,
            elsewhere,
            neighbors,
            ..Known::default()
        }
    }

    fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Device(device) => drop(self.devices.insert(device.id.clone(), device)),
            Change::Component(component) => {
                self.master.components.insert(component.serial.clone(), component);
            }
            Change::Installation(installation) => {
                let key = (installation.serial.clone(), installation.from);
                self.master.installations.insert(key, installation);
            }
        }
    }

    fn set_aside(
        &mut self,
        batch: &FeedBatch,
        (index, record): (u32, &str),
        reason: &Reason,
    ) -> ReviewId {
        let waiting = self.master.reviews.values().find(|item| {
            item.plant == batch.plant
                && item.record == record
                && item.status == ReviewStatus::Waiting
        });
        if let Some(item) = waiting {
            return item.id;
        }
        self.master.last_review += 1;
        let id = ReviewId(self.master.last_review);
        let item = ReviewItem {
            id,
            plant: batch.plant.clone(),
            batch: batch.id.clone(),
            index,
            code: reason.code.to_owned(),
            detail: reason.detail.clone(),
            record: record.to_owned(),
            received_at: batch.received_at,
            status: ReviewStatus::Waiting,
            decided: None,
        };
        self.master.reviews.insert(id, item);
        id
    }

    fn take(&mut self, batch: &FeedBatch) -> (BatchReceipt, Vec<Change>) {
        let mut receipt = BatchReceipt {
            id: batch.id.clone(),
            plant: batch.plant.clone(),
            body_hash: batch.body_hash.clone(),
            by: batch.by.clone(),
            received_at: batch.received_at,
            accepted: 0,
            unchanged: 0,
            review: Vec::new(),
        };
        let mut made = Vec::new();
        for (record, index) in batch.records.iter().zip(0_u32..) {
            let judged = record
                .record
                .clone()
                .and_then(|record| judge(&record, &self.known(&record), batch.received_at, None));
            match judged {
                Ok(changes) if changes.is_empty() => receipt.unchanged += 1,
                Ok(changes) => {
                    receipt.accepted += 1;
                    changes.iter().for_each(|change| self.apply(change));
                    made.extend(changes);
                }
                Err(reason) => {
                    let review = Some(self.set_aside(batch, (index, &record.original), &reason));
                    let code = reason.code.to_owned();
                    receipt.review.push(SetAside { index, code, detail: reason.detail, review });
                }
            }
        }
        (receipt, made)
    }
}

#[async_trait]
impl ComponentRegistry for MemoryState {
    async fn accept_batch(&self, batch: FeedBatch) -> Result<(BatchReceipt, Vec<Change>), Error> {
        let mut contents = self.contents();
        let key = (batch.plant.clone(), batch.key.clone());
        if let Some((_, receipt)) = contents.master.batches.iter().find(|(known, _)| *known == key)
        {
            if receipt.body_hash == batch.body_hash {
                return Ok((receipt.clone(), Vec::new()));
            }
            let message = "this Idempotency-Key came before with another body".to_owned();
            return Err(conflict("feed.idempotency_conflict", message));
        }
        if batch.is_dry_run {
            let (devices, master) = (contents.devices.clone(), contents.master.clone());
            let (mut receipt, _) = contents.take(&batch);
            (contents.devices, contents.master) = (devices, master);
            receipt.review.iter_mut().for_each(|aside| aside.review = None);
            return Ok((receipt, Vec::new()));
        }
        let (receipt, made) = contents.take(&batch);
        contents.master.batches.push((key, receipt.clone()));
        Ok((receipt, made))
    }

    async fn list_batches(&self, filter: BatchFilter) -> Result<Vec<BatchReceipt>, Error> {
        let contents = self.contents();
        let newest_first = contents.master.batches.iter().rev().map(|(_, receipt)| receipt);
        let wanted = newest_first
            .filter(|receipt| filter.plant.as_ref().is_none_or(|plant| receipt.plant == *plant));
        Ok(wanted.take(filter.limit).cloned().collect())
    }

    async fn decide(&self, decision: Decision) -> Result<(ReviewItem, Vec<Change>), Error> {
        let mut contents = self.contents();
        let Some(mut item) = contents.master.reviews.get(&decision.id).cloned() else {
            let message = format!("review item `{}` not found", decision.id);
            return Err(Error::not_found("review.not_found", message));
        };
        if item.decided.is_some() {
            return Err(conflict("review.decided", format!("`{}` was decided", decision.id)));
        }
        let mut made = Vec::new();
        item.status = ReviewStatus::Rejected;
        if let Some((record, approval)) = &decision.accept {
            made = judge(record, &contents.known(record), decision.at, Some(approval))
                .map_err(|reason| conflict("review.refused", reason.detail))?;
            made.iter().for_each(|change| contents.apply(change));
            item.status = ReviewStatus::Accepted;
        }
        item.decided = Some(Decided { by: decision.by, at: decision.at, note: decision.note });
        contents.master.reviews.insert(item.id, item.clone());
        Ok((item, made))
    }

    async fn find_review(&self, id: ReviewId) -> Result<Option<ReviewItem>, Error> {
        Ok(self.contents().master.reviews.get(&id).cloned())
    }

    async fn list_reviews(&self, filter: ReviewFilter) -> Result<Vec<ReviewItem>, Error> {
        let contents = self.contents();
        let wanted = contents.master.reviews.values().rev().filter(|item| {
            filter.plant.as_ref().is_none_or(|plant| item.plant == *plant)
                && filter.status.is_none_or(|status| item.status == status)
                && filter.before.is_none_or(|before| item.id < before)
        });
        Ok(wanted.take(filter.limit).cloned().collect())
    }

    async fn find_component(&self, serial: &Serial) -> Result<Option<Component>, Error> {
        Ok(self.contents().master.components.get(serial).cloned())
    }

    async fn list_components(&self, filter: ComponentFilter) -> Result<Vec<Component>, Error> {
        let contents = self.contents();
        let wanted = contents.master.components.values().filter(|component| {
            filter.kind.as_ref().is_none_or(|kind| component.kind == *kind)
                && filter.status.is_none_or(|status| component.status == status)
                && filter.after.as_ref().is_none_or(|after| component.serial > *after)
        });
        Ok(wanted.take(filter.limit).cloned().collect())
    }

    async fn installations_of(&self, serial: &Serial) -> Result<Vec<Installation>, Error> {
        let contents = self.contents();
        let own = contents.master.installations.values().filter(|it| it.serial == *serial);
        Ok(own.cloned().collect())
    }

    async fn installations_in(
        &self,
        device: &DeviceId,
    ) -> Result<Vec<(Installation, Component)>, Error> {
        let contents = self.contents();
        let mut found = Vec::new();
        for installation in contents.master.installations.values() {
            let component = contents.master.components.get(&installation.serial);
            if let Some(component) = component.filter(|_| installation.device == *device) {
                found.push((installation.clone(), component.clone()));
            }
        }
        found.sort_by(|(left, _), (right, _)| {
            (left.from, &left.serial).cmp(&(right.from, &right.serial))
        });
        Ok(found)
    }
}
