//! Streets: a grid with crooked lines, and someone's way through it.

use super::city::City;
use super::life::Dice;
use crate::random::Key;

/// Kilometers per degree of latitude.
const KM_PER_DEGREE: f64 = 111.2;
/// How far a crossing lies off the grid, in blocks.
const JITTER: f64 = 0.2;
/// How often one goes on straight where both ways lead on.
const STRAIGHT: f64 = 0.72;
/// How often one takes another way than the shortest.
const DETOUR: f64 = 0.06;

/// A crossing, in blocks east and north of the middle.
pub(super) type Crossing = (i16, i16);

/// The streets of a city. The same for every seed: cities do not move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streets {
    city: &'static City,
    key: Key,
    block_km: f64,
    reach: i16,
}

impl Streets {
    /// Streets so far apart, up to so far from the middle.
    pub(super) fn new(city: &'static City, block_km: f64, radius_km: f64) -> Self {
        let key = Key::new(0x5713_ee75).named(city.name);
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let reach = (radius_km / block_km) as i16;
        Self { city, key, block_km, reach }
    }

    /// Any crossing.
    pub(super) fn any(&self, dice: &mut Dice) -> Crossing {
        loop {
            let crossing = (dice.within(self.reach), dice.within(self.reach));
            if self.is_inside(crossing) {
                return crossing;
            }
        }
    }

    /// A crossing about so far from another.
    pub(super) fn about(&self, from: Crossing, km: f64, dice: &mut Dice) -> Crossing {
        let blocks = km / self.block_km;
        for _attempt in 0..20 {
            let angle = dice.between(0.0, std::f64::consts::TAU);
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
            let (east, north) = ((blocks * angle.cos()) as i16, (blocks * angle.sin()) as i16);
            let crossing = (from.0.saturating_add(east), from.1.saturating_add(north));
            if self.is_inside(crossing) && crossing != from {
                return crossing;
            }
        }
        self.any(dice)
    }

    fn is_inside(&self, (east, north): Crossing) -> bool {
        let (east, north, reach) = (i32::from(east), i32::from(north), i32::from(self.reach));
        east * east + north * north <= reach * reach
    }

    /// A crossing in kilometers east and north of the middle.
    fn point(&self, crossing: Crossing) -> (f64, f64) {
        let place = (i64::from(crossing.0) << 20 ^ i64::from(crossing.1)).cast_unsigned();
        let jitter = |column: u64| (self.key.child(column).share(place) - 0.5) * 2.0 * JITTER;
        let (x, y) = (f64::from(crossing.0) + jitter(0), f64::from(crossing.1) + jitter(1));
        let (sin, cos) = self.city.turn.sin_cos();
        (self.block_km * (x * cos - y * sin), self.block_km * (x * sin + y * cos))
    }

    /// The crossing next to a latitude and longitude.
    fn nearest(&self, (lat, lon): (f64, f64)) -> Crossing {
        let y = (lat - self.city.lat) * KM_PER_DEGREE / self.block_km;
        let x = (lon - self.city.lon) * KM_PER_DEGREE * self.city.lat.to_radians().cos();
        let (sin, cos) = self.city.turn.sin_cos();
        let x = x / self.block_km;
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let block = |place: f64| (place.round() as i16).clamp(-self.reach, self.reach);
        (block(x * cos + y * sin), block(y * cos - x * sin))
    }

    /// Height above the sea, meters: hills a kilometer or three across.
    fn altitude_m(&self, (x, y): (f64, f64)) -> f64 {
        let phase = |place| self.key.share(place) * std::f64::consts::TAU;
        let hills = (x * 1.3 + phase(1)).sin() * (y * 1.1 + phase(2)).cos()
            + 0.5 * (x * 2.9 + y * 1.7 + phase(3)).sin();
        (self.city.altitude_m + self.city.hill_m * hills).max(0.0)
    }
}

/// Someone who is on the way from one crossing to the next, or stands at one.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    streets: Streets,
    from: Crossing,
    to: Crossing,
    /// Where to turn after `to`; nothing where the way ends.
    next: Option<Crossing>,
    target: Crossing,
    along_km: f64,
    length_km: f64,
    rise_m: f64,
}

impl Walk {
    /// Someone who stands at a crossing.
    pub(super) fn new(streets: Streets, at: Crossing) -> Self {
        let (from, to, target) = (at, at, at);
        let (along_km, length_km, rise_m) = (0.0, 0.0, 0.0);
        Self { streets, from, to, next: None, target, along_km, length_km, rise_m }
    }

    /// Someone who stands at the crossing next to a latitude and longitude.
    pub(super) fn moved(&self, position: (f64, f64)) -> Self {
        Self::new(self.streets, self.streets.nearest(position))
    }

    /// Sets out for a crossing about so far away.
    pub(super) fn set_out(&mut self, km: f64, dice: &mut Dice) {
        self.target = self.streets.about(self.to, km, dice);
        if let Some(first) = self.choose(self.from, self.to, dice) {
            self.next = Some(first);
            self.along_km = 0.0;
            self.turn(dice);
        }
    }

    /// Latitude and longitude, degrees.
    pub(super) fn position(&self) -> (f64, f64) {
        let (x, y) = self.point();
        let city = self.streets.city;
        let lat = city.lat + y / KM_PER_DEGREE;
        (lat, city.lon + x / (KM_PER_DEGREE * city.lat.to_radians().cos()))
    }

