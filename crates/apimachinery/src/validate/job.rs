//! Jobs (S1-30, S9-02 to S9-09).

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::{failure_policy, immutable, invalid_for, names, not_negative, pod};
use crate::{
    field::{FieldErrors, Path},
    prepare::job::{CONTROLLER_UID, JOB_NAME, OLD_CONTROLLER_UID, OLD_JOB_NAME},
    selector::LabelSelector,
};

/// Checks a new Job.
pub(super) fn create(errors: &mut FieldErrors, job: &Job) {
    let path = Path::new("spec");
    let empty = JobSpec::default();
    let found = job.spec.as_ref().unwrap_or(&empty);
    generated_selector(errors, job, found);
    spec(errors, &path, found);
    selector(errors, &path, found);
    let name = job.metadata.name.as_deref().unwrap_or_default();
    if let Some(last) = found.completions.filter(|n| is_indexed(found) && *n > 0).map(|n| n - 1) {
        let pod = format!("{name}-{last}");
        for problem in names::dns_label(&pod) {
            let why = format!("will not able to create pod with invalid DNS label {pod:?}: {problem}");
            errors.invalid(&Path::new("metadata").child("name"), name, why);
        }
    }
}

/// Checks a changed Job (S9-08).
pub(super) fn update(errors: &mut FieldErrors, old_job: &Job, new_job: &Job) {
    let path = Path::new("spec");
    let empty = JobSpec::default();
    let (old, new) = (old_job.spec.as_ref().unwrap_or(&empty), new_job.spec.as_ref().unwrap_or(&empty));
    spec(errors, &path, new);
    selector(errors, &path, new);
    completions(errors, &path, old, new);
    immutable(errors, &path.child("selector"), old.selector.as_ref(), new.selector.as_ref());
    let before = template_but_for_what_may_change(old_job, old, new);
    immutable(errors, &path.child("template"), Some(&before), Some(&new.template));
    immutable(errors, &path.child("completionMode"), old.completion_mode.as_ref(), new.completion_mode.as_ref());
    immutable(
        errors,
        &path.child("podFailurePolicy"),
        old.pod_failure_policy.as_ref(),
        new.pod_failure_policy.as_ref(),
    );
    let (before, after) = (old.backoff_limit_per_index.as_ref(), new.backoff_limit_per_index.as_ref());
    immutable(errors, &path.child("backoffLimitPerIndex"), before, after);
    immutable(errors, &path.child("managedBy"), old.managed_by.as_ref(), new.managed_by.as_ref());
    immutable(errors, &path.child("successPolicy"), old.success_policy.as_ref(), new.success_policy.as_ref());
}

/// The number of indexes may change as long as all of them run at once.
fn completions(errors: &mut FieldErrors, path: &Path, old: &JobSpec, new: &JobSpec) {
    let (before, after) = (old.completions, new.completions);
    let at = path.child("completions");
    if before == after {
        return;
    }
    if !is_indexed(old) || before.is_none() || after.is_none() {
        immutable(errors, &at, before.as_ref(), after.as_ref());
    } else if after != new.parallelism {
        let why = format!("can only be modified in tandem with {}", path.child("parallelism"));
        errors.invalid(&at, serde_json::to_value(after).unwrap_or(Value::Null), why);
    }
}

/// The old template with what a suspended Job may change taken from the new one: where its pods go, what they are
/// called and what they ask for.
fn template_but_for_what_may_change(job: &Job, old: &JobSpec, new: &JobSpec) -> PodTemplateSpec {
    let mut template = old.template.clone();
    let status = job.status.as_ref();
    let started = status.is_some_and(|status| status.start_time.is_some());
    let active = status.and_then(|status| status.active).unwrap_or_default() > 0;
    if old.suspend != Some(true) {
        return template;
    }
    let (Some(before), Some(after)) = (&mut template.spec, &new.template.spec) else { return template };
    if !started {
        directives(before, after);
        let metadata = new.template.metadata.clone().unwrap_or_default();
        let own: &mut ObjectMeta = template.metadata.get_or_insert_default();
        own.labels = metadata.labels;
        own.annotations = metadata.annotations;
    }
    if !active && let Some(before) = &mut template.spec {
        resources(before, after);
    }
    template
}

fn directives(before: &mut PodSpec, after: &PodSpec) {
    before.affinity.clone_from(&after.affinity);
    before.node_selector.clone_from(&after.node_selector);
    before.tolerations.clone_from(&after.tolerations);
    before.scheduling_gates.clone_from(&after.scheduling_gates);
}

fn resources(before: &mut PodSpec, after: &PodSpec) {
    let lists = [
        (Some(&mut before.containers), Some(&after.containers)),
        (before.init_containers.as_mut(), after.init_containers.as_ref()),
    ];
    for (before, after) in lists.into_iter().filter_map(|(before, after)| before.zip(after)) {
        for (before, after) in before.iter_mut().zip(after).filter(|(before, after)| before.name == after.name) {
            before.resources.clone_from(&after.resources);
        }
    }
}

