//! Local hours, days, weeks, months and years: of 23 and 25 hours too.

use axle_domain::{Error, Timestamp, limit};
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{RoundMode, ToSpan, Unit, Zoned, ZonedRound};

/// What to divide time into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Hours.
    Hour,
    /// Days, from midnight to midnight.
    Day,
    /// Months.
    Month,
}

/// What a page shows at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A day, by hours.
    Day,
    /// A week from Monday, by days.
    Week,
    /// A month, by days.
    Month,
    /// A year, by months.
    Year,
}

impl Period {
    /// What it is divided into.
    #[must_use]
    pub fn bucket(self) -> Bucket {
        match self {
            Self::Day => Bucket::Hour,
            Self::Week | Self::Month => Bucket::Day,
            Self::Year => Bucket::Month,
        }
    }
}

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

fn out_of_calendar(_error: jiff::Error) -> Error {
    Error::invalid("consumption.time_out_of_range", "the time is outside of the calendar")
}

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// Reads a name of the time zone database, such as `Europe/Berlin`, or an offset, such as
    /// `+02:00`.
    ///
    /// # Errors
    /// `Invalid`, when it is neither.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let zone = match text {
            "UTC" | "Z" => Some(TimeZone::UTC),
            _ if text.starts_with(['+', '-']) => offset(text).map(TimeZone::fixed),
            _ if text.len() <= 64 => TimeZone::get(text).ok(),
            _ => None,
        };
        let Some(zone) = zone else {
            let shown: String = text.chars().take(64).collect();
            let message = format!(
                "`{}` is no time zone: expected such as Europe/Berlin, +02:00 or UTC",
                shown.escape_debug()
            );
            return Err(Error::invalid("consumption.zone_unknown", message));
        };
        Ok(Self { name: text.to_owned(), zone })
    }

    /// As it was read.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The buckets that lie in a range; the first and the last may be cut by it.
    ///
    /// # Errors
    /// `Invalid` for more than [`limit::CONSUMPTION_BUCKETS_MAX`].
    pub fn buckets(
        &self,
        from: Timestamp,
        to: Timestamp,
        bucket: Bucket,
    ) -> Result<Vec<(Timestamp, Timestamp)>, Error> {
        let mut begin = self.begin(from, bucket)?;
        let mut spans = Vec::new();
        while micros(&begin) < to {
            if spans.len() >= limit::CONSUMPTION_BUCKETS_MAX {
                let most = limit::CONSUMPTION_BUCKETS_MAX;
                let message = format!("more than {most} buckets: ask for longer ones");
                return Err(Error::invalid("consumption.too_many_buckets", message)
                    .with_limit(most as u64, most as u64 + 1));
            }
            let end = self.next(&begin, bucket)?;
            spans.push((micros(&begin).max(from), micros(&end).min(to)));
            begin = end;
        }
        Ok(spans)
    }

    /// The period that holds a moment.
    ///
    /// # Errors
    /// `Invalid` outside of the calendar.
    pub fn period(&self, at: Timestamp, period: Period) -> Result<(Timestamp, Timestamp), Error> {
        let day = self.local(at)?.date();
        self.starting_on(first_day(day, period)?, period)
    }

    /// The period before and the period after the one that holds a moment.
    ///
    /// # Errors
    /// `Invalid` outside of the calendar.
    pub fn neighbors(
        &self,
        at: Timestamp,
        period: Period,
    ) -> Result<[(Timestamp, Timestamp); 2], Error> {
        let first = first_day(self.local(at)?.date(), period)?;
        let step = match period {
            Period::Day => 1.day(),
            Period::Week => 1.week(),
            Period::Month => 1.month(),
            Period::Year => 1.year(),
        };
        let before = first.checked_sub(step).map_err(out_of_calendar)?;
        let after = first.checked_add(step).map_err(out_of_calendar)?;
        Ok([self.starting_on(before, period)?, self.starting_on(after, period)?])
    }

    /// The begin of a day written as 2026-11-20.
    #[must_use]
    pub fn parse_day(&self, text: &str) -> Option<Timestamp> {
        let day: Date = text.parse().ok()?;
        Some(micros(&day.to_zoned(self.zone.clone()).ok()?))
    }

    /// A moment in local time, by a pattern of `strftime`; empty outside of the calendar.
    #[must_use]
    pub fn text(&self, at: Timestamp, pattern: &str) -> String {
        self.local(at).map(|local| local.strftime(pattern).to_string()).unwrap_or_default()
    }

    fn local(&self, at: Timestamp) -> Result<Zoned, Error> {
        let at = jiff::Timestamp::from_microsecond(at.0).map_err(out_of_calendar)?;
        Ok(at.to_zoned(self.zone.clone()))
    }

    fn begin(&self, at: Timestamp, bucket: Bucket) -> Result<Zoned, Error> {
        let local = self.local(at)?;
        match bucket {
            Bucket::Hour => {
                let hour = ZonedRound::new().smallest(Unit::Hour).mode(RoundMode::Trunc);
                local.round(hour).map_err(out_of_calendar)
            }
            Bucket::Day => local.start_of_day().map_err(out_of_calendar),
            Bucket::Month => {
                let first = local.date().first_of_month();
                first.to_zoned(self.zone.clone()).map_err(out_of_calendar)
            }
        }
    }

    fn next(&self, begin: &Zoned, bucket: Bucket) -> Result<Zoned, Error> {
        let next = match bucket {
            Bucket::Hour => begin.checked_add(1.hour()),
            Bucket::Day => begin.tomorrow().and_then(|day| day.start_of_day()),
            Bucket::Month => begin
                .date()
                .checked_add(1.month())
                .and_then(|first| first.to_zoned(self.zone.clone())),
        };
        next.map_err(out_of_calendar)
    }

    fn starting_on(&self, first: Date, period: Period) -> Result<(Timestamp, Timestamp), Error> {
        let length = match period {
            Period::Day => 1.day(),
            Period::Week => 1.week(),
            Period::Month => 1.month(),
            Period::Year => 1.year(),
        };
        let last = first.checked_add(length).map_err(out_of_calendar)?;
        let moment = |day: Date| {
            day.to_zoned(self.zone.clone()).map(|moment| micros(&moment)).map_err(out_of_calendar)
        };
        Ok((moment(first)?, moment(last)?))
    }
}

