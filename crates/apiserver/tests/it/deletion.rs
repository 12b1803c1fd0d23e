//! Grace, finalizers, preconditions, dependents.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy, WatchParams,
};
use serde_json::{Value, json};

use crate::support::{Rig, assigned, events, refusal, watch};

async fn delete(pods: &Api<Pod>, name: &str, grace: Option<u32>) -> Pod {
    let params = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
    pods.delete(name, &params).await.expect("delete").left().expect("the pod")
}

fn deletion(pod: &Pod) -> (String, i64) {
    let at = pod.metadata.deletion_timestamp.as_ref().expect("deletion time").0;
    (at.to_string(), pod.metadata.deletion_grace_period_seconds.expect("grace"))
}

#[tokio::test]
async fn s1_32_a_running_pod_is_deleted_with_the_grace_of_its_spec_or_of_the_request() {
    let rig = Rig::new();
    let pods = rig.pods();
    for (name, spec, asked, want) in [
        ("spec", json!(7), None, ("2026-01-02T03:04:12Z", 7)),
        ("option", json!(7), Some(9), ("2026-01-02T03:04:14Z", 9)),
    ] {
        let more = json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": spec}});
        rig.pod(name, more).await;
        let marked = delete(&pods, name, asked).await;
        assert_eq!(deletion(&marked), (want.0.to_owned(), want.1), "{name}");
        assert_eq!(marked.metadata.generation, Some(2), "{name}");
        assert_eq!(deletion(&pods.get(name).await.expect("still there")).1, want.1, "{name}");
    }
}

#[tokio::test]
async fn s1_32_a_pod_without_node_or_in_a_terminal_phase_goes_at_once() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("unassigned", json!({})).await;
    delete(&pods, "unassigned", Some(30)).await;
    assert!(pods.get_opt("unassigned").await.expect("get").is_none());
    for phase in ["Succeeded", "Failed"] {
        rig.pod("done", assigned()).await;
        let status = Patch::Merge(json!({"status": {"phase": phase}}));
        pods.patch_status("done", &PatchParams::default(), &status).await.expect("status");
        delete(&pods, "done", None).await;
        assert!(pods.get_opt("done").await.expect("get").is_none(), "{phase}");
    }
}

#[tokio::test]
async fn s1_33_a_second_delete_only_shortens_the_grace_and_never_ends_in_the_past() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("a", assigned()).await;
    assert_eq!(deletion(&delete(&pods, "a", Some(30)).await), ("2026-01-02T03:04:35Z".to_owned(), 30));
    rig.advance(2);
    assert_eq!(deletion(&delete(&pods, "a", Some(60)).await), ("2026-01-02T03:04:35Z".to_owned(), 30));
    assert_eq!(deletion(&delete(&pods, "a", None).await), ("2026-01-02T03:04:35Z".to_owned(), 30));
    assert_eq!(deletion(&delete(&pods, "a", Some(5)).await), ("2026-01-02T03:04:10Z".to_owned(), 5));
    rig.advance(4);
    let overdue = delete(&pods, "a", Some(3)).await;
    assert_eq!(deletion(&overdue), ("2026-01-02T03:04:11Z".to_owned(), 1));
    assert_eq!(overdue.metadata.generation, Some(2), "only the first mark counts as a change");
    delete(&pods, "a", Some(0)).await;
    assert!(pods.get_opt("a").await.expect("get").is_none());
}

#[tokio::test]
async fn s1_14_a_negative_grace_counts_as_one() {
    let rig = Rig::new();
    rig.pod("a", assigned()).await;
    let path = "/api/v1/namespaces/default/pods/a?gracePeriodSeconds=-5";
    let (code, pod) = rig.raw("DELETE", path, "application/json", "").await;
    assert_eq!((code, &pod["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(1)));
}

#[tokio::test]
async fn s4_50_s4_52_grace_zero_removes_at_once_and_watchers_see_the_mark_first() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("forced", assigned()).await;
    rig.pod("zero", json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 0}})).await;
    let version = pods.list(&ListParams::default()).await.expect("list").metadata.resource_version.expect("version");
    let mut seen = watch(&pods, &WatchParams::default(), &version).await;
    assert_eq!(deletion(&delete(&pods, "forced", Some(0)).await).1, 0);
    delete(&pods, "zero", None).await;
    assert_eq!(events(&mut seen, 4).await, ["~forced", "-forced", "~zero", "-zero"]);
    assert!(pods.list(&ListParams::default()).await.expect("list").items.is_empty());
}

#[tokio::test]
async fn s4_45_a_finalizer_delays_removal_until_it_goes() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("a", json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    delete(&pods, "a", None).await;
    let held = pods.get("a").await.expect("held");
    assert_eq!(deletion(&held).1, 0);
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch("a", &PatchParams::default(), &release).await.expect("release");
    assert!(pods.get_opt("a").await.expect("get").is_none());
}