/// A generated selector finds exactly the pods of this Job (S9-09).
fn generated_selector(errors: &mut FieldErrors, job: &Job, spec: &JobSpec) {
    let (Some(selector), true) = (&spec.selector, spec.manual_selector != Some(true)) else { return };
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let path = Path::new("spec").child("template").child("metadata").child("labels");
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    for (key, expected) in [(OLD_CONTROLLER_UID, uid), (OLD_JOB_NAME, name), (CONTROLLER_UID, uid), (JOB_NAME, name)] {
        let why = format!("must be '{expected}'");
        match labels.and_then(|labels| labels.get(key)) {
            None => errors.required(&path.key(key), &why),
            Some(value) if value != expected => {
                errors.invalid(&path.key(key), serde_json::to_value(labels).unwrap_or_default(), why);
            }
            Some(_) => {}
        }
    }
    let generated = |key: &str| match key {
        CONTROLLER_UID | OLD_CONTROLLER_UID => Some(uid),
        JOB_NAME | OLD_JOB_NAME => Some(name),
        _ => None,
    };
    if LabelSelector::from_api(selector).is_ok_and(|selector| !selector.matches(generated)) {
        let value = serde_json::to_value(selector).unwrap_or_default();
        errors.invalid(&Path::new("spec").child("selector"), value, "`selector` not auto-generated");
    }
}

/// Whoever made the selector, it must find the pods that are made from the template.
fn selector(errors: &mut FieldErrors, path: &Path, spec: &JobSpec) {
    let at = path.child("selector");
    let Some(found) = &spec.selector else {
        errors.required(&at, "");
        return;
    };
    let value = || serde_json::to_value(found).unwrap_or_default();
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    match LabelSelector::from_api(found) {
        Err(why) => errors.invalid(&at, value(), why.to_string()),
        Ok(selector) if !selector.matches_map(labels) => {
            let at = path.child("template").child("metadata").child("labels");
            let value = serde_json::to_value(labels).unwrap_or_default();
            errors.invalid(&at, value, "`selector` does not match template `labels`");
        }
        Ok(_) => {}
    }
}

/// Checks what Jobs and the templates of Jobs have in common.
pub(super) fn spec(errors: &mut FieldErrors, path: &Path, spec: &JobSpec) {
    for (field, value) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ] {
        not_negative(errors, &path.child(field), value);
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = &spec.managed_by {
        let at = path.child("managedBy");
        invalid_for(errors, &at, manager, names::domain_prefixed_path(manager));
        if manager.len() > MOST_MANAGER_BYTES {
            errors.too_long(&at, MOST_MANAGER_BYTES);
        }
    }
    completion_mode(errors, path, spec);
    failure_policy::all(errors, path, spec);
    pod::template(errors, &path.child("template"), &spec.template);
    restart_policy(errors, &path.child("template").child("spec").child("restartPolicy"), spec);
}

fn completion_mode(errors: &mut FieldErrors, path: &Path, spec: &JobSpec) {
    match spec.completion_mode.as_deref() {
        Some("Indexed") => indexed(errors, path, spec),
        None | Some("NonIndexed") => not_indexed(errors, path, spec),
        Some(mode) => errors.not_supported(&path.child("completionMode"), mode, &["NonIndexed", "Indexed"]),
    }
}

fn not_indexed(errors: &mut FieldErrors, path: &Path, spec: &JobSpec) {
    let fields =
        [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)];
    for (field, value) in fields {
        if let Some(value) = value {
            errors.invalid(&path.child(field), value, "requires indexed completion mode");
        }
    }
}

fn indexed(errors: &mut FieldErrors, path: &Path, spec: &JobSpec) {
    let at_most = |errors: &mut FieldErrors, field: &str, value: Option<i32>, most: i32, when: &str| {
        if let Some(value) = value.filter(|value| *value > most) {
            errors.invalid(&path.child(field), value, format!("must be less than or equal to {most}{when}"));
        }
    };
    let Some(completions) = spec.completions else {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
        return at_most(errors, "parallelism", spec.parallelism, MOST_INDEXES, WHEN_INDEXED);
    };
    at_most(errors, "parallelism", spec.parallelism, MOST_INDEXES, WHEN_INDEXED);
    if let Some(value) = spec.max_failed_indexes.filter(|value| *value > completions) {
        errors.invalid(&path.child("maxFailedIndexes"), value, "must be less than or equal to completions");
    }
    at_most(errors, "maxFailedIndexes", spec.max_failed_indexes, MOST_INDEXES, "");
    if completions > MOST_INDEXES && spec.backoff_limit_per_index.is_some() {
        if spec.max_failed_indexes.is_none() {
            let why = format!("must be specified when completions is above {MOST_INDEXES}");
            errors.required(&path.child("maxFailedIndexes"), &why);
        }
        let when = format!(" when completions are above {MOST_INDEXES} and used with backoff limit per index");
        at_most(errors, "parallelism", spec.parallelism, MOST_WITH_LIMITS, &when);
        at_most(errors, "maxFailedIndexes", spec.max_failed_indexes, MOST_WITH_LIMITS, &when);
    }
}

/// `maxParallelismForIndexedJob` and its like, S9-03.
const MOST_INDEXES: i32 = 100_000;
const MOST_WITH_LIMITS: i32 = 10_000;
const WHEN_INDEXED: &str = " when completion mode is Indexed";
/// `maxManagedByLength`.
const MOST_MANAGER_BYTES: usize = 63;

/// The pods of a Job end some time. `Always` is what a template gets that says nothing, hence "required" (S1-30).
fn restart_policy(errors: &mut FieldErrors, path: &Path, spec: &JobSpec) {
    match spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or_default() {
        "" | "Always" => errors.required(path, r#"valid values: "OnFailure", "Never""#),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            errors.invalid(path, "OnFailure", r#"only "Never" is supported when podFailurePolicy is specified"#);
        }
        "OnFailure" | "Never" => {}
        policy => errors.not_supported(path, policy, &["OnFailure", "Never"]),
    }
}

pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}
