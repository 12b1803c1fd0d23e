//! Resource quantities as exact numbers, as far as the agent needs them.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Billionths of one unit; 2^60 of them still fit more than a billion times.
type Nano = i128;

const NANO: Nano = 1_000_000_000;

/// Returns the value in billionths; `None` when the text is no quantity.
fn nano(quantity: &Quantity) -> Option<Nano> {
    let text = quantity.0.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (num, den) = multiplier(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let whole = whole.trim_start_matches(['+', '-']);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let product = digits.parse::<i128>().ok()?.checked_mul(NANO)?.checked_mul(num)?;
    let divisor = den.checked_mul(scale)?;
    let value = product.checked_add(divisor - 1)? / divisor;
    Some(if negative { -value } else { value })
}

/// Returns the factor of a suffix as numerator and denominator.
fn multiplier(suffix: &str) -> Option<(i128, i128)> {
    let power = |base: i128, n: u32| base.checked_pow(n);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (power(1000, 2)?, 1),
        "G" => (power(1000, 3)?, 1),
        "T" => (power(1000, 4)?, 1),
        "P" => (power(1000, 5)?, 1),
        "E" => (power(1000, 6)?, 1),
        "Ki" => (1024, 1),
        "Mi" => (power(1024, 2)?, 1),
        "Gi" => (power(1024, 3)?, 1),
        "Ti" => (power(1024, 4)?, 1),
        "Pi" => (power(1024, 5)?, 1),
        "Ei" => (power(1024, 6)?, 1),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let n: i32 = digits.parse().ok()?;
            let size = power(10, n.unsigned_abs())?;
            if n < 0 { (1, size) } else { (size, 1) }
        }
    })
}

/// Returns whole units, rounded up.
pub(crate) fn units(quantity: &Quantity) -> i64 {
    nano(quantity).map_or(0, |n| saturate(ceil_div(n, NANO)))
}

/// Returns thousandths, rounded up.
pub(crate) fn milli(quantity: &Quantity) -> i64 {
    nano(quantity).map_or(0, |n| saturate(ceil_div(n, NANO / 1000)))
}

/// Divides and rounds up.
pub(crate) fn ceil_div(value: i128, divisor: i128) -> i128 {
    if divisor == 0 { 0 } else { value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) != 0) }
}

/// Narrows, stopping at the ends of the range.
pub(crate) fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_all_notations() {
        let cases = [
            ("0", 0, 0),
            ("1", 1, 1000),
            ("500m", 1, 500),
            ("1.5", 2, 1500),
            (".5", 1, 500),
            ("128Mi", 134_217_728, 134_217_728_000),
            ("1e3", 1000, 1_000_000),
            ("1E3", 1000, 1_000_000),
            ("5E", 5_000_000_000_000_000_000, i64::MAX),
            ("100u", 1, 1),
            ("1500n", 1, 1),
            ("12e-1", 2, 1200),
            ("-1", -1, -1000),
            ("", 0, 0),
            ("abc", 0, 0),
        ];
        for (text, want_units, want_milli) in cases {
            let q = Quantity(text.to_owned());
            assert_eq!((units(&q), milli(&q)), (want_units, want_milli), "{text:?}");
        }
    }
}
