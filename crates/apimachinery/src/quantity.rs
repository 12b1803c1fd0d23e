//! Quantities of resources: `500m`, `1.5Gi`, `1e3`.
//!
//! Source of the rules: apimachinery `pkg/api/resource/quantity.go`.

use std::{cmp::Ordering, fmt, iter::Sum, ops::Add, str::FromStr};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

/// An exact number with the notation that it was given in.
///
/// Values are kept in units of 10⁻⁹, finer ones are rounded up; values beyond ±(2⁶³−1) are cut to that. Two quantities
/// are equal if their values are, whatever their notation.
///
/// ```
/// use apimachinery::quantity::Quantity;
/// let q: Quantity = "1.5Gi".parse().unwrap();
/// assert_eq!(q.to_string(), "1536Mi");
/// assert_eq!(q.ceil(), 1_610_612_736);
/// assert_eq!("0.5".parse::<Quantity>().unwrap(), "500m".parse().unwrap());
/// assert!("1.5.5".parse::<Quantity>().is_err());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    notation: Notation,
}

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Notation {
    /// `m`, `k`, `M`, …
    #[default]
    Decimal,
    /// `Ki`, `Mi`, …
    Binary,
    /// `e3`, `e6`, …
    Exponent,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It does not have the form of one.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// Its suffix is not known.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
const MAX: i128 = i64::MAX as i128 * NANO;

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, notation: Notation::Decimal };

    /// Makes a quantity of whole units, written decimally.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANO, notation: Notation::Decimal }
    }

    /// Makes a quantity of thousandths, written decimally.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * (NANO / 1000), notation: Notation::Decimal }
    }

    /// Makes a quantity of bytes, written with binary suffixes.
    ///
    /// ```
    /// use apimachinery::quantity::Quantity;
    /// assert_eq!(Quantity::from_bytes(2 << 30).to_string(), "2Gi");
    /// ```
    pub fn from_bytes(bytes: i64) -> Self {
        Self { notation: Notation::Binary, ..Self::from_units(bytes) }
    }

    /// Returns the whole units, rounded away from zero.
    pub fn ceil(&self) -> i64 {
        clamp(div_away(self.nanos, NANO))
    }

    /// Returns the thousandths, rounded away from zero.
    ///
    /// ```
    /// use apimachinery::quantity::Quantity;
    /// assert_eq!("1.5".parse::<Quantity>().unwrap().millis(), 1500);
    /// assert_eq!("1u".parse::<Quantity>().unwrap().millis(), 1);
    /// ```
    pub fn millis(&self) -> i64 {
        clamp(div_away(self.nanos, NANO / 1000))
    }

    /// Tells whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Tells whether it is less than nothing.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Tells whether it is a whole number of units.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }

    /// Returns the difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self + Self { nanos: -other.nanos, ..other }
    }
}

fn clamp(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

/// Divides and rounds away from zero.
fn div_away(n: i128, by: i128) -> i128 {
    let quotient = n / by;
    if n % by == 0 { quotient } else { quotient + n.signum() }
}

impl Add for Quantity {
    type Output = Self;

    /// Adds; nothing plus a quantity takes over its notation.
    fn add(self, other: Self) -> Self {
        let notation = if self.is_zero() { other.notation } else { self.notation };
        Self { nanos: (self.nanos + other.nanos).clamp(-MAX, MAX), notation }
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl Default for Quantity {
    fn default() -> Self {
        Self::ZERO
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::Format);
        }
        let (scale, notation) = parse_suffix(suffix)?;
        let nanos = scale.apply(whole, fraction).min(MAX);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, notation })
    }
}

/// What a suffix multiplies by.
enum Scale {
    /// A power of ten.
    Ten(i32),
    /// A power of 1024.
    Ki(u32),
}

