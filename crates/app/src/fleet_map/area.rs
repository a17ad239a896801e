//! The part of the world that someone looks at.

use axle_domain::Error;

use super::place::Spot;

/// Longitudes may go on beyond the antimeridian, as they do on a map that was dragged around the
/// world; so far, and no further.
const LON_MAX: f64 = 1080.0;
/// Nearest zoom of a map.
const ZOOM_MAX: f64 = 24.0;

/// A piece of the map, and how near one looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub(super) north_west: Spot,
    /// From the western edge to the eastern one, eastward; at most the whole world.
    pub(super) width: u32,
    /// From the northern edge to the southern one.
    pub(super) height: u32,
    pub(super) zoom: u8,
}

impl Area {
    /// The whole world from afar.
    #[must_use]
    pub fn world() -> Self {
        let north_west = Spot { x: 0, y: 0 };
        Self { north_west, width: u32::MAX, height: u32::MAX, zoom: 1 }
    }

    /// Reads `west,south,east,north` in degrees, and the zoom of a map of 512-pixel tiles. A west
    /// that is greater than the east crosses the antimeridian.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong with which number.
    pub fn parse(bbox: &str, zoom: f64) -> Result<Self, Error> {
        let mut numbers = [0.0_f64; 4];
        let mut parts = bbox.split(',');
        for number in &mut numbers {
            let part = parts.next().and_then(|part| part.trim().parse::<f64>().ok());
            *number = part
                .filter(|part| part.is_finite())
                .ok_or_else(|| invalid("must be four numbers: west,south,east,north in degrees"))?;
        }
        if parts.next().is_some() {
            return Err(invalid("has more than four numbers: give west,south,east,north"));
        }
        let [west, south, east, north] = numbers;
        if ![south, north].iter().all(|lat| (-90.0..=90.0).contains(lat)) {
            return Err(invalid("has a latitude beyond -90 to 90 degrees"));
        }
        if south >= north {
            return Err(invalid("is empty: south must be less than north"));
        }
        if ![west, east].iter().all(|lon| (-LON_MAX..=LON_MAX).contains(lon)) {
            return Err(invalid("has a longitude beyond -1080 to 1080 degrees"));
        }
        if !(0.0..=ZOOM_MAX).contains(&zoom) {
            let message = format!("the zoom of a map is from 0 to {ZOOM_MAX}");
            return Err(Error::invalid("map.zoom_invalid", message));
        }
        Ok(Self::checked([west, south, east, north], whole(zoom), width(west, east)?))
    }

    fn checked([west, south, _, north]: [f64; 4], zoom: u8, width: u32) -> Self {
        let north_west = Spot::of(north, if width == u32::MAX { -180.0 } else { west });
        let height = Spot::of(south, west).y.saturating_sub(north_west.y);
        Self { north_west, width, height, zoom }
    }

    /// Whether a spot lies in it; its edges belong to it.
    pub(super) fn contains(&self, spot: Spot) -> bool {
        spot.x.wrapping_sub(self.north_west.x) <= self.width
            && spot.y.wrapping_sub(self.north_west.y) <= self.height
    }
}

fn width(west: f64, east: f64) -> Result<u32, Error> {
    if east - west >= 360.0 {
        return Ok(u32::MAX);
    }
    if west == east {
        return Err(invalid("is empty: west must differ from east"));
    }
    if west > east && (west > 180.0 || east < -180.0) {
        return Err(invalid("has its west behind its east"));
    }
    let width = Spot::of(0.0, east).x.wrapping_sub(Spot::of(0.0, west).x);
    Ok(width)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn whole(zoom: f64) -> u8 {
    zoom.floor() as u8
}

fn invalid(rule: &str) -> Error {
    Error::invalid("map.bbox_invalid", format!("`bbox` {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(bbox: &str, lat: f64, lon: f64) -> bool {
        Area::parse(bbox, 3.0).unwrap().contains(Spot::of(lat, lon))
    }

    #[test]
    fn an_area_may_cross_the_antimeridian_and_reach_the_poles() {
        assert!(inside("170,-50,-170,50", 0.0, 175.0));
        assert!(inside("170,-50,-170,50", 0.0, -175.0));
        assert!(!inside("170,-50,-170,50", 0.0, 0.0));
        assert!(inside("170,-50,190,50", 0.0, -175.0), "as a dragged map says it");
        assert!(inside("-190,-50,-170,50", 0.0, 175.0));
        assert!(inside("-180,-90,180,90", 89.9, 33.0));
        assert!(inside("-180,-90,180,90", -90.0, 180.0));
        assert!(inside("-540,-10,540,10", 0.0, 77.0));
        assert!(!inside("10,40,20,50", 39.9, 15.0));
        assert!(!inside("10,40,20,50", 45.0, 20.1));
    }

    #[test]
    fn garbage_is_refused_in_words() {
        for (bbox, words) in [
            ("", "four numbers"),
            ("1,2,3", "four numbers"),
            ("1,2,3,x", "four numbers"),
            ("1,2,3,NaN", "four numbers"),
            ("1,2,inf,4", "four numbers"),
            ("1,2,3,4,5", "more than four"),
            ("1,5,3,4", "south must be less"),
            ("1,4,3,4", "south must be less"),
            ("1,-91,3,4", "latitude"),
            ("1,2,1,4", "west must differ"),
            ("500,2,100,4", "behind"),
            ("1,2,1e9,4", "longitude"),
        ] {
            let error = Area::parse(bbox, 3.0).unwrap_err();
            assert_eq!(error.code, "map.bbox_invalid", "{bbox}");
            assert!(error.message.contains(words), "{bbox}: {}", error.message);
        }
        for zoom in [-0.1, 24.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Area::parse("1,2,3,4", zoom).unwrap_err().code, "map.zoom_invalid");
        }
    }
}
