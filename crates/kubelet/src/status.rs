//! Writes a pod's status (pkg/kubelet/status/status_manager.go).
//!
//! One task per pod writes its statuses in order; those that come while a write is on its way wait in a queue, which
//! leaves out what only a slow watcher would miss.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{HostIP, Pod, PodCondition, PodIP, PodStatus};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use pod_lifecycle::{is_disruption_by_agent, is_own_condition};
use serde_json::{Value, json};

use crate::status_queue::StatusReceiver;

/// Fields that are removed when the newest status has them no more.
const OWN_FIELDS: [&str; 9] = [
    "reason",
    "message",
    "podIP",
    "podIPs",
    "hostIP",
    "hostIPs",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
];
/// First pause after a failed write.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Longest pause after failed writes.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// How the writing of a pod's statuses ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriterEnd {
    /// The last status is recorded.
    Recorded,
    /// The object is gone, or another one has its name.
    Gone,
}

/// Returns the conditions of a stored status that belong to others.
pub(crate) fn foreign_conditions(pod: &Pod) -> Vec<PodCondition> {
    pod_lifecycle::foreign_conditions(pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default())
}

/// Writes all statuses until the sender is dropped and the last one is recorded.
pub(crate) async fn writer(
    api: Api<Pod>,
    mut queue: StatusReceiver,
    mut stored: Arc<Pod>,
    host_ips: Vec<String>,
) -> WriterEnd {
    let mut pause = FIRST_RETRY;
    while let Some(next) = queue.next().await {
        let error = match write(&api, &stored, &next.status, &host_ips).await {
            Ok(pod) => {
                stored = Arc::new(pod);
                pause = FIRST_RETRY;
                queue.settle(&next);
                continue;
            }
            Err(e) => e,
        };
        let pod = stored.metadata.name.clone();
        match judge(&api, &mut stored, &error).await {
            Verdict::Retry => {
                tracing::warn!(pod, "status not written, trying again: {error}");
                if is_refusal(&error) {
                    queue.pass_over(&next);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_RETRY);
            }
            Verdict::Outdated => tracing::debug!(pod, "status not written, trying again on the newest object: {error}"),
            Verdict::Final => {
                tracing::warn!(pod, "status dropped: {error}");
                queue.settle(&next);
            }
            Verdict::Gone => {
                queue.settle_all();
                return WriterEnd::Gone;
            }
        }
    }
    WriterEnd::Recorded
}

/// What a failed write means for the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The server may take it later.
    Retry,
    /// It was built on an object that has changed since.
    Outdated,
    /// The server will never take it: it is not allowed for this object, such as a container that leaves
    /// `terminated` without being allowed to run again (contract S1-29).
    Final,
    /// There is no object for it.
    Gone,
}

/// Tells whether the server answered that the request is wrong: then a newer status must not wait for this one.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(answer) if (400..500).contains(&answer.code) && !matches!(answer.code, 409 | 429))
}

/// Judges a failed write, and reads the object again if that can make a difference.
async fn judge(api: &Api<Pod>, stored: &mut Arc<Pod>, error: &kube::Error) -> Verdict {
    let kube::Error::Api(answer) = error else { return Verdict::Retry };
    match answer.code {
        404 => return Verdict::Gone,
        409 | 422 => {}
        _ => return Verdict::Retry,
    }
    match refetch(api, stored).await {
        Some(Ok(fresh)) => {
            let changed = fresh.metadata.resource_version != stored.metadata.resource_version;
            *stored = fresh;
            match (answer.code, changed) {
                (422, true) => Verdict::Outdated,
                (422, false) => Verdict::Final,
                _ => Verdict::Retry,
            }
        }
        Some(Err(())) => Verdict::Gone,
        None => Verdict::Retry,
    }
}

/// Reads the object again; `Some(Err)`: it is gone, `None`: it could not be read.
async fn refetch(api: &Api<Pod>, stored: &Pod) -> Option<Result<Arc<Pod>, ()>> {
    match api.get_opt(stored.metadata.name.as_deref().unwrap_or_default()).await {
        Ok(Some(pod)) if pod.metadata.uid == stored.metadata.uid => Some(Ok(Arc::new(pod))),
        Ok(_) => Some(Err(())),
        Err(_) => None,
    }
}

async fn write(api: &Api<Pod>, stored: &Pod, status: &PodStatus, host_ips: &[String]) -> Result<Pod, kube::Error> {
    let name = stored.metadata.name.as_deref().unwrap_or_default();
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch(stored, status, host_ips))).await
}

/// Builds the strategic patch that makes the stored status the given one. It names no condition of others, which may
/// come and go behind our back.
fn patch(stored: &Pod, status: &PodStatus, host_ips: &[String]) -> Value {
    let mut status = status.clone();
    if status.host_ip.is_none() {
        status.host_ip = host_ips.first().cloned();
        status.host_ips = Some(host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
    }
    if stored.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true)) {
        status.pod_ip = host_ips.first().cloned();
        status.pod_ips = Some(host_ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect());
    }
    let conditions = own_conditions(stored, status.conditions.take().unwrap_or_default());
    let old = stored.status.as_ref();
    status.qos_class = status.qos_class.or_else(|| old.and_then(|s| s.qos_class.clone()));
    status.start_time = old.and_then(|s| s.start_time.clone()).or(status.start_time);
    let mut value = serde_json::to_value(&status).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("conditions".to_owned(), Value::Array(conditions));
        for field in OWN_FIELDS {
            fields.entry(field).or_insert(Value::Null);
        }
        // Lists that patches add to, unless told otherwise.
        for name in ["podIPs", "hostIPs"] {
            if let Some(Value::Array(list)) = fields.get_mut(name) {
                list.insert(0, json!({"$patch": "replace"}));
            }
        }
    }
    json!({"metadata": {"uid": stored.metadata.uid}, "status": value})
}

