//! What the node reports of itself.

use cri::ImageInfo;
use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
        NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{Quantities, machine};
use crate::{Options, eviction::Condition};

/// Images that are reported at most (`nodeStatusMaxImages`), and names of each (`MaxNamesPerImageInNodeStatus`).
const MOST_IMAGES: usize = 50;
const MOST_NAMES: usize = 5;

/// Port that a kubelet serves on by default. Nothing listens there: the API server reaches this one without.
const KUBELET_PORT: i32 = 10250;

/// How much there is, and how much of that is for pods.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    /// All that the machine has.
    pub(crate) capacity: Quantities,
    /// What pods can have.
    pub(crate) allocatable: Quantities,
}

impl Room {
    /// Reads it from the machine.
    pub(crate) fn read(options: &Options) -> Self {
        let capacity = machine::capacity(options);
        Self { allocatable: machine::allocatable(&capacity), capacity }
    }
}

/// Returns the status of a node that is short of these things. What was reported `before` tells since when. Without images, none are
/// reported, and those that were stay.
pub(super) fn status(
    options: &Options,
    room: &Room,
    images: Option<Vec<ImageInfo>>,
    short: &[Condition],
    before: Option<&NodeStatus>,
    now: &Time,
) -> NodeStatus {
    let internal = |ip: &std::net::IpAddr| NodeAddress { type_: "InternalIP".to_owned(), address: ip.to_string() };
    let mut addresses: Vec<_> = options.node_ips.iter().map(internal).collect();
    addresses.push(NodeAddress { type_: "Hostname".to_owned(), address: options.node_name.clone() });
    let before = before.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    NodeStatus {
        capacity: Some(room.capacity.clone()),
        allocatable: Some(room.allocatable.clone()),
        conditions: Some(conditions(short, before, now)),
        addresses: Some(addresses),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: KUBELET_PORT }) }),
        node_info: Some(machine::system_info()),
        images: images.map(container_images),
        features: Some(NodeFeatures { supplemental_groups_policy: Some(true) }),
        runtime_handlers: Some(vec![default_handler()]),
        ..NodeStatus::default()
    }
}

/// Returns what the only runtime there is can do, under the name of the default one: none.
fn default_handler() -> NodeRuntimeHandler {
    let features = NodeRuntimeHandlerFeatures { recursive_read_only_mounts: Some(true), ..Default::default() };
    NodeRuntimeHandler { name: Some(String::new()), features: Some(features) }
}

fn conditions(short: &[Condition], before: &[NodeCondition], now: &Time) -> Vec<NodeCondition> {
    let pressure = [Condition::Memory, Condition::Disk, Condition::Pids].map(|condition| {
        let is_short = short.contains(&condition);
        let (reason, message) = match (condition, is_short) {
            (Condition::Memory, false) => ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            (Condition::Memory, true) => ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            (Condition::Disk, false) => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            (Condition::Disk, true) => ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            (Condition::Pids, false) => ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            (Condition::Pids, true) => ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        };
        (condition.type_(), if is_short { "True" } else { "False" }, reason, message)
    });
    let all = pressure.into_iter().chain([("Ready", "True", "KubeletReady", "kubelet is posting ready status")]);
    all.map(|(type_, status, reason, message)| {
        let same = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: same
                .and_then(|condition| condition.last_transition_time.clone())
                .or_else(|| Some(now.clone())),
        }
    })
    .collect()
}

/// Returns the reasons of the events that tell of conditions that came or went (setters.go).
pub(super) fn transitions(before: &NodeStatus, after: &NodeStatus) -> Vec<String> {
    let before = before.conditions.as_deref().unwrap_or_default();
    let changed = after
        .conditions
        .iter()
        .flatten()
        .filter(|new| before.iter().any(|old| old.type_ == new.type_ && old.status != new.status));
    changed.filter_map(|new| Some(format!("Node{}", new.reason.as_ref()?.strip_prefix("Kubelet")?))).collect()
}