impl Scale {
    /// Computes `whole.fraction × scale` in units of 10⁻⁹, rounded up and cut above [`MAX`].
    fn apply(&self, whole: &str, fraction: &str) -> i128 {
        match self {
            Self::Ten(exponent) => shift(whole, fraction, exponent.saturating_add(9)),
            Self::Ki(power) => {
                let factor = 1_i128 << (10 * power);
                let units = digits(whole).saturating_mul(factor).saturating_mul(NANO);
                // Binary fractions beyond 10⁻¹⁸ of the suffix cannot matter: even of an Ei they are about a unit.
                let fraction = &fraction[..fraction.len().min(18)];
                let ten = 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(18));
                let part = digits(fraction).saturating_mul(factor);
                let part = (part / ten).saturating_mul(NANO) + ((part % ten).saturating_mul(NANO) + ten - 1) / ten;
                units.saturating_add(part)
            }
        }
    }
}

/// Reads digits, cut far above any allowed value.
fn digits(text: &str) -> i128 {
    text.bytes().fold(0_i128, |n, b| n.saturating_mul(10).saturating_add(i128::from(b - b'0')))
}

/// Moves the decimal point of `whole.fraction` to the right by `places` and rounds up what stays behind it.
fn shift(whole: &str, fraction: &str, places: i32) -> i128 {
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(i64::from(places));
    let mut value = 0_i128;
    let mut rest = false;
    let mut count = 0_i64;
    for b in whole.bytes().chain(fraction.bytes()) {
        if count < point {
            value = value.saturating_mul(10).saturating_add(i128::from(b - b'0'));
        } else {
            rest |= b != b'0';
        }
        count += 1;
    }
    while count < point && value != 0 && value <= MAX {
        value = value.saturating_mul(10);
        count += 1;
    }
    value.saturating_add(i128::from(rest))
}

fn parse_suffix(suffix: &str) -> Result<(Scale, Notation), QuantityError> {
    use Notation::{Binary, Decimal, Exponent};
    Ok(match suffix {
        "n" => (Scale::Ten(-9), Decimal),
        "u" => (Scale::Ten(-6), Decimal),
        "m" => (Scale::Ten(-3), Decimal),
        "" => (Scale::Ten(0), Decimal),
        "k" => (Scale::Ten(3), Decimal),
        "M" => (Scale::Ten(6), Decimal),
        "G" => (Scale::Ten(9), Decimal),
        "T" => (Scale::Ten(12), Decimal),
        "P" => (Scale::Ten(15), Decimal),
        "E" => (Scale::Ten(18), Decimal),
        "Ki" => (Scale::Ki(1), Binary),
        "Mi" => (Scale::Ki(2), Binary),
        "Gi" => (Scale::Ki(3), Binary),
        "Ti" => (Scale::Ki(4), Binary),
        "Pi" => (Scale::Ki(5), Binary),
        "Ei" => (Scale::Ki(6), Binary),
        other => {
            let exponent = other.strip_prefix(['e', 'E']).ok_or_else(|| suffix_error(other))?;
            let exponent: i32 = exponent.parse().map_err(|_| suffix_error(other))?;
            (Scale::Ten(exponent), Exponent)
        }
    })
}

/// Tells a suffix of the right letters from text that has nothing to do with quantities.
fn suffix_error(suffix: &str) -> QuantityError {
    let letters = suffix.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['+', '-']);
    if letters.bytes().all(|b| b"eEinumkKMGTP".contains(&b)) { QuantityError::Suffix } else { QuantityError::Format }
}

const DECIMAL_SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl fmt::Display for Quantity {
    /// Writes the canonical form: no fraction, the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // Below one Ki a binary suffix would say less than a decimal one.
        if self.notation == Notation::Binary && self.nanos.abs() >= 1024 * NANO {
            let mut number = div_away(self.nanos, NANO);
            let mut power = 0;
            while number % 1024 == 0 && power + 1 < BINARY_SUFFIXES.len() {
                number /= 1024;
                power += 1;
            }
            return write!(f, "{number}{}", BINARY_SUFFIXES[power]);
        }
        let mut number = self.nanos;
        let mut power = 0;
        while number % 1000 == 0 && power + 1 < DECIMAL_SUFFIXES.len() {
            number /= 1000;
            power += 1;
        }
        match (self.notation, power) {
            (Notation::Exponent, 3) => write!(f, "{number}"),
            (Notation::Exponent, power) => {
                write!(f, "{number}e{}", (i64::try_from(power).unwrap_or_default() - 3) * 3)
            }
            (Notation::Decimal | Notation::Binary, power) => write!(f, "{number}{}", DECIMAL_SUFFIXES[power]),
        }
    }
}

