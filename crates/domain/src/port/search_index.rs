//! The index over everything that people look for.

use async_trait::async_trait;

use crate::{Error, SearchHit, SearchQuery};

/// Finds devices, components and people.
///
/// 1. *Current.* A change of the registry is found as soon as it was answered; what is gone is
///    not found any more.
/// 2. *The law.* Each hit is what [`crate::rank`] says of the entry, in the order of
///    [`crate::search::order`]: guesses stand only where nothing matches as typed.
/// 3. *Complete where it can be.* An entry of which the query is a whole word or the beginning of
///    one is among the hits, unless so many are that the limit is reached. So is one that holds
///    the query as a part of three characters or more; and, where nothing matches as typed, one
///    where a word of the entry, or its beginning, is one change away from the query.
/// 4. *Bounded.* At most `limit` hits; the work is bounded however many entries there are.
#[async_trait]
pub trait SearchIndex: Send + Sync {
    /// Entries that match, the best first, whoever may see them.
    async fn search(&self, query: SearchQuery, limit: usize) -> Result<Vec<SearchHit>, Error>;
}