#[tokio::test]
async fn s4_45_with_grace_left_the_last_finalizer_does_not_remove_the_pod() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("a", json!({"metadata": {"finalizers": ["example.com/hold"]}, "spec": {"nodeName": "n"}})).await;
    delete(&pods, "a", Some(30)).await;
    let release = Patch::Merge(json!({"metadata": {"finalizers": []}}));
    pods.patch("a", &PatchParams::default(), &release).await.expect("release");
    assert_eq!(deletion(&pods.get("a").await.expect("still there")).1, 30);
    delete(&pods, "a", Some(0)).await;
    assert!(pods.get_opt("a").await.expect("get").is_none());
}

#[tokio::test]
async fn preconditions_protect_a_later_object_of_the_same_name() {
    let rig = Rig::new();
    let pods = rig.pods();
    let first = rig.pod("a", json!({})).await;
    let uid = first.uid().expect("uid");
    delete(&pods, "a", None).await;
    let second = rig.pod("a", json!({})).await;
    let when = |uid: Option<String>, version: Option<String>| DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: version }),
        ..DeleteParams::default()
    };
    assert_eq!(
        refusal(pods.delete("a", &when(Some(uid.clone()), None)).await),
        format!(
            "409 Conflict: Operation cannot be fulfilled on Pod \"a\": the UID in the precondition ({uid}) does not match \
             the UID in record ({}). The object might have been deleted and then recreated",
            second.uid().expect("uid")
        )
    );
    assert!(refusal(pods.delete("a", &when(None, first.resource_version())).await).starts_with("409 Conflict"));
    pods.delete("a", &when(second.uid(), second.resource_version())).await.expect("delete");
}

fn job(name: &str) -> Job {
    let spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).expect("job")
}

fn finalizers(object: &impl ResourceExt) -> Vec<String> {
    object.finalizers().to_vec()
}

#[tokio::test]
async fn s9_19_a_job_orphans_by_default_and_obeys_an_explicit_policy() {
    let rig = Rig::new();
    let jobs: Api<Job> = Api::default_namespaced(rig.client.clone());
    for name in ["default", "background", "foreground"] {
        jobs.create(&PostParams::default(), &job(name)).await.expect("create");
    }
    jobs.delete("default", &DeleteParams::default()).await.expect("delete");
    let held = jobs.get("default").await.expect("held");
    assert_eq!(finalizers(&held), ["orphan"]);
    assert_eq!(held.metadata.generation, Some(2));
    let by = |policy| DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
    let answer = jobs.delete("background", &by(PropagationPolicy::Background)).await.expect("delete");
    let status = answer.right().expect("a status");
    assert_eq!(status.details.expect("details").kind, "jobs");
    assert!(jobs.get_opt("background").await.expect("get").is_none());
    jobs.delete("foreground", &by(PropagationPolicy::Foreground)).await.expect("delete");
    assert_eq!(finalizers(&jobs.get("foreground").await.expect("held")), ["foregroundDeletion"]);
    jobs.delete("foreground", &by(PropagationPolicy::Orphan)).await.expect("delete");
    assert_eq!(finalizers(&jobs.get("foreground").await.expect("held")), ["orphan"], "the last word counts");
    jobs.delete("foreground", &by(PropagationPolicy::Background)).await.expect("delete");
    assert!(jobs.get_opt("foreground").await.expect("get").is_none());
}

#[tokio::test]
async fn a_cron_job_deletes_its_dependents_by_default() {
    let rig = Rig::new();
    let cron_jobs: Api<CronJob> = Api::default_namespaced(rig.client.clone());
    let value = json!({
        "metadata": {"name": "a"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job("x").spec}},
    });
    let cron_job: CronJob = serde_json::from_value(value).expect("cron job");
    cron_jobs.create(&PostParams::default(), &cron_job).await.expect("create");
    cron_jobs.delete("a", &DeleteParams::default()).await.expect("delete");
    assert!(cron_jobs.get_opt("a").await.expect("get").is_none());
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let rig = Rig::new();
    let maps: Api<ConfigMap> = Api::default_namespaced(rig.client.clone());
    for (name, tier) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let map = json!({"metadata": {"name": name, "labels": {"tier": tier}}});
        maps.create(&PostParams::default(), &serde_json::from_value(map).expect("map")).await.expect("create");
    }
    let answer = maps.delete_collection(&DeleteParams::default(), &ListParams::default().labels("tier=x")).await;
    assert_eq!(answer.expect("delete").left().expect("a list").items.len(), 2);
    let left: Vec<String> =
        maps.list(&ListParams::default()).await.expect("list").items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(left, ["c", "kube-root-ca.crt"]);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("a", assigned()).await;
    let before = pods.get("a").await.expect("get");
    let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let answer = pods.delete("a", &dry).await.expect("delete").left().expect("pod");
    assert!(answer.metadata.deletion_timestamp.is_some());
    let post = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&post, &crate::support::pod("b", json!({}))).await.expect("dry create");
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let patched =
        pods.patch("a", &PatchParams { dry_run: true, ..PatchParams::default() }, &label).await.expect("patch");
    assert_eq!(patched.labels().len(), 1);
    assert_eq!(pods.get("a").await.expect("get"), before);
    assert!(pods.get_opt("b").await.expect("get").is_none());
    let (code, status) =
        rig.raw("DELETE", "/api/v1/namespaces/default/pods/a?dryRun=Some", "application/json", "").await;
    assert_eq!((code, &status["reason"]), (422, &Value::from("Invalid")));
}
