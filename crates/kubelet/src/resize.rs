//! Carries out a resize (kuberuntime_manager.go `doPodResizeAction`, `validateMemoryResizeAction`).

use cri::{ContainerId, ImageService, Memory, Resources, RuntimeService, SandboxId, SandboxMemory};
use pod_lifecycle::{Failure, ResizedContainer};

use crate::{executor::PodContext, resources};

/// A container's new limits.
#[derive(Debug, Clone)]
struct Target {
    id: ContainerId,
    name: String,
    resources: Resources,
}

impl<R: RuntimeService + ImageService> PodContext<R> {
    /// Gives the pod and these containers the limits that the plan says. No memory limit is lowered below what is in
    /// use: the kernel would kill for it.
    pub(crate) async fn resize(&self, sandbox: String, containers: Vec<ResizedContainer>) -> Result<(), Failure> {
        let failed = |message: String| Failure { reason: "ResizeError".to_owned(), message };
        let (sandbox, pod) = (SandboxId(sandbox), &self.plan.pod);
        let whole = explicit(resources::pod_resources(pod));
        let targets: Vec<Target> = containers
            .into_iter()
            .map(|resized| {
                let spec = &self.plan.container(resized.container).spec;
                let resources = explicit(resources::container_resources(pod, spec, self.node.memory));
                Target { id: ContainerId(resized.id), name: spec.name.clone(), resources }
            })
            .collect();
        let runtime = &self.node.runtime;
        let memory = runtime.memory(&sandbox).await.map_err(|e| failed(e.to_string()))?;
        check_memory(&memory, &whole, &targets).map_err(failed)?;
        let each = targets.into_iter().map(|target| (target.id, target.resources)).collect();
        runtime.update_resources(&sandbox, whole, each).await.map_err(|e| failed(e.to_string()))
    }
}

/// Says "no limit" where nothing is said, so that an old limit goes.
fn explicit(resources: Resources) -> Resources {
    Resources {
        cpu_quota: resources.cpu_quota.or(Some(-1)),
        memory_limit: resources.memory_limit.or(Some(0)),
        ..resources
    }
}

/// Refuses memory limits that are lowered to what is in use, or below (contract S8-08).
fn check_memory(now: &SandboxMemory, whole: &Resources, targets: &[Target]) -> Result<(), String> {
    let below = |memory: &Memory, wanted: Option<u64>| {
        let wanted = wanted.filter(|&limit| limit > 0 && memory.limit.is_none_or(|old| limit < old))?;
        (memory.used >= wanted).then(|| format!("memory limit ({wanted}) below current usage ({})", memory.used))
    };
    let mut errors: Vec<_> =
        below(&now.whole, whole.memory_limit).map(|text| format!("attempting to set pod {text}")).into_iter().collect();
    for target in targets {
        let text = now.containers.get(&target.id).and_then(|memory| below(memory, target.resources.memory_limit));
        errors.extend(text.map(|text| format!("attempting to set container {:?} {text}", target.name)));
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(format!("cannot decrease memory limits: {one}")),
        several => Err(format!("cannot decrease memory limits: [{}]", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(used: u64, limit: u64) -> Memory {
        Memory { used, working_set: used, limit: Some(limit) }
    }

    fn limit(bytes: u64) -> Resources {
        Resources { memory_limit: Some(bytes), ..Resources::default() }
    }

    #[test]
    fn s8_08_a_memory_limit_is_not_lowered_below_what_is_in_use() {
        let id = ContainerId("c".to_owned());
        let now = SandboxMemory { whole: memory(60, 100), containers: [(id.clone(), memory(50, 100))].into() };
        let to = |bytes| [Target { id: id.clone(), name: "app".to_owned(), resources: limit(bytes) }];
        assert_eq!(check_memory(&now, &limit(70), &to(70)), Ok(()));
        let one = "cannot decrease memory limits: attempting to set pod memory limit (55) below current usage (60)";
        assert_eq!(check_memory(&now, &limit(55), &to(55)), Err(one.to_owned()));
        let both = "cannot decrease memory limits: [attempting to set pod memory limit (40) below current usage (60), \
                    attempting to set container \"app\" memory limit (40) below current usage (50)]";
        assert_eq!(check_memory(&now, &limit(40), &to(40)), Err(both.to_owned()));
        let full = SandboxMemory { whole: memory(100, 100), containers: [(id.clone(), memory(100, 100))].into() };
        assert_eq!(check_memory(&full, &limit(100), &to(100)), Ok(()), "only the CPU is changed");
        assert_eq!(check_memory(&full, &limit(0), &to(0)), Ok(()), "the limit is lifted");
    }
}
