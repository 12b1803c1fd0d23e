//! Selection by labels.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;
use serde_json::Value;

use super::{MAX_SELECTOR_BYTES, SelectorError};
use crate::validate::names;

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The label is there and has one of the values.
    In,
    /// The label has none of the values, or is not there.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// The label is an integer greater than the value.
    GreaterThan,
    /// The label is an integer less than the value.
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Key of the label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; empty for the existence operators.
    pub values: Vec<String>,
}

/// Conditions of which all must hold. Without conditions it matches everything.
///
/// ```
/// use apimachinery::selector::LabelSelector;
/// let selector = LabelSelector::parse("app in (web, api), tier!=db, !old").unwrap();
/// let labels = [("app", "web")];
/// assert!(selector.matches(|key| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Reads the text form (`labelSelector=` of a list request, `kubectl -l`).
    ///
    /// # Errors
    /// When the text is no selector, or a key or value cannot be one of a label.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(SelectorError::Syntax(format!("longer than {MAX_SELECTOR_BYTES} bytes")));
        }
        let requirements = Parser { tokens: tokenize(text)?, at: 0 }.requirements()?;
        Ok(Self { requirements })
    }

    /// Takes over the form in which objects hold selectors.
    ///
    /// # Errors
    /// For an unknown operator, or keys and values that no label can have.
    pub fn from_api(selector: &ApiSelector) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::new(key.clone(), Operator::In, vec![value.clone()])?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError::Syntax(format!("{other:?} is not a valid label selector operator")));
                }
            };
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(Requirement::new(expression.key.clone(), operator, values)?);
        }
        Ok(Self { requirements })
    }

    /// Selects exactly these labels.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let requirements = labels
            .into_iter()
            .map(|(key, value)| Requirement { key: key.into(), operator: Operator::In, values: vec![value.into()] })
            .collect();
        Self { requirements }
    }

    /// Returns the conditions.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Tells whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Tells whether all conditions hold for labels that `get` looks up.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|r| r.matches(get(&r.key)))
    }

    /// Tells whether all conditions hold for these labels.
    pub fn matches_map(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.matches(|key| labels.and_then(|l| l.get(key)).map(String::as_str))
    }

    /// Tells whether all conditions hold for `metadata.labels` of an object.
    ///
    /// ```
    /// use apimachinery::selector::LabelSelector;
    /// let pod = serde_json::json!({"metadata": {"labels": {"app": "web"}}});
    /// assert!(LabelSelector::parse("app=web").unwrap().matches_object(&pod));
    /// assert!(!LabelSelector::parse("app!=web").unwrap().matches_object(&pod));
    /// ```
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = object.get("metadata").and_then(|m| m.get("labels"));
        self.matches(|key| labels.and_then(|l| l.get(key)).and_then(Value::as_str))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl Requirement {
    /// Makes a condition after checking its parts.
    ///
    /// # Errors
    /// For keys and values that no label can have, and for the wrong number of values.
    pub fn new(key: String, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        let bad = |what: String| Err(SelectorError::Syntax(what));
        if let Some(problem) = names::qualified_name(&key).first() {
            return bad(format!("key: Invalid value: {key:?}: {problem}"));
        }
        match (operator, values.len()) {
            (Operator::In | Operator::NotIn, 0) => {
                return bad("for 'in', 'notin' operators, values set can't be empty".into());
            }
            (Operator::Exists | Operator::DoesNotExist, 1..) => {
                return bad("values set must be empty for exists and does not exist".into());
            }
            (Operator::GreaterThan | Operator::LessThan, n) if n != 1 => {
                return bad("for 'Gt', 'Lt' operators, exactly one value is required".into());
            }
            _ => {}
        }
        for value in &values {
            let comparison = matches!(operator, Operator::GreaterThan | Operator::LessThan);
            if comparison && value.parse::<i64>().is_err() {
                return bad("for 'Gt', 'Lt' operators, the value must be an integer".into());
            }
            if let Some(problem) = names::label_value(value).first() {
                return bad(format!("values: Invalid value: {value:?}: {problem}"));
            }
        }
        Ok(Self { key, operator, values })
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let listed = |v: &str| self.values.iter().any(|x| x == v);
        let number = |v: &str| v.parse::<i64>().ok();
        let bound = self.values.first().and_then(|v| number(v));
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => matches!((value.and_then(number), bound), (Some(v), Some(b)) if v > b),
            Operator::LessThan => matches!((value.and_then(number), bound), (Some(v), Some(b)) if v < b),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let mut sorted = self.values.clone();
        sorted.sort_unstable();
        let list = sorted.join(",");
        match self.operator {
            Operator::In if sorted.len() == 1 => write!(f, "{key}={list}"),
            Operator::NotIn if sorted.len() == 1 => write!(f, "{key}!={list}"),
            Operator::In => write!(f, "{key} in ({list})"),
            Operator::NotIn => write!(f, "{key} notin ({list})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{list}"),
            Operator::LessThan => write!(f, "{key}<{list}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// One of `( ) , ! = == != < >`.
    Sign(&'static str),
}

const SIGNS: &[&str] = &["==", "!=", "=", "!", "(", ")", ",", "<", ">"];

fn tokenize(text: &str) -> Result<Vec<Token>, SelectorError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            tokens.push(Token::Sign(sign));
            rest = rest[sign.len()..].trim_start();
            continue;
        }
        let end = rest.find(|c: char| c.is_whitespace() || "()!=,<>".contains(c)).unwrap_or(rest.len());
        tokens.push(Token::Word(rest[..end].to_owned()));
        rest = rest[end..].trim_start();
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn requirements(mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut all = Vec::new();
        while let Some(token) = self.tokens.get(self.at) {
            if !matches!(token, Token::Word(_) | Token::Sign("!")) {
                return Err(unexpected(Some(token), "!, identifier, or 'end of string'"));
            }
            let wrong = |error| SelectorError::Syntax(format!("unable to parse requirement: {error}"));
            all.push(self.requirement().map_err(wrong)?);
            match self.next() {
                None => break,
                Some(Token::Sign(",")) => match self.tokens.get(self.at) {
                    Some(Token::Word(_) | Token::Sign("!")) => {}
                    other => return Err(unexpected(other, "identifier after ','")),
                },
                other => return Err(unexpected(other.as_ref(), "',' or 'end of string'")),
            }
        }
        Ok(all)
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.take("!") {
            let key = self.word()?;
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        let key = self.word()?;
        let token = self.tokens.get(self.at).cloned();
        let (operator, values) = match token {
            None | Some(Token::Sign(",")) => (Operator::Exists, Vec::new()),
            Some(Token::Sign(sign @ ("=" | "==" | "!=" | "<" | ">"))) => {
                self.at += 1;
                (sign_operator(sign), vec![self.optional_word()])
            }
            Some(Token::Word(word)) if word == "in" || word == "notin" => {
                self.at += 1;
                (if word == "in" { Operator::In } else { Operator::NotIn }, self.list()?)
            }
            other @ Some(Token::Word(_) | Token::Sign(_)) => {
                return Err(unexpected(other.as_ref(), "in, notin, =, ==, !=, gt, lt"));
            }
        };
        Requirement::new(key, operator, values)
    }

    fn list(&mut self) -> Result<Vec<String>, SelectorError> {
        if !self.take("(") {
            let found = found(self.tokens.get(self.at));
            return Err(SelectorError::Syntax(format!("found '{found}' expected: '('")));
        }
        let mut values = vec![self.optional_word()];
        loop {
            match self.next() {
                Some(Token::Sign(",")) => values.push(self.optional_word()),
                Some(Token::Sign(")")) => return Ok(values),
                other => return Err(unexpected(other.as_ref(), "',' or ')'")),
            }
        }
    }

    fn word(&mut self) -> Result<String, SelectorError> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(unexpected(other.as_ref(), "identifier")),
        }
    }

    /// Reads a value; an absent one is the empty string (`a=`).
    fn optional_word(&mut self) -> String {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => {
                self.at += 1;
                word.clone()
            }
            None | Some(Token::Sign(_)) => String::new(),
        }
    }

    fn take(&mut self, sign: &'static str) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        if found {
            self.at += 1;
        }
        found
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }
}