impl TryFrom<&ApiQuantity> for Quantity {
    type Error = QuantityError;

    fn try_from(quantity: &ApiQuantity) -> Result<Self, QuantityError> {
        quantity.0.parse()
    }
}

impl From<Quantity> for ApiQuantity {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn q(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn canonical_form_is_that_of_kubernetes() {
        let cases = [
            ("0", "0"),
            ("0Gi", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("1000", "1k"),
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1.5", "1500m"),
            ("100m", "100m"),
            ("0.0001", "100u"),
            ("1024", "1024"),
            ("1Ki", "1Ki"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1023Ki", "1023Ki"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e6", "12e6"),
            ("1e-3", "1e-3"),
            ("1e1", "10"),
            ("1E", "1E"),
            ("-1.5", "-1500m"),
            ("+1", "1"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("129M", "129M"),
            ("1.1n", "2n"),
            ("-1.1n", "-2n"),
            ("9223372036854775807", "9223372036854775807"),
            ("99999999999999999999999999", "9223372036854775807"),
            ("1e100", "9223372036854775807"),
            ("100Ei", "9223372036854775807"),
        ];
        for (text, expected) in cases {
            assert_eq!(q(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in
            ["", ".", "-", "1.1.1", "abc", "1 Gi", "1gi", "1KI", "e3", "1e", "1e3.5", "1m5", "--1", "1Gii", "１"]
        {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
        assert_eq!("1KKi".parse::<Quantity>(), Err(QuantityError::Suffix));
        assert_eq!("1x".parse::<Quantity>(), Err(QuantityError::Format));
    }

    #[test]
    fn rounding_is_away_from_zero() {
        assert_eq!((q("1.1").ceil(), q("-1.1").ceil(), q("100u").millis(), q("1").millis()), (2, -2, 1, 1000));
    }

    #[test]
    fn sums_keep_the_notation_of_the_first_that_is_something() {
        assert_eq!(
            [q("0"), q("1Gi"), q("1M")].into_iter().sum::<Quantity>().to_string(),
            (q("1Gi") + q("1M")).to_string()
        );
        assert_eq!((q("512Mi") + q("512Mi")).to_string(), "1Gi");
        assert_eq!((q("250m") + q("750m")).to_string(), "1");
        assert_eq!(q("1").minus(q("250m")).to_string(), "750m");
    }

    proptest! {
        #[test]
        fn the_canonical_form_means_the_same(number in -1_000_000_000_i64..1_000_000_000, fraction in 0_u32..1000,
            suffix in prop::sample::select(vec!["n", "u", "m", "", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "e-3"])) {
            let text = format!("{number}.{fraction:03}{suffix}");
            let once = q(&text);
            let back = q(&once.to_string());
            // Binary notation has no fractions of a unit.
            if suffix.ends_with('i') { prop_assert_eq!(back.ceil(), once.ceil()) } else { prop_assert_eq!(back, once) }
            // A binary quantity that no power of 1024 divides is written without a suffix and read back as decimal.
            if once.to_string().ends_with('i') || !suffix.ends_with('i') {
                prop_assert_eq!(back.to_string(), once.to_string());
            }
        }

        #[test]
        fn adding_is_commutative_and_ordered(a in -1_000_000_i64..1_000_000, b in 0_i64..1_000_000) {
            let (a, b) = (Quantity::from_millis(a), Quantity::from_millis(b));
            prop_assert_eq!(a + b, b + a);
            prop_assert!(a + b >= a);
            prop_assert_eq!((a + b).minus(b), a);
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eEinumkKMGTP]{0,30}") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                prop_assert!(quantity.to_string().parse::<Quantity>().is_ok());
            }
        }
    }
}