/// Returns what is to be done about the agent's conditions: those that are, with the transition time of those whose
/// value did not change (contract S5-40), and the removal of those that are no more.
fn own_conditions(stored: &Pod, new: Vec<PodCondition>) -> Vec<Value> {
    let old = stored.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let gone = old.iter().filter(|o| is_own_condition(o) && new.iter().all(|c| c.type_ != o.type_));
    let gone: Vec<_> = gone.map(|o| json!({"type": o.type_, "$patch": "delete"})).collect();
    let there = new.into_iter().filter(|c| is_own_condition(c) || is_disruption_by_agent(c)).map(|mut condition| {
        let same = old.iter().find(|o| o.type_ == condition.type_ && o.status == condition.status);
        if let Some(time) = same.and_then(|o| o.last_transition_time.clone()) {
            condition.last_transition_time = Some(time);
        }
        let mut value = serde_json::to_value(condition).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            for field in ["reason", "message", "observedGeneration"] {
                fields.entry(field).or_insert(Value::Null);
            }
        }
        value
    });
    there.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(conditions: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u", "resourceVersion": "7"},
            "spec": {"containers": []},
            "status": {"phase": "Pending", "qosClass": "Burstable", "startTime": "2026-01-01T00:00:00Z",
                "reason": "Old", "conditions": conditions}
        }))
        .expect("a pod")
    }

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).expect("a status")
    }

    /// Returns the newest object after the patch that is made from what was read.
    fn written(newest: &Pod, read: &Pod, status: &PodStatus) -> Value {
        let mut newest = serde_json::to_value(newest).expect("JSON");
        let patch = patch(read, status, &["192.0.2.1".to_owned()]);
        let pods = apimachinery::scheme::by_name("pods").expect("known");
        apimachinery::patch::strategic(pods, &mut newest, &patch).expect("applies");
        newest
    }

    #[test]
    fn s5_30_s5_40_foreign_conditions_and_transition_times_are_kept() {
        let old = stored(json!([
            {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Initialized", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "example.com/gate", "status": "True"}
        ]));
        let new = status(json!({"phase": "Running", "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z"},
            {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-02T00:00:00Z"},
            {"type": "example.com/gone", "status": "True"}
        ]}));
        let got = written(&old, &old, &new);
        let shown: Vec<_> = got["status"]["conditions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|c| (c["type"].as_str().unwrap_or_default(), c["lastTransitionTime"].as_str().unwrap_or_default()))
            .collect();
        let want =
            [("Initialized", "2026-01-02T00:00:00Z"), ("Ready", "2026-01-01T00:00:00Z"), ("example.com/gate", "")];
        assert_eq!(shown, want);
    }

    #[test]
    fn s5_30_what_others_set_between_our_reading_and_our_writing_stays() {
        let read = stored(json!([
            {"type": "Ready", "status": "True", "message": "old", "reason": "Old"},
            {"type": "PodResizePending", "status": "True"}
        ]));
        let mut newest = read.clone();
        let by_others: Vec<PodCondition> = serde_json::from_value(json!([
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"},
            {"type": "example.com/gate", "status": "True"}
        ]))
        .expect("conditions");
        let conditions = newest.status.as_mut().and_then(|s| s.conditions.as_mut()).expect("there");
        conditions.extend(by_others.clone());
        let mut new = status(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}));
        let got = written(&newest, &read, &new);
        let left = json!([{"type": "Ready", "status": "False"}, by_others[0], by_others[1]]);
        assert_eq!(got["status"]["conditions"], left);
        // What the agent itself says of a disruption takes the place of what others said.
        let own = json!({"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"});
        new.conditions.as_mut().expect("there").push(serde_json::from_value(own.clone()).expect("a condition"));
        assert_eq!(written(&newest, &read, &new)["status"]["conditions"][1], own);
    }

    #[test]
    fn fields_that_are_no_longer_true_are_removed_and_others_kept() {
        let old = stored(json!([]));
        let got = written(&old, &old, &status(json!({"phase": "Running"})));
        let status = &got["status"];
        assert_eq!(status["reason"], Value::Null);
        assert_eq!(status["hostIP"], "192.0.2.1");
        assert_eq!(status["hostIPs"], json!([{"ip": "192.0.2.1"}]));
        assert_eq!(status["qosClass"], "Burstable");
        assert_eq!(status["startTime"], "2026-01-01T00:00:00Z");
        assert_eq!(got["metadata"]["uid"], "u");
    }

    #[test]
    fn s5_47_a_pod_on_the_hosts_network_has_the_hosts_addresses() {
        let mut pod = stored(json!([]));
        pod.spec.get_or_insert_default().host_network = Some(true);
        let got = written(&pod, &pod, &status(json!({"phase": "Pending"})));
        assert_eq!(got["status"]["podIP"], "192.0.2.1");
        assert_eq!(got["status"]["podIPs"], json!([{"ip": "192.0.2.1"}]));
        assert_eq!(got["status"]["hostIP"], "192.0.2.1");
        assert_eq!(got["status"]["qosClass"], "Burstable");
        assert_eq!(got["status"]["startTime"], "2026-01-01T00:00:00Z");
    }
}
