//! `$(NAME)` references (third_party/forked/golang/expansion, contract S11-17, S11-22).

/// Expands the references in `input`. `$$` is a literal `$`; an unclosed or malformed reference stays
/// as it is. `lookup` decides what a reference becomes.
pub(crate) fn expand(input: &str, mut lookup: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            tail
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|body| body.split_once(')')) {
            out.push_str(&lookup(name));
            tail
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    out
}

/// Expands references to known variables; unknown ones stay as text.
pub(crate) fn expand_known<'a>(input: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    expand(input, |name| lookup(name).map_or_else(|| format!("$({name})"), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_17_references_are_expanded_as_the_kubelet_does() {
        let cases = [
            ("plain", "plain"),
            ("$(A)", "a"),
            ("x$(A)y$(B)z", "xaybz"),
            ("$(MISSING)", "$(MISSING)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$a"),
            ("$$$$(A)", "$$(A)"),
            ("$(A", "$(A"),
            ("$A", "$A"),
            ("cost: 5$", "cost: 5$"),
            ("$()", "$()"),
            ("$(A)$", "a$"),
            ("$$", "$"),
            ("$(EMPTY)|", "|"),
            ("$(NESTED)", "$(A)"),
            ("ä$(A)ö", "äaö"),
        ];
        for (input, want) in cases {
            let got = expand_known(input, |name| match name {
                "A" => Some("a"),
                "B" => Some("b"),
                "EMPTY" => Some(""),
                "NESTED" => Some("$(A)"),
                _ => None,
            });
            assert_eq!(got, want, "input {input:?}");
        }
    }
}
