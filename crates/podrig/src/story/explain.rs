//! Says in a sentence or two why a pod ended, or did not end, as it did.
//!
//! Every finding names the cause and what to change, and is drawn from facts only: moments of the node,
//! the final status, and ports seen from outside.

use k8s_openapi::api::core::v1::Pod;
use pod_lifecycle::{Role, StopReason};
use serde::Serialize;

use super::{ContainerStory, Evidence, Instance, Outlook, PodStory, outlook, timeline::seconds};

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    /// Stable name of the kind of finding, for machines.
    pub(crate) code: &'static str,
    /// Container concerned, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) container: Option<String>,
    /// What happened and why, for people.
    pub(crate) message: String,
}

/// SIGKILL: 128 + 9.
const KILLED: i32 = 137;

/// Explains one pod from its last status and its story. The most important finding comes first.
pub(crate) fn explain(story: &PodStory, pod: &Pod) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(failed_as_a_whole(pod));
    findings.extend(not_taken(pod));
    findings.extend(hopeless(pod));
    findings.extend(too_early(story));
    findings.extend(failed_main(story, &findings));
    findings.extend(waits_for_ever(pod));
    for sidecar in story.with_role(Role::Sidecar) {
        findings.extend(crash_loop(sidecar));
        findings.extend(stopped_sidecar(sidecar));
    }
    if findings.is_empty() {
        findings.extend(went_well(story, pod));
    }
    findings
}

/// The pod failed for a reason of its own, whatever its containers did: it was evicted or refused, or had no time left.
fn failed_as_a_whole(pod: &Pod) -> Option<Finding> {
    let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Failed"))?;
    let (reason, message) = (status.reason.as_deref()?, status.message.as_deref().unwrap_or_default().trim());
    let message = format!("the pod failed as a whole ({reason}): {message}");
    Some(Finding { code: "pod-failed", container: None, message })
}

/// No node takes the pod.
fn not_taken(pod: &Pod) -> Option<Finding> {
    let conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let refused = conditions.into_iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let why = refused.message.as_deref().unwrap_or_default();
    let message = format!("the pod never started, since the node does not take it: {why}");
    Some(Finding { code: "not-scheduled", container: None, message })
}

fn hopeless(pod: &Pod) -> Option<Finding> {
    let Outlook::Hopeless { container, reason, message } = outlook(pod) else { return None };
    let text = match reason.as_str() {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => format!(
            "container {container} has no image ({reason}): {message}. Load it with `podrig image load FILE`, or correct its name."
        ),
        "CreateContainerConfigError" => {
            format!("container {container} cannot be configured: {message}. Add the missing object to the manifests.")
        }
        _ => format!("container {container} cannot be started ({reason}): {message}"),
    };
    Some(Finding { code: "cannot-start", container: Some(container), message: text })
}

/// A main container failed while a port that another container declares was not open yet.
fn too_early(story: &PodStory) -> Option<Finding> {
    let missed = story.evidence.iter().find(|e| !e.listening)?;
    let client = story.containers.iter().find(|c| c.name == missed.because_of)?;
    let server = story.containers.iter().find(|c| c.name == missed.server)?;
    let (_, code, _) = client.instances().into_iter().find_map(|i| i.exit.filter(|exit| exit.1 != 0))?;
    let opened = story.evidence.iter().find(|e| e.listening && e.port == missed.port && e.at > missed.at);
    let later = opened
        .map_or_else(String::new, |e: &Evidence| format!(" The port was open {} later.", seconds(e.at - missed.at)));
    Some(Finding {
        code: "started-before-its-server",
        container: Some(client.name.clone()),
        message: format!(
            "{} exited with {code} before {} listened on port {}: nothing accepted connections there when it ended.{later} {}",
            client.name,
            server.name,
            missed.port,
            remedy(server)
        ),
    })
}

fn remedy(server: &ContainerStory) -> String {
    let name = &server.name;
    match server.role {
        Role::Main => format!(
            "Containers of one pod start without waiting for each other: make {name} a native sidecar (an entry of \
             initContainers with restartPolicy: Always) and give it a startupProbe."
        ),
        Role::Sidecar => format!(
            "{name} is a native sidecar without startupProbe, so it counts as started as soon as its process runs: give it \
             a startupProbe on that port."
        ),
        Role::Init | Role::Ephemeral => {
            format!("Make {name} a native sidecar with restartPolicy: Always and a startupProbe.")
        }
    }
}

