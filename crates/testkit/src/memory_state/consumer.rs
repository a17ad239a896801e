//! Consumers of the log, in memory.

use async_trait::async_trait;
use axle_domain::port::ConsumerRegistry;
use axle_domain::{Consumer, ConsumerName, Error, Offset, Timestamp, limit};

use super::{MemoryState, conflict};

#[async_trait]
impl ConsumerRegistry for MemoryState {
    async fn create_consumer(&self, consumer: Consumer) -> Result<(), Error> {
        let consumers = &mut self.contents().consumers;
        if consumers.contains_key(&consumer.name) {
            let message = format!("consumer `{}` exists already", consumer.name);
            return Err(conflict("consumer.exists", message));
        }
        if consumers.len() >= limit::CONSUMERS_MAX {
            let message = format!("there are {} consumers already", consumers.len());
            return Err(conflict("consumer.too_many", message));
        }
        consumers.insert(consumer.name.clone(), consumer);
        Ok(())
    }

    async fn find_consumer(&self, name: &ConsumerName) -> Result<Option<Consumer>, Error> {
        Ok(self.contents().consumers.get(name).cloned())
    }

    async fn list_consumers(&self) -> Result<Vec<Consumer>, Error> {
        Ok(self.contents().consumers.values().cloned().collect())
    }

    async fn move_consumer(
        &self,
        name: &ConsumerName,
        position: Offset,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let mut contents = self.contents();
        let Some(consumer) = contents.consumers.get_mut(name) else { return Ok(false) };
        (consumer.position, consumer.moved_at, consumer.lost_at) = (position, at, None);
        Ok(true)
    }

    async fn lose_consumer(&self, name: &ConsumerName, at: Timestamp) -> Result<bool, Error> {
        let mut contents = self.contents();
        let Some(consumer) = contents.consumers.get_mut(name) else { return Ok(false) };
        consumer.lost_at = Some(at);
        Ok(true)
    }

    async fn delete_consumer(&self, name: &ConsumerName) -> Result<bool, Error> {
        Ok(self.contents().consumers.remove(name).is_some())
    }
}
