//! What is special about writing Jobs.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::batch::v1::Job,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

/// Label by which a Job finds its pods.
pub(crate) const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// Label with the name of the Job.
pub(crate) const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// The same labels as they were called before they had a prefix.
pub(crate) const OLD_CONTROLLER_UID: &str = "controller-uid";
pub(crate) const OLD_JOB_NAME: &str = "job-name";

/// Makes selector and template labels, unless the user manages them (S9-09), and gives an unlabelled Job the labels of
/// its template (S9-01).
pub(super) fn generate_selector(job: &mut Job) {
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let name = job.metadata.name.clone().unwrap_or_default();
    let Some(spec) = &mut job.spec else { return };
    if spec.manual_selector != Some(true) {
        let meta: &mut ObjectMeta = spec.template.metadata.get_or_insert_default();
        let labels: &mut BTreeMap<String, String> = meta.labels.get_or_insert_default();
        // A user's own value stays, and validation then refuses it.
        for (key, value) in
            [(OLD_JOB_NAME, &name), (JOB_NAME, &name), (OLD_CONTROLLER_UID, &uid), (CONTROLLER_UID, &uid)]
        {
            labels.entry(key.into()).or_insert_with(|| value.clone());
        }
        let selector = spec.selector.get_or_insert_with(LabelSelector::default);
        selector.match_labels.get_or_insert_default().entry(CONTROLLER_UID.into()).or_insert(uid);
    }
    if job.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) {
        job.metadata.labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone());
    }
}
