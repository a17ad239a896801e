//! Those who have not said who they are yet: so many in all, so many of one address, and none for
//! a while from where too many were turned away. Who was let in has no place here any more, so no
//! crowd of strangers takes anything from those who are known.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axle_domain::network;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::journal::Why;

/// Failures are counted for so long, then forgotten: an address that has failed too often waits
/// no longer than this.
const WINDOW: Duration = Duration::from_secs(10);
/// Windows of a minute.
const WINDOWS_PER_MINUTE: u32 = 6;
/// Most addresses that are remembered; those that nobody is here from are forgotten first.
const ADDRESSES_MAX: usize = 65_536;

/// How many strangers there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// In all.
    pub(crate) most: usize,
    /// Of one address.
    pub(crate) most_of_address: usize,
    /// Connections of one address that may be turned away in a minute.
    pub(crate) failures_per_minute: u32,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All are taken, and no other address has more of them.
    Full,
    /// This address has as many as one may have.
    Crowded,
    /// Too many of this address were turned away.
    Failing,
    /// It had a place, and gave it to an address that had fewer.
    GaveWay,
}

impl NoPlace {
    /// For metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Full => "unauthenticated_full",
            Self::Crowded => "address_crowded",
            Self::Failing => "address_failing",
            Self::GaveWay => "gave_way",
        }
    }

    /// For a person.
    pub(crate) fn why(self, room: Room) -> Why {
        let Room { most, most_of_address, failures_per_minute } = room;
        let reason = match self {
            Self::Full => format!("more than {most} connections had not said who they are yet"),
            Self::Crowded => format!(
                "more than {most_of_address} connections from this address had not said who they \
                 are yet"
            ),
            Self::Failing => format!(
                "more than {failures_per_minute} connections a minute from this address were \
                 turned away"
            ),
            Self::GaveWay => format!(
                "of {most} connections that had not said who they are yet, most were from this \
                 address: the oldest of them gave way to another address"
            ),
        };
        let next_step = match self {
            Self::Full => {
                "The client may try again. If this lasts, see which addresses are refused most, \
                 or raise mqtt.unauthenticated_max."
            }
            Self::Crowded | Self::GaveWay => {
                "The client may try again. If many devices share this address, raise \
                 mqtt.unauthenticated_per_address_max, or name it in mqtt.trusted_proxies if it \
                 is your load balancer's."
            }
            Self::Failing => {
                "See above why its connections were turned away; it may come again in ten \
                 seconds. If many devices share this address, raise \
                 mqtt.failures_per_address_per_minute."
            }
        };
        Why::new(format!("mqtt.{}", self.label()), reason, next_step)
    }
}

/// Everybody who has not said who they are yet.
pub(crate) struct Strangers {
    pub(crate) room: Room,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    count: usize,
    crowds: HashMap<IpAddr, Crowd>,
}

/// Those of one address.
#[derive(Default)]
struct Crowd {
    /// By number: the oldest first.
    places: BTreeMap<u64, Arc<Notify>>,
    failures: u32,
    counted_since: Option<Instant>,
}

impl Crowd {
    fn failures_at(&self, now: Instant) -> u32 {
        let is_over = |since| now.saturating_duration_since(since) >= WINDOW;
        if self.counted_since.is_none_or(is_over) { 0 } else { self.failures }
    }
}

/// A place, given back when it is dropped.
pub(crate) struct StrangersPlace {
    strangers: Arc<Strangers>,
    address: IpAddr,
    number: u64,
    lost: Arc<Notify>,
}

impl Strangers {
    pub(crate) fn new(room: Room) -> Arc<Self> {
        Arc::new(Self { room, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.state().count
    }

    /// Takes a place for one from an address. Where all are taken, the address that has most of
    /// them gives its oldest to one that has fewer. A load balancer that we trust is no crowd:
    /// whom it speaks for is asked with [`StrangersPlace::belongs_to`].
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        is_balancer: bool,
        now: Instant,
    ) -> Result<StrangersPlace, NoPlace> {
        let address = network(address);
        let mut state = self.state();
        if !is_balancer {
            self.check(&state, address, now)?;
        }
        if state.count >= self.room.most.max(1) {
            let own = state.crowds.get(&address).map_or(0, |crowd| crowd.places.len());
            state.make_room(own)?;
        }
        state.forget_some(now);
        state.next += 1;
        state.count += 1;
        let (number, lost) = (state.next, Arc::new(Notify::new()));
        let crowd = state.crowds.entry(address).or_default();
        crowd.places.insert(number, Arc::clone(&lost));
        drop(state);
        Ok(StrangersPlace { strangers: Arc::clone(self), address, number, lost })
    }

    fn check(&self, state: &State, address: IpAddr, now: Instant) -> Result<(), NoPlace> {
        let Some(crowd) = state.crowds.get(&address) else { return Ok(()) };
        if crowd.places.len() >= self.room.most_of_address.max(1) {
            return Err(NoPlace::Crowded);
        }
        let most = (self.room.failures_per_minute / WINDOWS_PER_MINUTE).max(1);
        if crowd.failures_at(now) >= most {
            return Err(NoPlace::Failing);
        }
        Ok(())
    }
}

impl State {
    /// Takes a place from the address that has most, if that has more than one beyond `own`.
    fn make_room(&mut self, own: usize) -> Result<(), NoPlace> {
        let most = self.crowds.values_mut().max_by_key(|crowd| crowd.places.len());
        let most = most.filter(|crowd| crowd.places.len() > own + 1).ok_or(NoPlace::Full)?;
        let (_, lost) = most.places.pop_first().ok_or(NoPlace::Full)?;
        lost.notify_one();
        self.count -= 1;
        Ok(())
    }

