//! Cron schedules as CronJobs use them: parsing and the next time.
//!
//! Behaves exactly as `robfig/cron` v3 `ParseStandard`, which the CronJob controller uses, including its treatment of
//! days on which the clock changes (contract S10-01..05).

use jiff::{
    Timestamp,
    civil::{DateTime, Time},
    tz::{Offset, TimeZone},
};

use crate::duration;

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

/// A parsed schedule.
///
/// ```
/// use apimachinery::cron::Schedule;
/// use jiff::tz::TimeZone;
/// let schedule = Schedule::parse("*/15 8-17 * * mon-fri").unwrap();
/// let friday = "2024-05-03T17:50:00Z".parse().unwrap();
/// assert_eq!(schedule.next(friday, &TimeZone::UTC).unwrap().to_string(), "2024-05-06T08:00:00Z");
/// assert!(Schedule::parse("0 0 * * 7").is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    kind: Kind,
    zone: Option<TimeZone>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Fields(Fields),
    /// `@every`, in whole seconds.
    Every(i64),
}

/// The minutes, hours and days that match, one bit each.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fields {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
}

/// Set in a field given as `*` or `?`; decides how days of month and of week go together.
const STAR: u64 = 1 << 63;

struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DAYS: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// Longest schedule that is read.
const MAX_BYTES: usize = 4096;

/// Years after which a schedule counts as never matching.
const MAX_YEARS: i16 = 5;

impl Schedule {
    /// Reads a schedule: five fields, a descriptor such as `@daily`, or `@every 90s`.
    ///
    /// A leading `TZ=` or `CRON_TZ=` is understood; whether it is allowed is for validation to say.
    ///
    /// # Errors
    /// With the text that the API server shows.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        if text.is_empty() {
            return Err(CronError("empty spec string".into()));
        }
        if text.len() > MAX_BYTES {
            return Err(CronError(format!("longer than {MAX_BYTES} bytes")));
        }
        let (zone, text) = split_zone(text)?;
        let kind = if text.starts_with('@') { descriptor(text)? } else { Kind::Fields(Fields::parse(text)?) };
        Ok(Self { kind, zone })
    }

    /// Returns the first time after `after` that matches, in whole seconds; none if there is none for five years.
    ///
    /// `zone` is where the wall clock hangs, unless the schedule itself names a zone.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.kind {
            Kind::Every(seconds) => Timestamp::from_second(after.as_second().checked_add(*seconds)?).ok(),
            Kind::Fields(fields) => fields.next(after, self.zone.as_ref().unwrap_or(zone)),
        }
    }
}

/// Finds a time zone by its IANA name, spelled exactly.
///
/// The names known are those of the machine's time zone database, which is the only thing outside its arguments that
/// this crate looks at.
///
/// ```
/// assert!(apimachinery::cron::time_zone("UTC").is_some());
/// assert!(apimachinery::cron::time_zone("Mars/Olympus").is_none());
/// ```
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    TimeZone::get(name).ok().filter(|zone| zone.iana_name() == Some(name))
}

fn split_zone(text: &str) -> Result<(Option<TimeZone>, &str), CronError> {
    let Some(rest) = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) else {
        return Ok((None, text));
    };
    let (name, schedule) = rest.split_once(' ').unwrap_or((rest, ""));
    let zone =
        time_zone(name).ok_or_else(|| CronError(format!("provided bad location {name}: unknown time zone {name}")))?;
    Ok((Some(zone), schedule.trim()))
}

fn descriptor(text: &str) -> Result<Kind, CronError> {
    let all = |b: &Bounds| bits(b.min, b.max, 1) | STAR;
    let yearly = Fields { minute: 1, hour: 1, day: 1 << 1, month: 1 << 1, weekday: all(&WEEKDAYS) };
    let monthly = Fields { month: all(&MONTHS), ..yearly };
    let daily = Fields { day: all(&DAYS), ..monthly };
    Ok(Kind::Fields(match text {
        "@yearly" | "@annually" => yearly,
        "@monthly" => monthly,
        "@weekly" => Fields { weekday: 1, ..daily },
        "@daily" | "@midnight" => daily,
        "@hourly" => Fields { hour: all(&HOURS), ..daily },
        _ => {
            let duration =
                text.strip_prefix("@every ").ok_or_else(|| CronError(format!("unrecognized descriptor: {text}")))?;
            let nanos = duration::parse(duration).ok_or_else(|| {
                CronError(format!("failed to parse duration {text}: time: invalid duration {duration:?}"))
            })?;
            return Ok(Kind::Every((nanos / 1_000_000_000).max(1)));
        }
    }))
}