/// The largest images first, with their digests before their tags.
fn container_images(mut images: Vec<ImageInfo>) -> Vec<ContainerImage> {
    images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    images
        .into_iter()
        .take(MOST_IMAGES)
        .map(|image| ContainerImage {
            names: Some(image.repo_digests.into_iter().chain(image.repo_tags).take(MOST_NAMES).collect()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect()
}

/// Tells whether two reports differ in more than their time.
pub(super) fn changed(before: &NodeStatus, after: &NodeStatus) -> bool {
    let timeless = |status: &NodeStatus| {
        let mut status = status.clone();
        status.conditions.iter_mut().flatten().for_each(|condition| condition.last_heartbeat_time = None);
        status
    };
    timeless(before) != timeless(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    fn image(id: &str, size: u64) -> ImageInfo {
        let repo_tags = (0..9).map(|n| format!("{id}:{n}")).collect();
        ImageInfo { id: id.into(), size, repo_tags, repo_digests: vec![format!("{id}@sha256:0")], ..Default::default() }
    }

    #[test]
    fn conditions_that_stay_keep_their_transition_and_renew_their_heartbeat() {
        let first = conditions(&[], &[], &time(1));
        let second = conditions(&[], &first, &time(2));
        for condition in second {
            assert_eq!(condition.last_transition_time, Some(time(1)));
            assert_eq!(condition.last_heartbeat_time, Some(time(2)));
        }
        let mut not_ready = first;
        not_ready[3].status = "Unknown".to_owned();
        assert_eq!(conditions(&[], &not_ready, &time(3))[3].last_transition_time, Some(time(3)));
    }

    #[test]
    fn s4_56_what_the_node_is_short_of_shows_in_its_conditions_and_is_told_when_it_changes() {
        let status = |short: &[Condition]| NodeStatus {
            conditions: Some(conditions(short, &conditions(&[], &[], &time(1)), &time(2))),
            ..NodeStatus::default()
        };
        let (well, short) = (status(&[]), status(&[Condition::Memory, Condition::Disk]));
        let shown = |status: &NodeStatus| {
            let all = status.conditions.iter().flatten();
            let lines = all.map(|c| format!("{} {} {}", c.type_, c.status, c.message.as_deref().unwrap()));
            lines.collect::<Vec<_>>()
        };
        let want = [
            "MemoryPressure True kubelet has insufficient memory available",
            "DiskPressure True kubelet has disk pressure",
            "PIDPressure False kubelet has sufficient PID available",
            "Ready True kubelet is posting ready status",
        ];
        assert_eq!(shown(&short), want);
        assert_eq!(transitions(&well, &short), ["NodeHasInsufficientMemory", "NodeHasDiskPressure"]);
        assert_eq!(transitions(&short, &well), ["NodeHasSufficientMemory", "NodeHasNoDiskPressure"]);
        assert!(changed(&well, &short));
    }

    #[test]
    fn a_later_heartbeat_alone_is_no_change() {
        let status = |second, images| NodeStatus {
            conditions: Some(conditions(&[], &conditions(&[], &[], &time(1)), &time(second))),
            images,
            ..NodeStatus::default()
        };
        assert!(!changed(&status(1, None), &status(2, None)));
        assert!(changed(&status(1, None), &status(1, Some(Vec::new()))));
    }

    #[test]
    fn the_fifty_largest_images_are_reported_with_five_names() {
        let images = (0..60).map(|n| image(&format!("i{n}"), n)).collect();
        let reported = container_images(images);
        assert_eq!(reported.len(), 50);
        assert_eq!(reported[0].size_bytes, Some(59));
        assert_eq!(reported[0].names.as_ref().unwrap()[..2], ["i59@sha256:0", "i59:0"]);
        assert_eq!(reported[0].names.as_ref().unwrap().len(), 5);
    }
}
