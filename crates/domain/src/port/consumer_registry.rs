//! The registered consumers of the log.

use async_trait::async_trait;

use crate::{Consumer, ConsumerName, Error, Offset, Timestamp};

/// Keeps consumers and their positions.
///
/// 1. *Durability.* A change is durable when its method returns.
/// 2. *One name, one consumer.* `create_consumer` of a known name is a `Conflict`
///    (`consumer.exists`) and changes nothing; so is one beyond
///    [`crate::limit::CONSUMERS_MAX`] (`consumer.too_many`).
/// 3. *Moving.* `move_consumer` sets the position, forward or back, notes when, and takes back
///    that the consumer was lost.
/// 4. *Lost.* `lose_consumer` notes when; the position stays, so that one can say what is gone.
#[async_trait]
pub trait ConsumerRegistry: Send + Sync {
    /// Registers a consumer.
    async fn create_consumer(&self, consumer: Consumer) -> Result<(), Error>;

    /// The consumer of a name.
    async fn find_consumer(&self, name: &ConsumerName) -> Result<Option<Consumer>, Error>;

    /// All consumers, by name.
    async fn list_consumers(&self) -> Result<Vec<Consumer>, Error>;

    /// Moves a consumer; says whether there is one of that name.
    async fn move_consumer(
        &self,
        name: &ConsumerName,
        position: Offset,
        at: Timestamp,
    ) -> Result<bool, Error>;

    /// Declares a consumer lost; says whether there is one of that name.
    async fn lose_consumer(&self, name: &ConsumerName, at: Timestamp) -> Result<bool, Error>;

    /// Forgets a consumer; says whether there was one of that name.
    async fn delete_consumer(&self, name: &ConsumerName) -> Result<bool, Error>;
}
