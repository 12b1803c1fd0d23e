//! Who is started again after an exit, and how long that waits (contract S3).

use std::time::Duration;

use k8s_openapi::api::core::v1::ContainerRestartRule;

use crate::{ContainerPlan, MonoTime, RestartPolicy};

/// What a container's own rules ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleAction {
    /// Start this container again.
    Restart,
    /// Start the whole pod's containers again.
    RestartAll,
}

/// Returns whether a container that ended with this code is started again: its own rules first, then its
/// policy, then the pod's (contract S3-01, S3-02; kubelet `pkg/api/v1/pod/util.go`).
pub(crate) fn should_restart(container: &ContainerPlan, exit_code: i32) -> bool {
    match matching_rule(container, exit_code) {
        Some(RuleAction::Restart | RuleAction::RestartAll) => true,
        None => match container.restart_policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exit_code != 0,
            RestartPolicy::Never => false,
        },
    }
}

/// Returns whether a container that a probe ended is started again; rules play no part (contract S3-13).
pub(crate) fn restarts_after_probe(container: &ContainerPlan) -> bool {
    container.restart_policy != RestartPolicy::Never
}

/// Finds the first rule that matches an exit code (contract S3-01, S3-11). Rules count only beside an own policy.
pub(crate) fn matching_rule(container: &ContainerPlan, exit_code: i32) -> Option<RuleAction> {
    container.spec.restart_policy.as_ref()?;
    let rules = container.spec.restart_policy_rules.iter().flatten();
    rules.filter(|rule| matches(rule, exit_code)).find_map(|rule| match rule.action.as_str() {
        "Restart" => Some(RuleAction::Restart),
        "RestartAllContainers" => Some(RuleAction::RestartAll),
        _ => None,
    })
}

/// Returns whether any rule of the container can restart the whole pod (contract S5-30).
pub(crate) fn has_restart_all_rule(container: &ContainerPlan) -> bool {
    container.spec.restart_policy_rules.iter().flatten().any(|rule| rule.action == "RestartAllContainers")
}

fn matches(rule: &ContainerRestartRule, exit_code: i32) -> bool {
    rule.exit_codes.as_ref().is_some_and(|codes| {
        let listed = codes.values.iter().flatten().any(|&value| value == exit_code);
        match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    })
}

/// A delay that doubles each time it is used, and is forgotten when it was not used for long.
///
/// It is kept for one key (an image, say); another key starts afresh (contract S3-20).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BackOff {
    entry: Option<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: String,
    delay: Duration,
    advanced: MonoTime,
}

impl BackOff {
    /// Returns the delay in force for what happened at `event`; `None`: there is none.
    pub(crate) fn delay(&self, key: &str, event: MonoTime) -> Option<Duration> {
        let entry = self.entry.as_ref()?;
        (entry.key == key && event - entry.advanced <= RESET_AFTER).then_some(entry.delay)
    }

    /// Returns how long the window that opened at `event` is, no longer than `longest`, and when it closes, if it is
    /// still open.
    pub(crate) fn window(
        &self,
        key: &str,
        event: MonoTime,
        now: MonoTime,
        longest: Duration,
    ) -> Option<(Duration, MonoTime)> {
        let delay = self.delay(key, event)?.min(longest);
        let until = event + delay;
        (now < until).then_some((delay, until))
    }

    /// Takes note of another attempt: the next delay is twice as long (contract S3-20, S3-21).
    pub(crate) fn advance(&mut self, key: &str, event: MonoTime, now: MonoTime) {
        let delay = self.delay(key, event).map_or(INITIAL_DELAY, |delay| (delay * 2).min(MAX_DELAY));
        self.entry = Some(Entry { key: key.to_owned(), delay, advanced: now });
    }
}

