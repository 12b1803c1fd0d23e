//! Pod templates: which ReplicaSet is of the present one, and how a new one is called.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use apimachinery::prepare::NAME_ALPHABET;

use crate::deployment::numbers::Numbers;
use crate::meta;

/// Label that tells the pods of one template from those of another.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// Longest name of an object.
const LONGEST_NAME: usize = 253;

/// The oldest ReplicaSet of the present template (`FindNewReplicaSet`).
pub(crate) fn find<'a>(deployment: &Deployment, sets: &'a [Arc<ReplicaSet>]) -> Option<&'a Arc<ReplicaSet>> {
    let wanted = present(deployment)?;
    let same = sets.iter().filter(|set| is_of(set, &wanted));
    same.min_by_key(|set| age(set))
}

/// Orders ReplicaSets, the oldest first.
pub(crate) fn age(set: &ReplicaSet) -> impl Ord + use<> {
    let created = set.metadata.creation_timestamp.as_ref().map(|t| t.0);
    (created, meta::name(&set.metadata).to_owned())
}

/// Whether the ReplicaSet makes the pods that the Deployment asks for.
pub(crate) fn is_present(deployment: &Deployment, set: &ReplicaSet) -> bool {
    present(deployment).is_some_and(|wanted| is_of(set, &wanted))
}

fn present(deployment: &Deployment) -> Option<PodTemplateSpec> {
    Some(comparable(deployment.spec.as_ref()?.template.clone()))
}

fn is_of(set: &ReplicaSet, wanted: &PodTemplateSpec) -> bool {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone());
    template.is_some_and(|template| comparable(template) == *wanted)
}

/// The template without what may differ: the hash, and whether maps are empty or absent.
fn comparable(mut template: PodTemplateSpec) -> PodTemplateSpec {
    if let Some(metadata) = &mut template.metadata {
        metadata.creation_timestamp = None;
        if let Some(labels) = &mut metadata.labels {
            labels.remove(POD_TEMPLATE_HASH);
        }
        metadata.labels = metadata.labels.take().filter(|map| !map.is_empty());
        metadata.annotations = metadata.annotations.take().filter(|map| !map.is_empty());
    }
    template.metadata = template.metadata.filter(|metadata| *metadata != ObjectMeta::default());
    template
}

/// Makes the ReplicaSet of the present template, without replicas and annotations.
pub(crate) fn make(deployment: &Deployment, numbers: &Numbers) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash(&spec.template, collisions);
    let (mut template, mut selector) = (spec.template, spec.selector);
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(POD_TEMPLATE_HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    selector.match_labels.get_or_insert_default().insert(POD_TEMPLATE_HASH.to_owned(), hash.clone());
    let prefix: String =
        meta::name(&deployment.metadata).chars().take(LONGEST_NAME.saturating_sub(hash.len() + 1)).collect();
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![meta::controller_reference("apps/v1", "Deployment", &deployment.metadata)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: Some(numbers.min_ready_seconds),
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// A number for the template in the letters of generated names. FNV-1a over its JSON, whose maps
/// are ordered: the same at every start, and different after a collision.
fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let json = serde_json::to_vec(template).unwrap_or_default();
    let collisions = collisions.map(i32::to_le_bytes).unwrap_or_default();
    let sum = json.iter().chain(&collisions).fold(OFFSET, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(PRIME));
    sum.to_string().bytes().map(|digit| char::from(NAME_ALPHABET[usize::from(digit) % NAME_ALPHABET.len()])).collect()
}
