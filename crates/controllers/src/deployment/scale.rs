//! Decides how many pods each ReplicaSet of a Deployment is to have (rolling.go, recreate.go,
//! sync.go: `scale`).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;

use crate::deployment::Update;
use crate::deployment::annotations::{self, DESIRED_REPLICAS, MAX_REPLICAS};
use crate::deployment::numbers::{Numbers, actual, available, is_observed, size, sizes};
use crate::deployment::template::age;
use crate::meta;

/// A Deployment's ReplicaSets.
#[derive(Debug, Clone)]
pub(crate) struct Sets {
    /// That of the present template.
    pub(crate) present: Option<Arc<ReplicaSet>>,
    /// The others, the oldest first.
    pub(crate) old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    pub(crate) fn new(present: Option<&Arc<ReplicaSet>>, all: &[Arc<ReplicaSet>]) -> Self {
        let uid = present.map(|set| meta::uid(&set.metadata));
        let mut old: Vec<_> = all.iter().filter(|set| Some(meta::uid(&set.metadata)) != uid).cloned().collect();
        old.sort_by_cached_key(|set| age(set));
        Self { present: present.cloned(), old }
    }

    pub(crate) fn all(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().chain(&self.present).cloned().collect()
    }

    fn active(&self) -> Vec<Arc<ReplicaSet>> {
        self.all().into_iter().filter(|set| size(set) > 0).collect()
    }
}

/// A change of size; none if the ReplicaSet has that size already.
fn resize(numbers: &Numbers, set: &Arc<ReplicaSet>, replicas: i32) -> Option<Update> {
    (size(set) != replicas).then(|| rescale(numbers, set, replicas)).flatten()
}

/// A change of size, or of what a later scaling is to start from.
fn rescale(numbers: &Numbers, set: &Arc<ReplicaSet>, replicas: i32) -> Option<Update> {
    let update = Update {
        replicas: Some(replicas).filter(|replicas| *replicas != size(set)),
        annotations: annotations::of_scale(numbers, set),
        ..Update::of(Arc::clone(set))
    };
    Some(update).filter(|update| !update.is_empty())
}

/// The size that the present ReplicaSet may have by now (`NewRSNewReplicas`).
pub(crate) fn present_size(numbers: &Numbers, all: &[Arc<ReplicaSet>], present: i32) -> i32 {
    let total = sizes(all);
    if !numbers.rolling {
        return numbers.replicas;
    }
    if total >= numbers.most() {
        return present;
    }
    present + (numbers.most() - total).min(numbers.replicas - present)
}

// ---- Rolling ----------------------------------------------------------------------------------

/// The next steps of a rolling update: up if there is room, else down if enough are available.
pub(crate) fn roll(numbers: &Numbers, sets: &Sets) -> Vec<Update> {
    let Some(present) = &sets.present else { return Vec::new() };
    let all = sets.all();
    let wanted = match size(present) {
        more if more > numbers.replicas => numbers.replicas,
        fewer => present_size(numbers, &all, fewer),
    };
    match resize(numbers, present, wanted) {
        Some(update) => vec![update],
        None => shrink_old(numbers, sets, present),
    }
}

fn shrink_old(numbers: &Numbers, sets: &Sets, present: &ReplicaSet) -> Vec<Update> {
    let least = numbers.least_available();
    let unavailable = size(present) - surely_available(present);
    let mut removable = sizes(&sets.all()) - least - unavailable;
    if sizes(&sets.old) == 0 || removable <= 0 {
        return Vec::new();
    }
    let mut new_sizes = BTreeMap::new();
    // Pods that serve nobody go first.
    for set in &sets.old {
        let broken = surely_broken(set).min(removable);
        removable -= broken;
        new_sizes.insert(meta::name(&set.metadata), size(set) - broken);
    }
    let mut spare = sets.all().iter().map(|set| surely_available(set)).sum::<i32>() - least;
    for set in &sets.old {
        let Some(new) = new_sizes.get_mut(meta::name(&set.metadata)) else { continue };
        let removed = (*new).min(spare.max(0));
        spare -= removed;
        *new -= removed;
    }
    let new_size = |set: &ReplicaSet| new_sizes.get(meta::name(&set.metadata)).copied().unwrap_or_else(|| size(set));
    sets.old.iter().filter_map(|set| resize(numbers, set, new_size(set))).collect()
}

/// Available pods that the ReplicaSet keeps. As long as its controller has not seen its size, nobody
/// knows: it may be about to delete pods because of a size that was asked for in between.
fn surely_available(set: &ReplicaSet) -> i32 {
    if is_observed(set) { available(set).min(size(set)) } else { 0 }
}