fn first_day(day: Date, period: Period) -> Result<Date, Error> {
    Ok(match period {
        Period::Day => day,
        Period::Week => {
            let since_monday = i32::from(day.weekday().to_monday_zero_offset());
            day.checked_sub(since_monday.days()).map_err(out_of_calendar)?
        }
        Period::Month => day.first_of_month(),
        Period::Year => day.first_of_year(),
    })
}

fn micros(moment: &Zoned) -> Timestamp {
    Timestamp(moment.timestamp().as_microsecond())
}

/// `+02:00`, in quarters of an hour.
fn offset(text: &str) -> Option<Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let part = |text: &str| text.parse::<i32>().ok().filter(|_| text.len() == 2);
    let (hours, minutes) = (part(hours)?, part(minutes)?);
    if hours > 14 || minutes > 59 || minutes % 15 != 0 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        crate::parse_time(text).unwrap()
    }

    fn hours(spans: &[(Timestamp, Timestamp)]) -> Vec<i64> {
        spans.iter().map(|(from, to)| to.micros_since(*from) / 3_600_000_000).collect()
    }

    #[test]
    fn days_are_local_and_have_23_to_25_hours() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let (from, to) = (moment("2026-03-27T23:00:00Z"), moment("2026-03-30T22:00:00Z"));
        assert_eq!(hours(&zone.buckets(from, to, Bucket::Day).unwrap()), [24, 23, 24]);
        let day = zone.period(moment("2026-10-25T12:00:00Z"), Period::Day).unwrap();
        assert_eq!(day, (moment("2026-10-24T22:00:00Z"), moment("2026-10-25T23:00:00Z")));
        assert_eq!(zone.buckets(day.0, day.1, Bucket::Hour).unwrap().len(), 25);
    }

    #[test]
    fn weeks_begin_on_monday_and_years_in_january() {
        let zone = Zone::parse("+05:45").unwrap();
        let at = moment("2026-11-21T02:00:00Z");
        let week = zone.period(at, Period::Week).unwrap();
        assert_eq!(zone.text(week.0, "%a %F %R"), "Mon 2026-11-16 00:00");
        let year = zone.period(at, Period::Year).unwrap();
        assert_eq!(year.0, moment("2025-12-31T18:15:00Z"));
        assert_eq!(zone.buckets(year.0, year.1, Bucket::Month).unwrap().len(), 12);
        let [before, after] = zone.neighbors(at, Period::Month).unwrap();
        assert_eq!(zone.text(before.0, "%F"), "2026-10-01");
        assert_eq!(zone.text(after.1, "%F"), "2027-01-01");
    }

    #[test]
    fn what_is_cut_is_cut_at_the_range() {
        let (from, to) = (moment("2026-11-21T02:30:00Z"), moment("2026-11-21T04:15:00Z"));
        let spans = Zone::utc().buckets(from, to, Bucket::Hour).unwrap();
        assert_eq!((spans.len(), spans[0].0, spans[2].1), (3, from, to));
        let many = Zone::utc().buckets(from, moment("2027-11-21T00:00:00Z"), Bucket::Hour);
        assert_eq!(many.unwrap_err().code, "consumption.too_many_buckets");
    }

    #[test]
    fn other_words_are_no_zones() {
        for text in ["", "Nowhere/City", "+2:00", "+02:07", "+99:00", "+é:00", "../etc/passwd"] {
            assert!(Zone::parse(text).is_err(), "{text}");
        }
        assert_eq!(Zone::utc().parse_day("2026-11-31"), None);
    }
}
