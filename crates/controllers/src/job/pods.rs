//! Makes the pods of a Job (S9-09 to S9-12).

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::job::facts::{COMPLETION_INDEX, INDEX_FAILURE_COUNT, INDEX_IGNORED_FAILURE_COUNT, TRACKING_FINALIZER};
use crate::meta;

/// A pod that the plan asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewPod {
    /// Its completion index, if the Job is Indexed.
    pub index: Option<u32>,
    /// Failures of its index so far, if the Job limits them.
    pub failures: Option<IndexFailures>,
}

/// How often an index has failed so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexFailures {
    /// Failures that count.
    pub counted: u32,
    /// Failures that the failure policy ignored.
    pub ignored: u32,
}

/// Longest prefix of a generated name: 63 less the suffix (apiserver names/generate.go).
const LONGEST_PREFIX: usize = 58;

const INDEX_ENV: &str = "JOB_COMPLETION_INDEX";

/// Makes a pod of the Job. `suffix` makes its name unique.
#[must_use]
pub fn build(job: &Job, new: &NewPod, suffix: &str) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let PodTemplateSpec { metadata: template_meta, spec } = template;
    let template_meta = template_meta.unwrap_or_default();
    let prefix = name_prefix(meta::name(&job.metadata), new.index);
    let mut finalizers = template_meta.finalizers.unwrap_or_default();
    if !finalizers.iter().any(|f| f == TRACKING_FINALIZER) {
        finalizers.push(TRACKING_FINALIZER.to_owned());
    }
    let metadata = ObjectMeta {
        name: Some(format!("{}{suffix}", cut(&prefix, LONGEST_PREFIX))),
        generate_name: Some(prefix),
        namespace: job.metadata.namespace.clone(),
        labels: Some(labels(template_meta.labels, new)).filter(|map| !map.is_empty()),
        annotations: Some(annotations(template_meta.annotations, new)).filter(|map| !map.is_empty()),
        finalizers: Some(finalizers),
        owner_references: Some(vec![meta::controller_reference("batch/v1", "Job", &job.metadata)]),
        ..ObjectMeta::default()
    };
    let mut spec = spec.unwrap_or_default();
    if let Some(index) = new.index {
        add_index(&mut spec, meta::name(&job.metadata), index);
    }
    Pod { metadata, spec: Some(spec), status: None }
}

fn name_prefix(job: &str, index: Option<u32>) -> String {
    match index {
        None => format!("{job}-"),
        Some(index) => {
            let ending = format!("-{index}-");
            format!("{}{ending}", cut(job, LONGEST_PREFIX.saturating_sub(ending.len())))
        }
    }
}

fn cut(text: &str, length: usize) -> &str {
    text.get(..length).unwrap_or(text)
}

fn labels(template: Option<BTreeMap<String, String>>, new: &NewPod) -> BTreeMap<String, String> {
    let mut labels = template.unwrap_or_default();
    if let Some(index) = new.index {
        labels.insert(COMPLETION_INDEX.to_owned(), index.to_string());
    }
    labels
}

fn annotations(template: Option<BTreeMap<String, String>>, new: &NewPod) -> BTreeMap<String, String> {
    let mut annotations = template.unwrap_or_default();
    if let Some(index) = new.index {
        annotations.insert(COMPLETION_INDEX.to_owned(), index.to_string());
    }
    if let Some(failures) = new.failures {
        annotations.insert(INDEX_FAILURE_COUNT.to_owned(), failures.counted.to_string());
        if failures.ignored > 0 {
            annotations.insert(INDEX_IGNORED_FAILURE_COUNT.to_owned(), failures.ignored.to_string());
        }
    }
    annotations
}

fn add_index(spec: &mut PodSpec, job: &str, index: u32) {
    spec.hostname = Some(format!("{job}-{index}"));
    let inits = spec.init_containers.iter_mut().flatten();
    inits.chain(&mut spec.containers).for_each(add_index_env);
}

fn add_index_env(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|var| var.name == INDEX_ENV) {
        return;
    }
    let field = ObjectFieldSelector {
        api_version: Some("v1".to_owned()),
        field_path: format!("metadata.labels['{COMPLETION_INDEX}']"),
    };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    env.push(EnvVar { name: INDEX_ENV.to_owned(), value: None, value_from: Some(source) });
}

/// Characters of generated names: no vowels, so no words; nothing easily confused
/// (apimachinery util/rand).
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Length of a generated name's suffix.
const SUFFIX: usize = 5;

/// Makes the `serial`-th suffix of an object. The same arguments give the same suffix, so a
/// creation with unknown outcome can be repeated under the same name.
#[must_use]
pub fn suffix(seed: u64, uid: &str, serial: u64) -> String {
    let mut state = uid.bytes().fold(mix(seed ^ mix(serial)), |state, byte| mix(state ^ u64::from(byte)));
    let characters = (0..SUFFIX).filter_map(|_| {
        state = mix(state);
        let at = usize::try_from(state % ALPHABET.len() as u64).ok()?;
        ALPHABET.get(at).map(|byte| char::from(*byte))
    });
    characters.collect()
}

/// The finalising step of SplitMix64: spreads every input bit over the output.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
