//! What differs from run to run is given a name.

use std::sync::OnceLock;

use regex::Regex;

/// What is looked for and what stands for it, in this order.
const RULES: [(&str, &str); 22] = [
    // Colours.
    ("\u{1b}\\[[0-9;]*m", ""),
    ("\r\n", "\n"),
    // What a terminal shows of an end of input.
    (r"\^[@D]\x08*", ""),
    // Whether the client notices that a session with a terminal ended while it still wrote to it.
    (r"(?m)^E\d{4} [0-9:.]+ +\d+ v\d\.go:\d+\] .*\n", ""),
    // Heads of kubectl's own log lines, and its ports.
    (r"(?m)^([IWE])\d{4} [0-9:.]+ +\d+ (\w+\.go:)\d+\]", "$1 $2"),
    (r"Handling connection for \d+", "Handling connection for <port>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4}( UTC)?", "<time>"),
    (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
    (r"\w+://[0-9a-f]{64}", "<container>"),
    (r"sha256:[0-9a-f]{64}", "<digest>"),
    (r"(resourceVersion|resource version)(\W+)\d+", "$1$2<version>"),
    (r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:<port>"),
    (r"\[::1\]:\d{4,5}", "[::1]:<port>"),
    (r"\b10\.\d+\.\d+\.\d+", "<ip>"),
    // The node's own.
    (r"(podrig/|hostIP: |- ip: )\d+\.\d+\.\d+\.\d+", "$1<ip>"),
    // Endings that the API server makes up, and the minute in the names of a CronJob's jobs.
    (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-<id>"),
    (r"-\d{8}\b", "-<minute>"),
    // Ages, but not the numbers of a manifest.
    (r"(?m)(^|[^r] |[^o]r |\()(\d+m)?\d+(\.\d+)?s(?P<end>[ ,)]|$)", "$1<age>$end"),
    // Columns are as wide as what is in them.
    (r"([^\s+-]|[+-]{2}) {2,}", "$1  "),
    (r"(?m)[ \t]+$", ""),
];

/// Returns an output without ages, ids, addresses and other things of the moment.
pub(crate) fn normalise(output: &str, root: &str) -> String {
    static COMPILED: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let rules = COMPILED.get_or_init(|| RULES.map(|(find, name)| (Regex::new(find).unwrap(), name)).to_vec());
    let text = output.replace(root, "<root>");
    rules.iter().fold(text, |text, (find, name)| find.replace_all(&text, *name).into_owned())
}

#[test]
fn ages_and_ids_are_named_and_numbers_of_a_manifest_stay() {
    let row = "web-5d59d67564-x2x4z   1/1     Running   1 (3s ago)   2m3s   10.88.0.7";
    assert_eq!(normalise(row, "/t"), "web-5d59d67564-<id>  1/1  Running  1 (<age> ago)  <age>  <ip>");
    assert_eq!(normalise("----     ---\n+    added\n-    gone", "/t"), "----  ---\n+    added\n-    gone");
    let probe = "delay=0s timeout=1s, tolerated for 300s";
    assert_eq!(normalise(probe, "/t"), probe);
}
