//! The pod's phase (contract S5-41; kubelet `kubelet_pods.go` `getPhase`).

use crate::{Outcome, Role};

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            _ => Self::Pending,
        }
    }

    /// Returns the outcome that a terminal phase stands for.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Pending | Self::Running => None,
            Self::Succeeded => Some(Outcome::Succeeded),
            Self::Failed => Some(Outcome::Failed),
        }
    }
}

/// What the phase depends on, of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) role: Role,
    pub(crate) state: MemberState,
    /// Whether it is started again after the exit that `state` tells of.
    pub(crate) restartable: bool,
}

/// A container's state as far as the phase is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It waits; with the exit code of its last instance, if there was one.
    Waiting(Option<i32>),
    /// It runs, and has started or not.
    Running { started: bool },
    /// It ended with this code.
    Terminated(i32),
}

/// Computes the phase.
///
/// `main_created`: a main container of the current sandbox was created at some time. `finalised`: the pod
/// ends and nothing of it runs any more.
pub(crate) fn phase(members: &[Member], main_created: bool, finalised: bool) -> Phase {
    let mut count = Count::default();
    for member in members {
        count.add(*member);
    }
    // The numbers are those of S5-41.
    if count.init_failed_for_good > 0 {
        return Phase::Failed; // 1
    }
    if count.init_pending > 0 || (count.sidecars_pending > 0 && !main_created) {
        return Phase::Pending; // 2
    }
    if count.never_ran > 0 {
        return Phase::Pending; // 3
    }
    if count.running > 0 {
        return Phase::Running; // 4
    }
    if count.stopped == 0 {
        return Phase::Pending; // 6
    }
    // 5
    let all_succeeded = count.stopped == count.succeeded;
    match (finalised, count.restartable > 0, all_succeeded) {
        (false, true, _) => Phase::Running,
        (_, _, true) => Phase::Succeeded,
        (_, _, false) => Phase::Failed,
    }
}

#[derive(Debug, Default)]
struct Count {
    init_failed_for_good: u32,
    init_pending: u32,
    sidecars_pending: u32,
    never_ran: u32,
    running: u32,
    stopped: u32,
    succeeded: u32,
    restartable: u32,
}

impl Count {
    fn add(&mut self, member: Member) {
        match member.role {
            Role::Init => self.add_init(member),
            Role::Sidecar => self.add_sidecar(member.state),
            Role::Main => self.add_main(member),
            Role::Ephemeral => {}
        }
    }

    fn add_init(&mut self, member: Member) {
        match member.state {
            MemberState::Running { .. } | MemberState::Waiting(None) => self.init_pending += 1,
            MemberState::Terminated(code) | MemberState::Waiting(Some(code)) => {
                self.init_failed_for_good += u32::from(code != 0 && !member.restartable);
            }
        }
    }

    fn add_sidecar(&mut self, state: MemberState) {
        match state {
            MemberState::Running { started } => {
                self.running += 1;
                self.sidecars_pending += u32::from(!started);
            }
            MemberState::Waiting(None) => {
                self.sidecars_pending += 1;
                self.never_ran += 1;
            }
            MemberState::Terminated(_) | MemberState::Waiting(Some(_)) => {}
        }
    }

    fn add_main(&mut self, member: Member) {
        match member.state {
            MemberState::Running { .. } => self.running += 1,
            MemberState::Waiting(None) => self.never_ran += 1,
            MemberState::Terminated(code) => {
                self.stopped += 1;
                self.succeeded += u32::from(code == 0);
                self.restartable += u32::from(member.restartable);
            }
            MemberState::Waiting(Some(_)) => {
                self.stopped += 1;
                self.restartable += u32::from(member.restartable);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads members such as `i:0 s:run m:wait`: role, then state. `run` runs and has started, `up` runs and has
    /// not, `wait` never ran, a number is an exit code, a number with `w` one that is waiting to be restarted.
    fn members(text: &str, policy: &str) -> Vec<Member> {
        let member = |text: &str| {
            let (role, state) = text.split_once(':').unwrap();
            let role = match role {
                "i" => Role::Init,
                "s" => Role::Sidecar,
                _ => Role::Main,
            };
            let code = state.trim_end_matches('w').parse().unwrap_or(0);
            let state = match state {
                "run" => MemberState::Running { started: true },
                "up" => MemberState::Running { started: false },
                "wait" => MemberState::Waiting(None),
                _ if state.ends_with('w') => MemberState::Waiting(Some(code)),
                _ => MemberState::Terminated(code),
            };
            let restartable = role == Role::Sidecar || policy == "Always" || (policy == "OnFailure" && code != 0);
            Member { role, state, restartable }
        };
        text.split(' ').map(member).collect()
    }

    #[test]
    fn s5_41_the_phase_table() {
        let rows = [
            // Initialising.
            ("Never", "i:wait m:wait", "Pending"),
            ("Never", "i:run m:wait", "Pending"),
            ("Never", "i:0 m:wait", "Pending"),
            ("Never", "i:1 m:wait", "Failed"),
            ("Always", "i:1 m:wait", "Pending"),
            ("OnFailure", "i:1w m:wait", "Pending"),
            ("Never", "i:1 s:run m:run", "Failed"),
            ("Never", "s:wait m:wait", "Pending"),
            ("Never", "s:up m:wait", "Pending"),
            ("Never", "s:run m:wait", "Pending"),
            ("Never", "s:1w m:wait", "Pending"),
            ("Always", "s:run i:run m:wait", "Pending"),
            // Running.
            ("Never", "s:run m:run", "Running"),
            ("Never", "s:1 m:run", "Running"),
            ("Never", "s:1w m:run", "Running"),
            ("Always", "m:run m:wait", "Pending"),
            ("Always", "m:run m:1w", "Running"),
            ("Always", "m:1w", "Running"),
            ("Always", "m:0", "Running"),
            ("OnFailure", "m:1", "Running"),
            ("OnFailure", "m:0 m:1w", "Running"),
            ("Never", "m:0 m:run", "Running"),
            ("Never", "s:run m:0", "Running"),
            ("Never", "s:run m:1", "Running"),
            // Done.
            ("Never", "m:0 m:0", "Succeeded"),
            ("OnFailure", "m:0", "Succeeded"),
            ("Never", "m:0 m:1", "Failed"),
            ("Never", "s:1 m:0", "Succeeded"),
            ("Never", "s:137w m:0", "Succeeded"),
            ("Never", "i:0 s:0 m:0", "Succeeded"),
        ];
        for (policy, text, expected) in rows {
            let main_created = text.split(' ').any(|member| member.starts_with('m') && member != "m:wait");
            let got = phase(&members(text, policy), main_created, false);
            assert_eq!(got.as_str(), expected, "{policy} {text}");
        }
    }

    #[test]
    fn s5_41_a_sidecar_that_starts_up_again_makes_the_pod_pending_only_before_the_mains() {
        let members = members("s:up m:run", "Always");
        assert_eq!(phase(&members, true, false), Phase::Running);
        assert_eq!(phase(&members, false, false), Phase::Pending);
    }

    #[test]
    fn s4_42_a_pod_that_ends_succeeds_when_all_mains_did_under_every_policy() {
        for policy in ["Always", "OnFailure", "Never"] {
            assert_eq!(phase(&members("s:137 m:0 m:0", policy), true, true), Phase::Succeeded);
            assert_eq!(phase(&members("s:0 m:0 m:143", policy), true, true), Phase::Failed);
        }
    }
}