fn sign_operator(sign: &str) -> Operator {
    match sign {
        "!=" => Operator::NotIn,
        "<" => Operator::LessThan,
        ">" => Operator::GreaterThan,
        _ => Operator::In,
    }
}

/// The texts of errors are those of `labels.Parse`, their commas too.
fn unexpected(token: Option<&Token>, expected: &str) -> SelectorError {
    SelectorError::Syntax(format!("found '{}', expected: {expected}", found(token)))
}

fn found(token: Option<&Token>) -> &str {
    match token {
        None => "",
        Some(Token::Word(word)) => word,
        Some(Token::Sign(sign)) => sign,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn text_form_matches_as_documented() {
        let pod = json!({"metadata": {"labels": {"app": "web", "n": "5", "empty": "", "x.io/y": "z"}}});
        let cases = [
            ("", true),
            ("app", true),
            ("!app", false),
            ("other", false),
            ("!other", true),
            ("app=web", true),
            ("app==web", true),
            (" app = web , n = 5 ", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (api,web)", true),
            ("app notin (api,web)", false),
            ("other notin (a)", true),
            ("n>4", true),
            ("n<5", false),
            ("other>1", false),
            ("empty=", true),
            ("app=", false),
            ("empty in (,a)", true),
            ("x.io/y=z,app", true),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).unwrap().matches_object(&pod), expected, "{text}");
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in
            ["a b", "a in b", "a in (b", "a,", ",a", "=a", "a=b=c", "a>b", "-a", "a=-b-", "a in ()x", "!", "a!b"]
        {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_say_what_a_cluster_says() {
        let cases = [
            ("a in", "unable to parse requirement: found '' expected: '('"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ];
        for (text, error) in cases {
            assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn api_form_needs_all_expressions() {
        let api: ApiSelector = serde_json::from_value(json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}],
        }))
        .unwrap();
        let selector = LabelSelector::from_api(&api).unwrap();
        assert_eq!(selector.to_string(), "app=web,tier!=db");
        assert!(selector.matches_object(&json!({"metadata": {"labels": {"app": "web"}}})));
        assert!(!selector.matches_object(&json!({"metadata": {"labels": {"app": "web", "tier": "db"}}})));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_survives_the_way_back(text in "[ab!=<>(), in]{0,20}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap().to_string(), selector.to_string());
            }
        }
    }
}
