//! Time stamps in the two formats of the API.

use jiff::{Timestamp, fmt::strtime};

/// Formats as `metav1.Time`: RFC 3339, UTC, whole seconds (cut, not rounded).
///
/// ```
/// let t = "2024-05-06T07:08:09.987654321Z".parse().unwrap();
/// assert_eq!(apimachinery::time::seconds(t), "2024-05-06T07:08:09Z");
/// ```
pub fn seconds(at: Timestamp) -> String {
    format(at, "%Y-%m-%dT%H:%M:%SZ")
}

/// Formats as `metav1.MicroTime`: RFC 3339, UTC, always six digits of fraction.
///
/// ```
/// let t = "2024-05-06T07:08:09.5Z".parse().unwrap();
/// assert_eq!(apimachinery::time::micros(t), "2024-05-06T07:08:09.500000Z");
/// ```
pub fn micros(at: Timestamp) -> String {
    format(at, "%Y-%m-%dT%H:%M:%S.%6fZ")
}

/// Formats as RFC 3339 in UTC with nine digits of fraction, as the CRI log format has it.
///
/// ```
/// let t = "2024-05-06T07:08:09.5Z".parse().unwrap();
/// assert_eq!(apimachinery::time::nanos(t), "2024-05-06T07:08:09.500000000Z");
/// ```
pub fn nanos(at: Timestamp) -> String {
    format(at, "%Y-%m-%dT%H:%M:%S.%9fZ")
}

/// Parses any RFC 3339 time.
///
/// ```
/// use apimachinery::time;
/// assert_eq!(time::seconds(time::parse("2024-05-06T09:08:09+02:00").unwrap()), "2024-05-06T07:08:09Z");
/// assert!(time::parse("yesterday").is_none());
/// ```
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn format(at: Timestamp, pattern: &str) -> String {
    // The patterns above are constant and valid for every time stamp; the fallback is RFC 3339 as well.
    strtime::format(pattern, at).unwrap_or_else(|_| at.to_string())
}