fn failed_main(story: &PodStory, known: &[Finding]) -> Option<Finding> {
    let failed = story.containers.iter().filter(|c| c.role != Role::Sidecar).find_map(|c| {
        let (_, code, reason) = c.last_instance()?.exit?;
        (code != 0 && c.last_instance()?.stop.is_none()).then_some((c, code, reason))
    });
    let (container, code, reason) = failed?;
    if known.iter().any(|f| f.container.as_ref() == Some(&container.name)) {
        return None;
    }
    let message = if reason == "OOMKilled" {
        format!(
            "{} was killed by the kernel because it used more memory than its limit (OOMKilled, exit {code}).",
            container.name
        )
    } else {
        format!("{} exited with {code} ({reason}): that decides the result of the pod.", container.name)
    };
    Some(Finding { code: "container-failed", container: Some(container.name.clone()), message })
}

fn waits_for_ever(pod: &Pod) -> Option<Finding> {
    match outlook(pod) {
        Outlook::ServerLeft { ended, running } => {
            let ended: Vec<String> = ended.iter().map(|(name, code)| format!("{name} (exit {code})")).collect();
            let left = running.join(", ");
            Some(Finding {
                code: "server-left",
                container: running.first().cloned(),
                message: format!(
                    "{} ended, but {left} still runs: a pod ends only when all its main containers have ended, so unless \
                     {left} exits by itself neither the pod nor its Job ever completes. As a native sidecar (initContainers, \
                     restartPolicy: Always) it would be stopped when the last main container has ended.",
                    ended.join(", ")
                ),
            })
        }
        Outlook::InitRuns { container, .. } => Some(Finding {
            code: "init-never-ends",
            message: format!(
                "{container} is a plain init container and still runs: everything after it waits until it exits with 0. A \
                 server never does, so it blocks the pod for ever; restartPolicy: Always on it makes it a native sidecar."
            ),
            container: Some(container),
        }),
        Outlook::Open | Outlook::Ended { .. } | Outlook::Hopeless { .. } => None,
    }
}

fn crash_loop(sidecar: &ContainerStory) -> Option<Finding> {
    let crashed: Vec<Instance> =
        sidecar.instances().into_iter().filter(|i| i.stop.is_none() && i.exit.is_some()).collect();
    let (_, code, _) = crashed.last()?.exit.clone()?;
    Some(Finding {
        code: "sidecar-crashed",
        container: Some(sidecar.name.clone()),
        message: format!(
            "sidecar {} ended by itself {} time(s), last with exit code {code}: it is restarted, with growing delays, as long \
             as main containers run, and its exit codes do not count for the pod.",
            sidecar.name,
            crashed.len()
        ),
    })
}

fn stopped_sidecar(sidecar: &ContainerStory) -> Option<Finding> {
    let instance = sidecar.last_instance()?;
    let (stopped, StopReason::PodEnds) = instance.stop? else { return None };
    let (ended, code, _) = instance.exit?;
    let name = sidecar.name.clone();
    match code {
        KILLED => Some(Finding {
            code: "sidecar-ignored-sigterm",
            message: format!(
                "sidecar {name} did not react to SIGTERM and was killed after {}: its whole grace period. Its exit code 137 does \
                 not count, the main containers alone decide. Let its process handle SIGTERM (a shell as PID 1 needs `exec` or a \
                 trap) to end that much sooner.",
                seconds(ended - stopped)
            ),
            container: Some(name),
        }),
        0 => None,
        code => Some(Finding {
            code: "sidecar-exit-does-not-count",
            message: format!("sidecar {name} exited with {code} when it was stopped; that does not count for the pod."),
            container: Some(name),
        }),
    }
}

