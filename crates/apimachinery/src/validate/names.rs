//! What names, label keys and label values may look like.
//!
//! Source of rules and texts: apimachinery `pkg/util/validation`. Every function returns the problems found, worded
//! as Kubernetes words them; none means the text is fine.

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

/// Checks an RFC 1123 label: lower case, digits, `-`, at most 63.
///
/// ```
/// use apimachinery::validate::names::dns_label;
/// assert!(dns_label("my-app-1").is_empty());
/// assert!(dns_label("My_App")[0].starts_with("a lowercase RFC 1123 label must consist of"));
/// ```
pub fn dns_label(text: &str) -> Vec<String> {
    let mut problems = too_long(text, LABEL_MAX);
    if !is_dns_label(text) {
        problems.push(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
             end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .into(),
        );
    }
    problems
}

/// Checks an RFC 1035 label, as services are named: as [`dns_label`], but with a letter at the beginning.
///
/// ```
/// use apimachinery::validate::names::dns_1035_label;
/// assert!(dns_1035_label("my-app-1").is_empty());
/// assert_eq!(dns_1035_label("1-app").len(), 1);
/// ```
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut problems = too_long(text, LABEL_MAX);
    if !is_dns_label(text) || text.starts_with(|first: char| first.is_ascii_digit()) {
        problems.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
             validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .into(),
        );
    }
    problems
}

/// Checks an RFC 1123 subdomain: labels joined by dots, at most 253.
///
/// ```
/// use apimachinery::validate::names::dns_subdomain;
/// assert!(dns_subdomain("a.b-c.d").is_empty());
/// assert_eq!(dns_subdomain("a..b").len(), 1);
/// ```
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut problems = too_long(text, SUBDOMAIN_MAX);
    if !text.split('.').all(is_dns_label) {
        problems.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .into(),
        );
    }
    problems
}

/// Checks a qualified name: label keys, annotation keys, condition types.
///
/// ```
/// use apimachinery::validate::names::qualified_name;
/// assert!(qualified_name("app.kubernetes.io/Name_1").is_empty());
/// assert_eq!(qualified_name("a/b/c").len(), 1);
/// assert_eq!(qualified_name("/a")[0], "prefix part must be non-empty");
/// ```
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, rest)) if rest.contains('/') => {
            return vec![format!(
                "a qualified name {NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".into());
            } else {
                problems.extend(dns_subdomain(prefix).into_iter().map(|p| format!("prefix part {p}")));
            }
            name
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".into());
    } else {
        problems.extend(too_long(name, LABEL_MAX).into_iter().map(|p| format!("name part {p}")));
    }
    if !is_name_part(name) {
        problems.push(format!("name part {NAME_RULE}"));
    }
    problems
}

/// Checks the value of a label; empty is fine.
///
/// ```
/// use apimachinery::validate::names::label_value;
/// assert!(label_value("").is_empty() && label_value("v1.2_x").is_empty());
/// assert_eq!(label_value("-a").len(), 1);
/// ```
pub fn label_value(text: &str) -> Vec<String> {
    let mut problems = too_long(text, LABEL_MAX);
    if !text.is_empty() && !is_name_part(text) {
        problems.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
             validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .into(),
        );
    }
    problems
}

/// Checks the name of a port (IANA service name).
///
/// ```
/// use apimachinery::validate::names::port_name;
/// assert!(port_name("http-1").is_empty());
/// assert!(!port_name("1").is_empty() && !port_name("a--b").is_empty() && !port_name("far-too-long-name").is_empty());
/// ```
pub fn port_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 15 {
        problems.push("must be no more than 15 characters".into());
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".into());
    }
    if text.contains("--") {
        problems.push("must not contain consecutive hyphens".into());
    }
    if text.starts_with('-') || text.ends_with('-') {
        problems.push("must not begin or end with a hyphen".into());
    }
    problems
}

/// Checks a port number.
///
/// ```
/// use apimachinery::validate::names::port_number;
/// assert!(port_number(80).is_empty());
/// assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
/// ```
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".into()] }
}

/// Checks the name of an environment variable: printable ASCII without `=` (relaxed rule, GA 1.34).
///
/// ```
/// use apimachinery::validate::names::env_name;
/// assert!(env_name("a.b-c").is_empty() && env_name("1A").is_empty());
/// assert!(!env_name("A=B").is_empty() && !env_name("").is_empty());
/// ```
pub fn env_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
}

/// Checks a key of a ConfigMap or Secret.
///
/// ```
/// use apimachinery::validate::names::config_key;
/// assert!(config_key("app.conf").is_empty());
/// assert!(!config_key("..").is_empty() && !config_key("a/b").is_empty());
/// ```
pub fn config_key(text: &str) -> Vec<String> {
    let mut problems = too_long(text, SUBDOMAIN_MAX);
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        problems.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .into(),
        );
    }
    match text {
        "." => problems.push("must not be '.'".into()),
        ".." => problems.push("must not be '..'".into()),
        text if text.starts_with("..") => problems.push("must not start with '..'".into()),
        _ => {}
    }
    problems
}

/// Checks the name of an HTTP header.
///
/// ```
/// use apimachinery::validate::names::http_header;
/// assert!(http_header("X-Forwarded-For").is_empty());
/// assert!(!http_header("a b").is_empty());
/// ```
pub fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for \
         validation is '[-A-Za-z0-9]+')"
            .into(),
    ]
}

/// Checks a path with a domain in front (`example.com/controller`).
///
/// ```
/// use apimachinery::validate::names::domain_prefixed_path;
/// assert!(domain_prefixed_path("example.com/a/b").is_empty());
/// assert!(!domain_prefixed_path("a").is_empty());
/// ```
pub fn domain_prefixed_path(text: &str) -> Vec<String> {
    let Some((domain, path)) = text.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty())
    else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".into()];
    };
    let mut problems = dns_subdomain(domain);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/%~!$&'()*+,;=:@_.-".contains(&b);
    if !path.bytes().all(allowed) {
        problems.push(
            "Invalid path (e.g. 'a/b/c', regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')".into(),
        );
    }
    problems
}

const NAME_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn too_long(text: &str, max: usize) -> Vec<String> {
    if text.len() > max { vec![format!("must be no more than {max} bytes")] } else { Vec::new() }
}

fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    is_bounded(text, inner, |b| inner(b) || b == b'-')
}

fn is_name_part(text: &str) -> bool {
    is_bounded(text, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Tells whether a text is not empty, starts and ends with `edge` bytes and has only `inner` bytes.
fn is_bounded(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(b)) if edge(*a) && edge(*b))
        && bytes.iter().all(|b| inner(*b))
}
