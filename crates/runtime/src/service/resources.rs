//! Limits of what runs already.

use std::path::PathBuf;

use cri::{ContainerId, ContainerState, Resources, Result, SandboxMemory};

use super::{internal, sandbox::Sandbox};
use crate::{
    cgroup::{self, ContainerCgroup, PodCgroup},
    record,
};

impl Sandbox {
    /// Changes limits of the whole and of containers.
    ///
    /// Flow: the whole first, since in cgroup v1 a container may never have more CPU time than the pod; when that
    /// fails because the containers still have more than the pod is to have, the containers first.
    pub(super) fn update_resources(&self, whole: &Resources, containers: &[(ContainerId, Resources)]) -> Result<()> {
        let pod = self.pod_cgroup().map_err(|e| internal("find the pod's cgroup", &e))?;
        let first = pod.apply(whole);
        for (id, resources) in containers {
            let applied = ContainerCgroup::open(&pod, &id.0).and_then(|cgroup| cgroup.apply(resources));
            applied.map_err(|e| internal(&format!("change the limits of container {id}"), &e))?;
        }
        let last = if first.is_err() { pod.apply(whole) } else { Ok(()) };
        last.map_err(|e| internal("change the limits of the pod", &e))
    }

    /// Reads what the whole and each running container use and may use.
    pub(super) fn memory(&self) -> Result<SandboxMemory> {
        let read = || -> cgroup::Result<SandboxMemory> {
            let pod = self.pod_cgroup()?;
            let running = self.containers().into_iter().filter(|status| status.state == ContainerState::Running);
            let each =
                running.map(|status| Ok((status.id.clone(), ContainerCgroup::open(&pod, &status.id.0)?.memory()?)));
            Ok(SandboxMemory { whole: pod.memory()?, containers: each.collect::<cgroup::Result<_>>()? })
        };
        read().map_err(|e| internal(&format!("read the memory of sandbox {}", self.id()), &e))
    }

    /// Counts the processes of the whole.
    pub(super) fn processes(&self) -> Result<usize> {
        let pids = self.pod_cgroup().and_then(|pod| pod.pids());
        pids.map(|pids| pids.len()).map_err(|e| internal(&format!("count the processes of sandbox {}", self.id()), &e))
    }

    /// Returns where a container's changes to its image are.
    pub(super) fn writable_layer(&self, id: &ContainerId) -> PathBuf {
        record::container_dir(self.dir(), id).join(record::WRITABLE_LAYER)
    }

    fn pod_cgroup(&self) -> cgroup::Result<PodCgroup> {
        let view = self.view();
        PodCgroup::open(&view.record.cgroups, &view.record.cgroup_parent, &view.record.cgroup_name())
    }
}