/// Pods that serve nobody, as far as is known.
fn surely_broken(set: &ReplicaSet) -> i32 {
    if is_observed(set) { (size(set) - available(set)).max(0) } else { 0 }
}

// ---- Recreate ---------------------------------------------------------------------------------

/// Makes the old ReplicaSets empty.
pub(crate) fn empty_old(numbers: &Numbers, sets: &Sets) -> Vec<Update> {
    sets.old.iter().filter_map(|set| resize(numbers, set, 0)).collect()
}

/// Fills the present ReplicaSet.
pub(crate) fn fill_present(numbers: &Numbers, sets: &Sets) -> Vec<Update> {
    sets.present.iter().filter_map(|set| resize(numbers, set, numbers.replicas)).collect()
}

/// Whether pods of old templates may still run.
pub(crate) fn old_pods_run(sets: &Sets, pods: &[Arc<Pod>]) -> bool {
    let is_old = |pod: &Pod| sets.old.iter().any(|set| meta::is_controlled_by(&pod.metadata, meta::uid(&set.metadata)));
    sets.old.iter().any(|set| actual(set) > 0) || pods.iter().any(|pod| is_old(pod) && !crate::pod::is_terminal(pod))
}

// ---- Scaling ----------------------------------------------------------------------------------

/// Whether the Deployment's replicas have changed since its ReplicaSets were scaled last. Where old
/// pods go before new ones come, several ReplicaSets with pods are not scaled but emptied.
pub(crate) fn is_due(numbers: &Numbers, sets: &Sets) -> bool {
    let desired = |set: &Arc<ReplicaSet>| annotations::number(set, DESIRED_REPLICAS);
    let active = sets.active();
    let scalable = numbers.rolling || active.len() == 1;
    scalable && active.iter().filter_map(desired).any(|desired| desired != numbers.replicas)
}

/// Scales without rolling out: all in proportion to their sizes.
pub(crate) fn scale(numbers: &Numbers, deployed: i32, sets: &Sets) -> Vec<Update> {
    let active = sets.active();
    let single = match active.as_slice() {
        [] => sets.present.as_ref().or_else(|| sets.old.last()),
        [one] => Some(one),
        _ => None,
    };
    if let Some(single) = single {
        return rescale(numbers, single, numbers.replicas).into_iter().collect();
    }
    if sets.present.as_deref().is_some_and(|set| is_saturated(numbers, set)) {
        return empty_old(numbers, sets);
    }
    if !numbers.rolling {
        return Vec::new();
    }
    share_out(numbers, deployed, active)
}

fn is_saturated(numbers: &Numbers, present: &ReplicaSet) -> bool {
    let wanted = numbers.replicas;
    size(present) == wanted
        && annotations::number(present, DESIRED_REPLICAS) == Some(wanted)
        && available(present) == wanted
}

/// Shares a change of size out in proportion. `deployed` is the number of pods that there are.
fn share_out(numbers: &Numbers, deployed: i32, mut active: Vec<Arc<ReplicaSet>>) -> Vec<Update> {
    let allowed = if numbers.replicas > 0 { numbers.most() } else { 0 };
    let change = allowed - sizes(&active);
    // The largest first; of equals, newer ones grow and older ones shrink first.
    active.sort_by_cached_key(|set| age(set));
    if change > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| Reverse(size(set)));
    let mut done = 0;
    let mut new_sizes = Vec::with_capacity(active.len());
    for set in &active {
        let (share, left) = (share(numbers, deployed, set), change - done);
        let step = match change {
            0 => 0,
            1.. => share.min(left),
            _ => share.max(left),
        };
        done += step;
        new_sizes.push(size(set) + step);
    }
    // What rounding leaves goes to the largest.
    if let Some(first) = new_sizes.first_mut() {
        *first = (*first + change - done).max(0);
    }
    active.iter().zip(new_sizes).filter_map(|(set, replicas)| rescale(numbers, set, replicas)).collect()
}

/// By how much one ReplicaSet is to change so that it keeps its part of the whole.
fn share(numbers: &Numbers, deployed: i32, set: &ReplicaSet) -> i32 {
    if numbers.replicas == 0 {
        return -size(set);
    }
    let before = annotations::number(set, MAX_REPLICAS).filter(|before| *before != 0).unwrap_or(deployed);
    if before <= 0 {
        return 0;
    }
    let (product, before) = (i64::from(size(set)) * i64::from(numbers.most()), i64::from(before));
    // Rounded to the nearest, halves up.
    let new = (2 * product + before) / (2 * before);
    i32::try_from(new).unwrap_or(i32::MAX) - size(set)
}
