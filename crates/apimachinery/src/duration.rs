//! Durations in the notation of Go (`time.ParseDuration`).

/// Reads a duration in the notation of Go (`1h30m`, `1.5s`) as nanoseconds.
pub fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_i128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total = total.checked_add(part(number, unit)?)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

fn part(number: &str, unit: &str) -> Option<i128> {
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { i128::from(whole.parse::<u64>().ok()?) };
    let fraction = &fraction[..fraction.len().min(12)];
    let digits: i128 = if fraction.is_empty() { 0 } else { i128::from(fraction.parse::<u64>().ok()?) };
    let places = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    Some(whole * unit + digits * unit / places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_point_at_most() {
        assert_eq!(parse("1.5s"), Some(1_500_000_000));
        assert_eq!(parse("-1h.5m"), Some(-3_630_000_000_000));
        for wrong in ["1.2.3s", "1..s", "..s", ".s"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