impl Fields {
    fn parse(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let found = fields.len();
            return Err(CronError(format!("expected exactly 5 fields, found {found}: [{}]", fields.join(" "))));
        };
        Ok(Self {
            minute: field(minute, &MINUTES)?,
            hour: field(hour, &HOURS)?,
            day: field(day, &DAYS)?,
            month: field(month, &MONTHS)?,
            weekday: field(weekday, &WEEKDAYS)?,
        })
    }

    fn day_matches(&self, at: &Clock<'_>) -> bool {
        let date = at.local().date();
        let day = has(self.day, date.day());
        let weekday = has(self.weekday, date.weekday().to_sunday_zero_offset());
        if self.day & STAR != 0 || self.weekday & STAR != 0 { day && weekday } else { day || weekday }
    }

    /// Walks to the next match: months, then days, hours and minutes, starting over whenever a larger unit changes.
    ///
    /// The steps are those of the original on purpose. Days are stepped in local time, hours and minutes in absolute
    /// time; this is what decides about days on which the clock changes.
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut at = Clock { unix: after.as_second().checked_add(1)?, zone };
        let last_year = at.local().year().checked_add(MAX_YEARS)?;
        let mut cut = false;
        loop {
            if at.local().year() > last_year {
                return None;
            }
            if self.walk_month(&mut at, &mut cut)?
                || self.walk_day(&mut at, &mut cut)?
                || self.walk_hour(&mut at, &mut cut)?
                || self.walk_minute(&mut at, &mut cut)
            {
                continue;
            }
            // Seconds must be 0: the walk above ends on a whole minute unless the start was inside a matching one.
            let seconds = i64::from(at.local().second());
            if seconds == 0 {
                return Timestamp::from_second(at.unix).ok();
            }
            cut = true;
            at.unix += 60 - seconds;
        }
    }

    /// Each walk goes to the next unit that matches and tells whether the next larger unit must be looked at again.
    fn walk_month(&self, at: &mut Clock<'_>, cut: &mut bool) -> Option<bool> {
        while !has(self.month, at.local().month()) {
            let mut date = at.local().date();
            if !*cut {
                *cut = true;
                date = date.first_of_month();
                at.set(date.to_datetime(Time::midnight()))?;
            }
            let local = at.local();
            at.set(
                local.date().first_of_month().checked_add(jiff::Span::new().months(1)).ok()?.to_datetime(local.time()),
            )?;
            if at.local().month() == 1 {
                return Some(true);
            }
        }
        Some(false)
    }

    fn walk_day(&self, at: &mut Clock<'_>, cut: &mut bool) -> Option<bool> {
        while !self.day_matches(at) {
            if !*cut {
                *cut = true;
                at.set(at.local().date().to_datetime(Time::midnight()))?;
            }
            let local = at.local();
            at.set(local.date().tomorrow().ok()?.to_datetime(local.time()))?;
            // Midnight may not exist on the day the clock changes.
            let hour = i64::from(at.local().hour());
            if hour != 0 {
                at.unix += 3600 * if hour > 12 { 24 - hour } else { -hour };
            }
            if at.local().day() == 1 {
                return Some(true);
            }
        }
        Some(false)
    }

    fn walk_hour(&self, at: &mut Clock<'_>, cut: &mut bool) -> Option<bool> {
        while !has(self.hour, at.local().hour()) {
            if !*cut {
                *cut = true;
                let local = at.local();
                at.set(local.date().at(local.hour(), 0, 0, 0))?;
            }
            at.unix += 3600;
            if at.local().hour() == 0 {
                return Some(true);
            }
        }
        Some(false)
    }

    fn walk_minute(&self, at: &mut Clock<'_>, cut: &mut bool) -> bool {
        while !has(self.minute, at.local().minute()) {
            if !*cut {
                *cut = true;
                at.unix -= at.unix.rem_euclid(60);
            }
            at.unix += 60;
            if at.local().minute() == 0 {
                return true;
            }
        }
        false
    }
}