fn went_well(story: &PodStory, pod: &Pod) -> Option<Finding> {
    let Outlook::Ended { succeeded: true } = outlook(pod) else { return None };
    let mains: Vec<&str> = story.with_role(Role::Main).map(|c| c.name.as_str()).collect();
    Some(Finding {
        code: "succeeded",
        container: None,
        message: format!("{} ended with 0, so the pod succeeded.", mains.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use pod_lifecycle::{Moment, MomentKind, ProbeKind, Timestamp};
    use serde_json::{Value, json};

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn check(pod: &Value, moments: &[(&str, i64, MomentKind)], evidence: Vec<Evidence>, expected: Expect) {
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        let mut story = PodStory::new(&pod, 0);
        for (container, at, kind) in moments {
            let at = Timestamp(at * SECOND);
            story.add(Some(container), Moment { at, container: None, attempt: 0, kind: kind.clone() });
        }
        story.evidence = evidence;
        let lines: Vec<String> =
            explain(&story, &pod).into_iter().map(|f| format!("{}: {}\n", f.code, f.message)).collect();
        expected.assert_eq(&lines.concat());
    }

    fn exited(exit_code: i32) -> MomentKind {
        MomentKind::Exited { exit_code, reason: if exit_code == 0 { "Completed" } else { "Error" }.into() }
    }

    fn port_closed(at: i64) -> Evidence {
        Evidence { at: at * SECOND, because_of: "app".into(), server: "proxy".into(), port: 8081, listening: false }
    }

    #[test]
    fn app_that_ran_before_its_classic_sidecar_listened_is_named_with_the_remedy_and_the_hang() {
        check(
            &json!({"spec": {"containers": [{"name": "app"}, {"name": "proxy", "ports": [{"containerPort": 8081}]}]},
                "status": {"phase": "Running", "containerStatuses": [
                    {"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 1}}},
                    {"name": "proxy", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]}}),
            &[("app", 0, MomentKind::Started), ("proxy", 0, MomentKind::Started), ("app", 1, exited(1))],
            vec![port_closed(1), Evidence { at: 5 * SECOND, listening: true, ..port_closed(1) }],
            expect![[r#"
                started-before-its-server: app exited with 1 before proxy listened on port 8081: nothing accepted connections there when it ended. The port was open 4.00s later. Containers of one pod start without waiting for each other: make proxy a native sidecar (an entry of initContainers with restartPolicy: Always) and give it a startupProbe.
                server-left: app (exit 1) ended, but proxy still runs: a pod ends only when all its main containers have ended, so unless proxy exits by itself neither the pod nor its Job ever completes. As a native sidecar (initContainers, restartPolicy: Always) it would be stopped when the last main container has ended.
            "#]],
        );
    }

    #[test]
    fn sidecar_killed_after_its_grace_is_not_called_a_failure() {
        check(
            &json!({"spec": {"initContainers": [{"name": "proxy", "restartPolicy": "Always", "startupProbe": {}}],
                "containers": [{"name": "app"}]}, "status": {"phase": "Succeeded"}}),
            &[
                ("proxy", 0, MomentKind::Started),
                ("proxy", 5, MomentKind::ProbePassed(ProbeKind::Startup)),
                ("app", 5, MomentKind::Started),
                ("app", 6, exited(0)),
                ("proxy", 6, MomentKind::StopSignal { reason: StopReason::PodEnds }),
                ("proxy", 36, exited(137)),
            ],
            vec![],
            expect![[r#"
                sidecar-ignored-sigterm: sidecar proxy did not react to SIGTERM and was killed after 30.0s: its whole grace period. Its exit code 137 does not count, the main containers alone decide. Let its process handle SIGTERM (a shell as PID 1 needs `exec` or a trap) to end that much sooner.
            "#]],
        );
    }

    #[test]
    fn server_as_plain_init_container_is_said_to_block_for_ever() {
        check(
            &json!({"spec": {"initContainers": [{"name": "proxy"}], "containers": [{"name": "app"}]},
                "status": {"phase": "Pending", "initContainerStatuses": [
                    {"name": "proxy", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"running": {}}}]}}),
            &[("proxy", 0, MomentKind::Started)],
            vec![],
            expect![[r#"
                init-never-ends: proxy is a plain init container and still runs: everything after it waits until it exits with 0. A server never does, so it blocks the pod for ever; restartPolicy: Always on it makes it a native sidecar.
            "#]],
        );
    }

    #[test]
    fn s4_56_a_pod_that_had_to_go_or_could_not_come_says_why() {
        let status =
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. "});
        let pod = json!({"spec": {"containers": [{"name": "app"}]}, "status": status});
        let moments = [
            ("app", 0, MomentKind::Started),
            ("app", 1, MomentKind::StopSignal { reason: StopReason::PodEnds }),
            ("app", 2, exited(137)),
        ];
        let text = expect![[r#"
            pod-failed: the pod failed as a whole (Evicted): The node was low on resource: memory.
        "#]];
        check(&pod, &moments, vec![], text);
        let refused = json!({"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"});
        let pod = json!({"spec": {"containers": []}, "status": {"phase": "Pending", "conditions": [refused]}});
        let text = expect![[r#"
            not-scheduled: the pod never started, since the node does not take it: 0/1 nodes are available
        "#]];
        check(&pod, &[], vec![], text);
    }
}
