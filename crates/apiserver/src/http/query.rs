//! Query strings and the options that the API reads from them.

use apimachinery::status::ApiError;

use crate::error::invalid_options;

/// Decoded pairs of a query string, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a query string.
    ///
    /// # Errors
    /// There are more than [`MOST_PAIRS`] pairs.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .take(MOST_PAIRS + 1)
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        if pairs.len() > MOST_PAIRS {
            return Err(ApiError::bad_request(format!("more than {MOST_PAIRS} query parameters")));
        }
        Ok(Self(pairs))
    }

    /// The first value of this key.
    pub(crate) fn first(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first value of this key, unless empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.first(key).filter(|value| !value.is_empty())
    }

    /// Every value of this key.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A boolean by the rules of `conversion.Convert_Slice_string_To_bool`: present means true,
    /// unless it says `false` or `0`.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.first(key).map(|value| !(value.eq_ignore_ascii_case("false") || value == "0"))
    }

    /// An integer.
    ///
    /// # Errors
    /// The text is not an integer.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")))
    }
}

/// A bound against absurd requests; the API knows fewer than 20 parameters.
const MOST_PAIRS: usize = 128;

/// `metav1.ListOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListOptions {
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) limit: Option<usize>,
    pub(crate) continue_token: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) resource_version_match: Option<String>,
    pub(crate) watch: bool,
    pub(crate) allow_bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
}

impl ListOptions {
    /// Reads the options of a list, watch or collection deletion.
    pub(crate) fn from_query(query: &Query) -> Result<Self, ApiError> {
        let options = Self {
            label_selector: query.first("labelSelector").unwrap_or_default().to_owned(),
            field_selector: query.first("fieldSelector").unwrap_or_default().to_owned(),
            limit: query.integer("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0),
            continue_token: query.text("continue").map(str::to_owned),
            resource_version: query.text("resourceVersion").map(str::to_owned),
            resource_version_match: query.text("resourceVersionMatch").map(str::to_owned),
            watch: query.flag("watch").unwrap_or_default(),
            allow_bookmarks: query.flag("allowWatchBookmarks").unwrap_or_default(),
            send_initial_events: query.flag("sendInitialEvents"),
            timeout_seconds: query.integer("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()),
        };
        options.validate()?;
        Ok(options)
    }

    /// The rules of `ValidateListOptions` (apimachinery, `meta/internalversion/validation`).
    fn validate(&self) -> Result<(), ApiError> {
        let mut problems = Vec::new();
        let forbidden = |field: &str, why: &str| format!("{field}: Forbidden: {why}");
        if self.watch && self.send_initial_events.is_some() {
            if self.resource_version_match.as_deref() != Some("NotOlderThan") {
                problems.push(forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            if self.limit.is_some() || self.continue_token.is_some() {
                let field = if self.limit.is_some() { "limit" } else { "continue" };
                problems.push(forbidden(field, &format!("{field} is forbidden when sendInitialEvents is provided")));
            }
        } else {
            self.validate_match(&forbidden, &mut problems);
        }
        if !self.watch && self.send_initial_events.is_some() {
            problems.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        if problems.is_empty() { Ok(()) } else { Err(invalid_options("ListOptions", &problems)) }
    }

    fn validate_match(&self, forbidden: &dyn Fn(&str, &str) -> String, problems: &mut Vec<String>) {
        let Some(rule) = self.resource_version_match.as_deref() else { return };
        const FIELD: &str = "resourceVersionMatch";
        if self.watch {
            problems.push(forbidden(
                FIELD,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if self.resource_version.is_none() {
            problems.push(forbidden(FIELD, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        if self.continue_token.is_some() {
            problems.push(forbidden(FIELD, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if rule != "Exact" && rule != "NotOlderThan" {
            problems
                .push(format!("{FIELD}: Unsupported value: \"{rule}\": supported values: \"Exact\", \"NotOlderThan\""));
        }
        if rule == "Exact" && self.resource_version.as_deref() == Some("0") {
            problems.push(forbidden(FIELD, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(query: &str) -> Result<ListOptions, ApiError> {
        ListOptions::from_query(&Query::parse(Some(query))?)
    }

    #[test]
    fn options_are_decoded_and_flags_follow_the_go_rules() {
        let found =
            options("labelSelector=a%3Db%2Cc&limit=5&watch&allowWatchBookmarks=1&timeoutSeconds=7").expect("ok");
        assert_eq!(found.label_selector, "a=b,c");
        assert_eq!((found.limit, found.watch, found.allow_bookmarks), (Some(5), true, true));
        assert_eq!(found.timeout_seconds, Some(7));
        assert!(!options("watch=False").expect("ok").watch);
        assert!(!options("watch=0").expect("ok").watch);
    }

    #[test]
    fn contradictory_options_are_refused_with_the_known_texts() {
        for (query, want) in [
            ("limit=x", "strconv.ParseInt"),
            ("resourceVersionMatch=Exact", "forbidden unless resourceVersion is provided"),
            ("resourceVersionMatch=Exact&resourceVersion=0", "is forbidden for resourceVersion \"0\""),
            ("resourceVersionMatch=Foo&resourceVersion=1", "supported values"),
            ("watch=1&sendInitialEvents=true", "requires setting resourceVersionMatch to NotOlderThan"),
            ("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
        ] {
            let error = options(query).expect_err(query).to_string();
            assert!(error.contains(want), "{query}: {error}");
        }
    }

    #[test]
    fn absurdly_many_parameters_are_refused() {
        assert!(Query::parse(Some(&"a=b&".repeat(MOST_PAIRS + 1))).is_err());
    }
}