/// An instant and the wall clock that shows it.
struct Clock<'a> {
    unix: i64,
    zone: &'a TimeZone,
}

impl Clock<'_> {
    fn local(&self) -> DateTime {
        let at = instant(self.unix);
        self.zone.to_offset(at).to_datetime(at)
    }

    /// Sets it to a local time. One that exists twice or not at all is taken as Go's `time.Date` takes it: with the
    /// offset in force at the instant that the local time would be in UTC, corrected once.
    fn set(&mut self, local: DateTime) -> Option<()> {
        let as_utc = Offset::UTC.to_timestamp(local).ok()?.as_second();
        let guess = as_utc - self.offset(as_utc);
        self.unix = as_utc - self.offset(guess);
        Some(())
    }

    fn offset(&self, unix: i64) -> i64 {
        i64::from(self.zone.to_offset(instant(unix)).seconds())
    }
}

/// Returns the instant, cut to what can be shown.
fn instant(unix: i64) -> Timestamp {
    Timestamp::from_second(unix).unwrap_or(if unix < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn has(bits: u64, n: i8) -> bool {
    u32::try_from(n).is_ok_and(|n| bits & (1 << n) != 0)
}

fn bits(min: u32, max: u32, step: u32) -> u64 {
    let mut all = 0;
    let mut n = min;
    while n <= max {
        all |= 1 << n;
        n = n.saturating_add(step);
    }
    all
}

fn field(text: &str, bounds: &Bounds) -> Result<u64, CronError> {
    let mut all = 0;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        all |= range(part, bounds)?;
    }
    Ok(all)
}

fn range(text: &str, bounds: &Bounds) -> Result<u64, CronError> {
    let fail = |what: String| Err(CronError(format!("{what}: {text}")));
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let (start, mut end, mut star) = match ends[..] {
        ["*" | "?", ..] => (bounds.min, bounds.max, STAR),
        [one] => (number(one, bounds)?, number(one, bounds)?, 0),
        [from, to] => (number(from, bounds)?, number(to, bounds)?, 0),
        _ => return fail("too many hyphens".into()),
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            let step = number(step, &Bounds { names: &[], ..*bounds })?;
            if ends.len() == 1 {
                end = bounds.max;
            }
            if step > 1 {
                star = 0;
            }
            step
        }
        _ => return fail("too many slashes".into()),
    };
    if start < bounds.min {
        return fail(format!("beginning of range ({start}) below minimum ({})", bounds.min));
    }
    if end > bounds.max {
        return fail(format!("end of range ({end}) above maximum ({})", bounds.max));
    }
    if start > end {
        return fail(format!("beginning of range ({start}) beyond end of range ({end})"));
    }
    if step == 0 {
        return fail("step of range should be a positive number".into());
    }
    Ok(bits(start, end, step) | star)
}