    /// Height above the sea, meters.
    pub(super) fn altitude_m(&self) -> f64 {
        self.streets.altitude_m(self.point())
    }

    /// Meters up per meter on.
    pub(super) fn slope(&self) -> f64 {
        if self.length_km <= 0.0 { 0.0 } else { self.rise_m / (self.length_km * 1000.0) }
    }

    /// Distance from the middle of the city, kilometers.
    pub(super) fn off_middle_km(&self) -> f64 {
        let (x, y) = self.point();
        x.hypot(y)
    }

    /// Meters to the next crossing.
    pub(super) fn remaining_m(&self) -> f64 {
        (self.length_km - self.along_km).max(0.0) * 1000.0
    }

    /// Whether the way ends at the next crossing.
    pub(super) fn ends(&self) -> bool {
        self.next.is_none()
    }

    /// Whether the way bends at the next crossing.
    pub(super) fn bends(&self) -> bool {
        let (before, after) = (self.from, self.next.unwrap_or(self.to));
        (after.0 - self.to.0, after.1 - self.to.1) != (self.to.0 - before.0, self.to.1 - before.1)
    }

    /// Goes on, past crossings if need be; stops where the way ends.
    pub(super) fn advance(&mut self, meters: f64, dice: &mut Dice) {
        self.along_km += meters / 1000.0;
        while self.along_km >= self.length_km {
            if self.next.is_none() {
                self.along_km = self.length_km;
                return;
            }
            self.along_km -= self.length_km;
            self.turn(dice);
        }
    }

    fn point(&self) -> (f64, f64) {
        let (from, to) = (self.streets.point(self.from), self.streets.point(self.to));
        let share = if self.length_km > 0.0 { self.along_km / self.length_km } else { 1.0 };
        (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
    }

    /// Takes the next street and decides about the one after it.
    fn turn(&mut self, dice: &mut Dice) {
        let Some(next) = self.next else { return };
        (self.from, self.to) = (self.to, next);
        let (from, to) = (self.streets.point(self.from), self.streets.point(self.to));
        self.length_km = (to.0 - from.0).hypot(to.1 - from.1);
        self.rise_m = self.streets.altitude_m(to) - self.streets.altitude_m(from);
        self.next = self.choose(self.from, self.to, dice);
    }

    /// The crossing after `at`, for someone who came from `before`; nothing at the target.
    fn choose(&self, before: Crossing, at: Crossing, dice: &mut Dice) -> Option<Crossing> {
        let (east, north) = (self.target.0 - at.0, self.target.1 - at.1);
        if (east, north) == (0, 0) {
            return None;
        }
        let heading = (at.0 - before.0, at.1 - before.1);
        let (by_east, by_north) = ((east.signum(), 0), (0, north.signum()));
        let mut step = match (east, north) {
            (0, _) => by_north,
            (_, 0) => by_east,
            _ if heading == by_east && dice.chance(STRAIGHT) => by_east,
            _ if heading == by_north && dice.chance(STRAIGHT) => by_north,
            _ if heading == by_east => by_north,
            _ if heading == by_north || dice.chance(0.5) => by_east,
            _ => by_north,
        };
        let is_back = (step.0 + heading.0, step.1 + heading.1) == (0, 0) && heading != (0, 0);
        if is_back || dice.chance(DETOUR) {
            let side = if dice.chance(0.5) { 1 } else { -1 };
            // To a side of the heading, never back; one who stands may go anywhere.
            let aside = if heading.0 == 0 { (side, 0) } else { (0, side) };
            if is_back || self.streets.is_inside((at.0 + aside.0, at.1 + aside.1)) {
                step = aside;
            }
        }
        Some((at.0 + step.0, at.1 + step.1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::city::CITIES;
    use super::*;

    #[test]
    fn a_way_leads_to_its_target_along_streets() {
        for (number, city) in CITIES.iter().enumerate() {
            let mut dice = Dice::new(Key::new(number as u64));
            let streets = Streets::new(city, 0.13, city.radius_km);
            let mut walk = Walk::new(streets, streets.any(&mut dice));
            for _trip in 0..30 {
                let before = walk.to;
                walk.set_out(2.0, &mut dice);
                assert_ne!(walk.target, before);
                let mut km = 0.0;
                while !(walk.ends() && walk.remaining_m() <= 0.0) {
                    let (x, y) = walk.point();
                    walk.advance(10.0, &mut dice);
                    let moved = (walk.point().0 - x).hypot(walk.point().1 - y);
                    assert!(moved <= 0.0101, "{moved}");
                    assert!(walk.off_middle_km() < city.radius_km * 1.2, "{}", city.name);
                    km += 0.01;
                    assert!(km < 40.0, "{} does not arrive", city.name);
                }
                assert_eq!(walk.to, walk.target);
            }
        }
    }

    #[test]
    fn hills_are_as_high_as_the_city_says() {
        let athens = Streets::new(&CITIES[6], 0.13, 3.0);
        let heights: Vec<f64> =
            (-20..20).map(|block| athens.altitude_m(athens.point((block, 3)))).collect();
        let (low, high) =
            heights.iter().fold((f64::MAX, 0.0_f64), |(low, high), h| (low.min(*h), high.max(*h)));
        assert!(high - low > 15.0 && high < 220.0 && low >= 0.0, "{low} {high}");
    }
}
