//! The part of `convert` that reads dates, lengths of time and rates.

use std::time::Duration;

use crate::domain::provider::Rate;

use super::convert::Convert;

impl Convert {
    pub(super) fn date(&mut self, checked: toml::value::Datetime) -> Option<String> {
        let date = checked.date.filter(|_| checked.time.is_none());
        if date.is_none() {
            self.fault("checked", "must be a date such as 2026-11-21, without quotes");
        }
        date.map(|date| date.to_string())
    }

    /// A whole number and a unit of time: `10/s`, `600/m`, `5000/h`.
    pub(super) fn rate(&mut self, at: &str, text: Option<&str>) -> Option<Rate> {
        let read = |text: &str| {
            let (count, unit) = text.split_once('/')?;
            let (_, seconds) = [("s", 1), ("m", 60), ("h", 3_600)].into_iter().find(|(known, _)| *known == unit)?;
            let count = count.parse().ok().filter(|count| (1..=1_000_000).contains(count))?;
            Some(Rate::new(count, Duration::from_secs(seconds)))
        };
        let rate = read(text?);
        if rate.is_none() {
            self.fault(at, "must be a whole number and one of /s, /m, /h, such as \"10/s\"");
        }
        rate
    }

    /// A whole number and a unit: `30s`, `10m`, `8h`, `90d`.
    pub(super) fn duration(&mut self, at: &str, text: Option<&str>) -> Option<Duration> {
        let text = text?;
        let read = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let unit = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            // Three thousand years are enough for everybody.
            number
                .parse::<u64>()
                .ok()
                .filter(|number| (1..=1_000_000).contains(number))
                .map(|number| Duration::from_secs(number * unit))
        };
        let duration = read();
        if duration.is_none() {
            self.fault(at, "must be a whole number and one of s, m, h, d, such as \"90d\"");
        }
        duration
    }
}
