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
    let any = |test: fn(&Member) -> bool| members.iter().any(test);
    let goes_on = |member: &Member| {
        let runs = matches!(member.state, MemberState::Running { .. }); // 4
        runs || member.role == Role::Main && member.restartable && !finalised // 5
    };
    // The numbers are those of S5-41; what is left for its 6 are states that nobody knows, of which there are none here.
    if any(Member::has_failed_for_good) {
        Phase::Failed // 1
    } else if members.iter().any(|member| member.holds_up(main_created)) {
        Phase::Pending // 2, 3
    } else if members.iter().any(goes_on) {
        Phase::Running
    } else if any(|member| member.role == Role::Main && member.state != MemberState::Terminated(0)) {
        Phase::Failed // 5
    } else {
        Phase::Succeeded
    }
}

impl Member {
    /// Returns whether it is an init container after which the pod cannot be initialised any more.
    fn has_failed_for_good(&self) -> bool {
        let failed = match self.state {
            MemberState::Terminated(code) | MemberState::Waiting(Some(code)) => code != 0,
            MemberState::Running { .. } | MemberState::Waiting(None) => false,
        };
        self.role == Role::Init && failed && !self.restartable
    }

    /// Returns whether the pod is pending for its sake.
    fn holds_up(&self, main_created: bool) -> bool {
        match (self.role, self.state) {
            (Role::Init, MemberState::Running { .. }) | (_, MemberState::Waiting(None)) => true,
            (Role::Sidecar, MemberState::Running { started }) => !started && !main_created,
            (_, MemberState::Running { .. } | MemberState::Waiting(Some(_)) | MemberState::Terminated(_)) => false,
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
            ("Never", "i:wait m:0", "Pending"),
            ("Never", "i:run m:0", "Pending"),
            ("Never", "s:wait m:run", "Pending"),
            ("Never", "i:1w m:run", "Failed"),
            ("Never", "m:1w", "Failed"),
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
    fn phases_are_read_back_as_they_are_written() {
        for phase in [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed] {
            assert_eq!(Phase::parse(phase.as_str()), phase);
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