    fn forget_some(&mut self, now: Instant) {
        if self.crowds.len() < ADDRESSES_MAX {
            return;
        }
        self.crowds.retain(|_, it| !it.places.is_empty() || it.failures_at(now) > 0);
        // So many addresses that no count of one of them says anything.
        if self.crowds.len() >= ADDRESSES_MAX {
            self.crowds.retain(|_, it| !it.places.is_empty());
        }
    }

    fn leave(&mut self, address: IpAddr, number: u64) {
        let Some(crowd) = self.crowds.get_mut(&address) else { return };
        self.count -= usize::from(crowd.places.remove(&number).is_some());
        if crowd.places.is_empty() && crowd.failures == 0 {
            self.crowds.remove(&address);
        }
    }
}

impl StrangersPlace {
    /// The address that it counts for; of IPv6 the network of one customer.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// How many strangers there may be.
    pub(crate) fn room(&self) -> Room {
        self.strangers.room
    }

    /// Counts for another address from now on: the one that a load balancer speaks for.
    pub(crate) fn belongs_to(&mut self, address: IpAddr) -> Result<(), NoPlace> {
        let address = network(address);
        let mut state = self.strangers.state();
        self.strangers.check(&state, address, Instant::now())?;
        state.count += 1;
        state.crowds.entry(address).or_default().places.insert(self.number, Arc::clone(&self.lost));
        state.leave(self.address, self.number);
        drop(state);
        self.address = address;
        Ok(())
    }

    /// Counts that this one was turned away, for its own fault.
    pub(crate) fn count_failure(&self) {
        let now = Instant::now();
        let mut state = self.strangers.state();
        let crowd = state.crowds.entry(self.address).or_default();
        crowd.failures = crowd.failures_at(now).saturating_add(1);
        if crowd.failures == 1 {
            crowd.counted_since = Some(now);
        }
    }

    /// Waits until another has got the place.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + use<> {
        let lost = Arc::clone(&self.lost);
        async move { lost.notified().await }
    }
}

impl Drop for StrangersPlace {
    fn drop(&mut self) {
        self.strangers.state().leave(self.address, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const ROOM: Room = Room { most: 4, most_of_address: 3, failures_per_minute: 12 };

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_lost(place: &StrangersPlace) -> bool {
        place.lost().now_or_never().is_some()
    }

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let strangers = Strangers::new(ROOM);
        let enter = |last| strangers.enter(ip(last), false, Instant::now());
        let mut places: Vec<_> = (0..3).map(|_| enter(1).unwrap()).collect();
        assert_eq!(enter(1).err(), Some(NoPlace::Crowded));
        places.pop();
        places.push(enter(1).unwrap());
        drop(places);
        assert_eq!((strangers.count(), strangers.state().crowds.len()), (0, 0), "all forgotten");
    }

    #[test]
    fn where_all_places_are_taken_the_largest_crowd_gives_its_oldest() {
        let strangers = Strangers::new(ROOM);
        let enter = |last| strangers.enter(ip(last), false, Instant::now());
        let crowd: Vec<_> = (0..3).map(|_| enter(1).unwrap()).collect();
        let other = enter(2).unwrap();
        let newcomer = enter(3).unwrap();
        assert!(is_lost(&crowd[0]) && !is_lost(&crowd[1]) && !is_lost(&other));
        assert_eq!(strangers.count(), 4);
        // Two, one and one: nobody has more than one beyond what the next one would have.
        assert_eq!(enter(3).err(), Some(NoPlace::Full));
        let fourth = enter(4).unwrap();
        assert!(is_lost(&crowd[1]));
        drop((crowd, other, newcomer, fourth));
        assert_eq!(strangers.count(), 0, "a place is given back once");
    }

    #[test]
    fn an_address_that_fails_too_often_waits_and_others_do_not() {
        let strangers = Strangers::new(ROOM);
        let enter = |last, now| strangers.enter(ip(last), false, now);
        let now = Instant::now();
        for _ in 0..2 {
            enter(1, now).unwrap().count_failure();
        }
        assert_eq!(enter(1, now).err(), Some(NoPlace::Failing));
        enter(2, now).unwrap();
        enter(1, Instant::now() + WINDOW).unwrap();
    }

    #[test]
    fn a_balancers_client_counts_for_itself() {
        let strangers = Strangers::new(ROOM);
        let mut places: Vec<_> =
            (0..4).map(|_| strangers.enter(ip(9), true, Instant::now()).unwrap()).collect();
        for place in places.iter_mut().take(3) {
            place.belongs_to(ip(1)).unwrap();
        }
        assert_eq!(places[3].belongs_to(ip(1)), Err(NoPlace::Crowded));
        places[3].belongs_to(ip(2)).unwrap();
        assert_eq!(strangers.count(), 4);
        drop(places);
        assert_eq!((strangers.count(), strangers.state().crowds.len()), (0, 0));
    }

    #[test]
    fn every_reason_has_words_and_a_next_step() {
        for no_place in [NoPlace::Full, NoPlace::Crowded, NoPlace::Failing, NoPlace::GaveWay] {
            let why = no_place.why(ROOM);
            assert!(why.code.starts_with("mqtt.") && !why.next_step.is_empty(), "{why:?}");
        }
    }
}