fn number(text: &str, bounds: &Bounds) -> Result<u32, CronError> {
    if let Some(at) = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return Ok(bounds.min + u32::try_from(at).unwrap_or_default());
    }
    let n: i64 = text.parse().map_err(|_| {
        CronError(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
    })?;
    if n < 0 {
        return Err(CronError(format!("negative number ({n}) not allowed: {text}")));
    }
    // Anything larger than the bounds is refused there.
    Ok(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Berlin's rule: summer time from the last Sunday of March, 02:00, to the last of October, 03:00.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn times(schedule: &str, from: &str, zone: &TimeZone, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(schedule).unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        let mut all = Vec::new();
        for _ in 0..count {
            at = schedule.next(at, zone).unwrap();
            all.push(at.to_string());
        }
        all
    }

    fn next(schedule: &str, from: &str) -> String {
        times(schedule, from, &TimeZone::UTC, 1).remove(0)
    }

    fn error(schedule: &str) -> String {
        Schedule::parse(schedule).unwrap_err().to_string()
    }

    #[test]
    fn s10_01_five_fields_or_a_descriptor() {
        assert_eq!(error("* * * *"), "expected exactly 5 fields, found 4: [* * * *]");
        assert_eq!(error("0 * * * * *"), "expected exactly 5 fields, found 6: [0 * * * * *]");
        assert_eq!(error(""), "empty spec string");
        assert_eq!(error("@often"), "unrecognized descriptor: @often");
        let from = "2024-02-28T12:34:56Z";
        let cases = [
            ("@yearly", "2025-01-01T00:00:00Z"),
            ("@annually", "2025-01-01T00:00:00Z"),
            ("@monthly", "2024-03-01T00:00:00Z"),
            ("@weekly", "2024-03-03T00:00:00Z"),
            ("@daily", "2024-02-29T00:00:00Z"),
            ("@midnight", "2024-02-29T00:00:00Z"),
            ("@hourly", "2024-02-28T13:00:00Z"),
            ("@every 90s", "2024-02-28T12:36:26Z"),
            ("@every 1h30m", "2024-02-28T14:04:56Z"),
            ("@every 1.9s", "2024-02-28T12:34:57Z"),
            ("@every 1ms", "2024-02-28T12:34:57Z"),
        ];
        for (schedule, expected) in cases {
            assert_eq!(next(schedule, from), expected, "{schedule}");
        }
        for bad in ["@every", "@every ", "@every x", "@every 5", "@every 1h x"] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn s10_02_field_syntax() {
        let from = "2024-05-06T07:08:09Z";
        let cases = [
            ("* * * * *", "2024-05-06T07:09:00Z"),
            ("? ? ? ? ?", "2024-05-06T07:09:00Z"),
            ("5,10,20 * * * *", "2024-05-06T07:10:00Z"),
            ("30-40/5 * * * *", "2024-05-06T07:30:00Z"),
            ("*/20 * * * *", "2024-05-06T07:20:00Z"),
            ("50/5 * * * *", "2024-05-06T07:50:00Z"),
            ("0 0 * JAN *", "2025-01-01T00:00:00Z"),
            ("0 0 * feb-mar *", "2025-02-01T00:00:00Z"),
            ("0 0 * * SUN", "2024-05-12T00:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("8 7 * * *", "2024-05-07T07:08:00Z"),
        ];
        for (schedule, expected) in cases {
            assert_eq!(next(schedule, from), expected, "{schedule}");
        }
        let bad = [
            ("0 0 * * 7", "end of range (7) above maximum (6): 7"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* 24 * * *", "end of range (24) above maximum (23): 24"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * 32 * *", "end of range (32) above maximum (31): 32"),
            ("* * * 13 *", "end of range (13) above maximum (12): 13"),
            ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("-1 * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax"),
            ("* * L * *", "failed to parse int from L: strconv.Atoi: parsing \"L\": invalid syntax"),
            ("* * * * mon#1", "failed to parse int from mon#1: strconv.Atoi: parsing \"mon#1\": invalid syntax"),
        ];
        for (schedule, expected) in bad {
            assert_eq!(error(schedule), expected, "{schedule}");
        }
    }

    #[test]
    fn s10_03_restricted_days_of_month_and_week_are_alternatives() {
        let from = "2024-09-01T00:00:00Z";
        let days =
            |schedule| times(schedule, from, &TimeZone::UTC, 3).iter().map(|t| t[8..10].to_owned()).collect::<Vec<_>>();
        assert_eq!(days("0 0 13 * 5"), ["06", "13", "20"]);
        assert_eq!(days("0 0 13 * *"), ["13", "13", "13"]);
        assert_eq!(days("0 0 * * 5"), ["06", "13", "20"]);
        assert_eq!(days("0 0 */1 * 5"), ["06", "13", "20"]);
        assert_eq!(days("0 0 */10 * 5"), ["06", "11", "13"]);
    }

    #[test]
    fn s10_04_a_zone_in_the_schedule_wins() {
        let schedule = Schedule::parse("CRON_TZ=UTC 0 2 * * *").unwrap();
        let at = schedule.next("2024-01-01T00:00:00Z".parse().unwrap(), &berlin()).unwrap();
        assert_eq!(at.to_string(), "2024-01-01T02:00:00Z");
        assert!(Schedule::parse("TZ=No/Where 0 2 * * *").is_err());
        assert!(Schedule::parse("TZ=UTC").is_err());
    }

    #[test]
    fn s10_05_a_time_that_does_not_exist_in_spring_is_skipped() {
        assert_eq!(
            times("30 2 * * *", "2024-03-30T00:00:00Z", &berlin(), 2),
            ["2024-03-30T01:30:00Z", "2024-04-01T00:30:00Z"]
        );
    }

    #[test]
    fn s10_05_a_time_that_occurs_twice_in_autumn_runs_twice() {
        assert_eq!(
            times("30 2 * * *", "2024-10-26T12:00:00Z", &berlin(), 3),
            ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z", "2024-10-28T01:30:00Z"]
        );
    }

    #[test]
    fn s10_05_hourly_and_minute_schedules_have_no_gaps() {
        for from in ["2024-03-30T23:30:00Z", "2024-10-26T22:30:00Z"] {
            for (schedule, gap) in [("0 * * * *", 3600), ("*/20 * * * *", 1200)] {
                let all = times(schedule, from, &berlin(), 12);
                let seconds: Vec<i64> = all.iter().map(|t| t.parse::<Timestamp>().unwrap().as_second()).collect();
                assert!(seconds.windows(2).all(|w| w[1] - w[0] == gap), "{schedule} {all:?}");
            }
        }
    }

    #[test]
    fn s10_05_midnight_that_does_not_exist_is_survived() {
        // In this zone summer time starts at midnight.
        let zone = TimeZone::posix("<-03>3<-02>,M10.3.0/0,M2.3.0/0").unwrap();
        let all = times("0 0 * * *", "2024-10-19T12:00:00Z", &zone, 3);
        let seconds: Vec<i64> = all.iter().map(|t| t.parse::<Timestamp>().unwrap().as_second()).collect();
        assert!(seconds.windows(2).all(|w| w[1] > w[0]), "{all:?}");
    }

    #[test]
    fn s10_24_a_schedule_that_never_matches_has_no_next_time() {
        for never in ["0 0 31 2 *", "0 0 30 feb *", ", * * * *"] {
            let schedule = Schedule::parse(never).unwrap();
            assert_eq!(schedule.next("2024-01-01T00:00:00Z".parse().unwrap(), &berlin()), None);
        }
    }

    proptest! {
        #[test]
        fn the_next_time_is_later_and_matches(
            minute in "(\\*|\\*/[1-9]|[0-9]|[1-5][0-9](-59)?)", hour in "(\\*|\\*/[1-9]|[0-9]|1[0-9],20-22)",
            day in "(\\*|[1-9]|1-28/[2-5])", month in "(\\*|[1-9]|\\*/2)", weekday in "(\\*|[0-6]|mon-fri)",
            from in 0_i64..4_000_000_000, summer in any::<bool>(),
        ) {
            let zone = if summer { berlin() } else { TimeZone::UTC };
            let schedule = Schedule::parse(&format!("{minute} {hour} {day} {month} {weekday}")).unwrap();
            let from = Timestamp::from_second(from).unwrap();
            let Kind::Fields(fields) = schedule.kind else { unreachable!() };
            if let Some(at) = schedule.next(from, &zone) {
                prop_assert!(at > from);
                let clock = Clock { unix: at.as_second(), zone: &zone };
                let local = clock.local();
                prop_assert_eq!(local.second(), 0);
                prop_assert!(has(fields.minute, local.minute()) && has(fields.hour, local.hour()));
                prop_assert!(has(fields.month, local.month()) && fields.day_matches(&clock));
            }
        }

    }

    proptest! {
        // Each case walks two days minute by minute.
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn nothing_that_matches_is_passed_over(minute in 0_i8..60, hour in 0_i8..24, from in 1_700_000_000_i64..1_760_000_000) {
            let schedule = Schedule::parse(&format!("{minute} {hour} * * *")).unwrap();
            let from = Timestamp::from_second(from).unwrap();
            let found = schedule.next(from, &berlin()).unwrap();
            let zone = berlin();
            let first = (1..=50 * 60).map(|n| Clock { unix: from.as_second().div_euclid(60) * 60 + n * 60, zone: &zone })
                .find(|c| (c.local().minute(), c.local().hour()) == (minute, hour)).unwrap();
            prop_assert_eq!(found.as_second(), first.unix);
        }
    }

    proptest! {

        #[test]
        fn no_text_panics(text in "[-*/0-9, @a-zL#?]{0,24}", from in any::<i32>()) {
            if let Ok(schedule) = Schedule::parse(&text) {
                let _ = schedule.next(Timestamp::from_second(from.into()).unwrap(), &TimeZone::UTC);
            }
        }
    }
}