/// Formats a delay as messages of Kubernetes do: `10s`, `1m20s`, `5m0s`.
pub(crate) fn go_duration(delay: Duration) -> String {
    let seconds = delay.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

/// First delay (contract S3-20; kubelet.go `backOffPeriod`, `containerBackOff`).
const INITIAL_DELAY: Duration = Duration::from_secs(10);
/// Longest delay (contract S3-20; kubelet.go `MaxCrashLoopBackOff`, `imageBackOff`).
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(300);
/// A delay that was not advanced for longer than this is forgotten (contract S3-23).
const RESET_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime(Duration::from_secs(seconds))
    }

    /// The matrix of S3-02: for each policy, whether a container that ended with 0 and one that ended with 1 is
    /// restarted. An init container that ended with 0 is done and is not asked about.
    #[test]
    fn s3_02_who_is_restarted() {
        let cases = [
            ("Always", "app", [true, true]),
            ("OnFailure", "app", [false, true]),
            ("Never", "app", [false, false]),
            ("OnFailure", "init", [false, true]),
            ("Never", "init", [false, false]),
            ("Always", "sidecar", [true, true]),
            ("OnFailure", "sidecar", [true, true]),
            ("Never", "sidecar", [true, true]),
        ];
        for (policy, name, expected) in cases {
            let plan = plan(policy, serde_json::json!({}));
            let container = plan.container(plan.find(name).unwrap());
            assert_eq!([0, 1].map(|code| should_restart(container, code)), expected, "{policy} {name}");
        }
    }

    #[test]
    fn s3_01_the_first_matching_rule_wins_and_rules_need_an_own_policy() {
        let rules = serde_json::json!({"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [3, 4]}},
            {"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0, 1]}},
        ]});
        let with_policy = plan("Always", rules.clone());
        let app = with_policy.container(with_policy.find("app").unwrap());
        let unknown = serde_json::json!({"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Dance", "exitCodes": {"operator": "In", "values": [3]}},
            {"action": "Restart", "exitCodes": {"operator": "Near", "values": [3]}},
        ]});
        let unknown = plan("Always", unknown);
        let odd = unknown.container(unknown.find("app").unwrap());
        assert_eq!([2, 3].map(|code| matching_rule(odd, code)), [None, None]);
        let actions = [0, 1, 3, 5].map(|code| matching_rule(app, code));
        assert_eq!(actions, [None, None, Some(RuleAction::Restart), Some(RuleAction::RestartAll)]);
        assert!(!should_restart(app, 1) && should_restart(app, 3));
        let rules_only = serde_json::json!({"restartPolicyRules": rules["restartPolicyRules"]});
        let without_policy = plan("Never", rules_only);
        let app = without_policy.container(without_policy.find("app").unwrap());
        assert!(!should_restart(app, 3));
    }

    fn plan(policy: &str, mut app: serde_json::Value) -> crate::PodPlan {
        app["name"] = "app".into();
        let pod = serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"restartPolicy": policy, "containers": [app], "initContainers": [
                {"name": "init"}, {"name": "sidecar", "restartPolicy": "Always"},
            ]},
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn s3_21_delays_double_from_ten_seconds_to_five_minutes() {
        let mut back_off = BackOff::default();
        let mut now = at(0);
        let mut delays = Vec::new();
        for _ in 0..8 {
            delays.push(back_off.delay("x", now).unwrap_or_default().as_secs());
            back_off.advance("x", now, now);
            now = now + Duration::from_secs(300);
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn s3_22_window_counts_from_the_exit() {
        let mut back_off = BackOff::default();
        back_off.advance("x", at(5), at(5));
        assert_eq!(back_off.window("x", at(30), at(31), MAX_DELAY), Some((INITIAL_DELAY, at(40))));
        assert_eq!(back_off.window("x", at(30), at(40), MAX_DELAY), None);
    }

    #[test]
    fn s3_23_an_old_entry_is_forgotten() {
        let mut back_off = BackOff::default();
        back_off.advance("x", at(0), at(0));
        assert_eq!(back_off.delay("x", at(600)), Some(INITIAL_DELAY));
        assert_eq!(back_off.window("x", at(601), at(602), MAX_DELAY), None);
        back_off.advance("x", at(601), at(601));
        assert_eq!(back_off.delay("x", at(601)), Some(INITIAL_DELAY));
    }

    #[test]
    fn durations_look_like_gos() {
        let texts = [10, 80, 300, 3600, 3661].map(|s| go_duration(Duration::from_secs(s)));
        assert_eq!(texts, ["10s", "1m20s", "5m0s", "1h0m0s", "1h1m1s"]);
    }
}
