//! A moment as `strftime_now` shows it, in UTC. The caller supplies it, because a template that read the
//! clock would make one conversation into different prompts.

/// Seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date(i64);

/// Last second of the year 9999: later ones have no four-digit year.
const UNIX_SECONDS_MAX: i64 = 253_402_300_799;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A date and time of day in the proleptic Gregorian calendar.
struct Civil {
    year: i64,
    /// 1 to 12.
    month: usize,
    day: i64,
    /// 1 to 366.
    day_of_year: i64,
    /// 0 is Sunday.
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Date {
    /// A moment between 1970 and 9999; others are moved to the nearer end.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.clamp(0, UNIX_SECONDS_MAX))
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn unix_seconds(self) -> i64 {
        self.0
    }

    fn civil(self) -> Civil {
        let (mut days, seconds) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let weekday = (days + 4).rem_euclid(7) as usize;
        let mut year = 1970;
        // Whole cycles of 400 years first, then at most 400 steps.
        year += 400 * (days / 146_097);
        days %= 146_097;
        while days >= year_len(year) {
            days -= year_len(year);
            year += 1;
        }
        let day_of_year = days + 1;
        let mut month = 1;
        while days >= month_len(year, month) {
            days -= month_len(year, month);
            month += 1;
        }
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        Civil {
            year,
            month,
            day: days + 1,
            day_of_year,
            weekday,
            hour,
            minute,
            second,
        }
    }

    /// As Python's `strftime` in the C locale; `None` for a code that it leaves to the platform.
    pub(super) fn format(self, format: &str) -> Option<String> {
        let civil = self.civil();
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            let code = chars.next()?;
            // GNU's "-": no padding.
            let (code, is_bare) = if code == '-' {
                (chars.next()?, true)
            } else {
                (code, false)
            };
            let field = civil.field(code)?;
            text.push_str(if is_bare { unpadded(&field) } else { &field });
        }
        Some(text)
    }
}

fn unpadded(field: &str) -> &str {
    let bare = field.trim_start_matches(['0', ' ']);
    if bare.is_empty() { "0" } else { bare }
}

fn year_len(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_len(year: i64, month: usize) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Civil {
    fn field(&self, code: char) -> Option<String> {
        let month = MONTHS[self.month - 1];
        let weekday = DAYS[self.weekday];
        let hour12 = (self.hour + 11) % 12 + 1;
        Some(match code {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year % 100),
            'm' => format!("{:02}", self.month),
            'B' => month.to_owned(),
            'b' | 'h' => month[..3].to_owned(),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year),
            'A' => weekday.to_owned(),
            'a' => weekday[..3].to_owned(),
            'w' => self.weekday.to_string(),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{hour12:02}"),
            'M' => format!("{:02}", self.minute),
            'S' => format!("{:02}", self.second),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Date;

    /// Made with Python: `datetime.fromtimestamp(s, timezone.utc).strftime(f)`.
    #[test]
    fn dates_are_those_of_strftime() {
        let format = "%Y %y %m %B %b %d %j %A %a %w %H %I %M %S %p %%";
        let cases = [
            (
                0,
                "1970 70 01 January Jan 01 001 Thursday Thu 4 00 12 00 00 AM %",
            ),
            (
                951_782_399,
                "2000 00 02 February Feb 28 059 Monday Mon 1 23 11 59 59 PM %",
            ),
            (
                951_868_799,
                "2000 00 02 February Feb 29 060 Tuesday Tue 2 23 11 59 59 PM %",
            ),
            (
                1_795_507_200,
                "2026 26 11 November Nov 24 328 Tuesday Tue 2 08 08 00 00 AM %",
            ),
            (
                4_107_542_400,
                "2100 00 03 March Mar 01 060 Monday Mon 1 00 12 00 00 AM %",
            ),
        ];
        for (seconds, expected) in cases {
            assert_eq!(
                Date::from_unix_seconds(seconds).format(format).unwrap(),
                expected
            );
        }
        let date = Date::from_unix_seconds(0);
        assert_eq!(
            date.format("%-d %-m %e|%F %T").unwrap(),
            "1 1  1|1970-01-01 00:00:00"
        );
        assert_eq!(date.format("%Q"), None);
        assert_eq!(date.format("%"), None);
    }
}
