//! The resources that are served: their names, scope and kinds.

/// One resource of the API, as discovery shows it.
///
/// There is exactly one `&'static` instance for each; get it with [`by_plural`] or [`by_kind`].
#[derive(Debug, PartialEq, Eq)]
pub struct ResourceType {
    /// API group; empty for core.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// `group/version`, or just the version for core: what `apiVersion` says.
    pub api_version: &'static str,
    /// Kind of one object.
    pub kind: &'static str,
    /// Name in the URL.
    pub plural: &'static str,
    /// Name for people.
    pub singular: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Abbreviations that clients accept.
    pub short_names: &'static [&'static str],
    /// Groups of resources that it is part of (`all`).
    pub categories: &'static [&'static str],
    /// Whether it has a `status` subresource, so that status and spec are written separately.
    pub has_status: bool,
    /// Whether a change of the spec increases `metadata.generation`.
    pub has_generation: bool,
}

impl ResourceType {
    /// Returns the resource name with its group, as error texts use it.
    ///
    /// ```
    /// use apimachinery::scheme;
    /// assert_eq!(scheme::by_kind("batch/v1", "Job").unwrap().qualified(), "jobs.batch");
    /// assert_eq!(scheme::by_kind("v1", "Pod").unwrap().qualified(), "pods");
    /// ```
    pub fn qualified(&self) -> String {
        qualify(self.plural, self.group)
    }

    /// Returns the kind with its group, as error texts use it (`Job.batch`).
    pub fn qualified_kind(&self) -> String {
        qualify(self.kind, self.group)
    }

    /// Returns the kind of a list of them (`PodList`).
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// Returns the URL path of the collection.
    ///
    /// ```
    /// use apimachinery::scheme;
    /// let job = scheme::by_kind("batch/v1", "Job").unwrap();
    /// assert_eq!(job.path(Some("default")), "/apis/batch/v1/namespaces/default/jobs");
    /// assert_eq!(scheme::by_kind("v1", "Node").unwrap().path(None), "/api/v1/nodes");
    /// ```
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        match namespace.filter(|_| self.namespaced) {
            Some(ns) => format!("{root}/{}/namespaces/{ns}/{}", self.api_version, self.plural),
            None => format!("{root}/{}/{}", self.api_version, self.plural),
        }
    }
}

/// Finds a resource by the parts of its URL.
///
/// ```
/// use apimachinery::scheme;
/// assert_eq!(scheme::by_plural("", "v1", "pods").unwrap().kind, "Pod");
/// assert!(scheme::by_plural("batch", "v1", "pods").is_none());
/// ```
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static ResourceType> {
    RESOURCES.iter().find(|r| r.plural == plural && r.group == group && r.version == version)
}

/// Finds a resource by what an object says of itself.
///
/// ```
/// use apimachinery::scheme;
/// assert_eq!(scheme::by_kind("batch/v1", "CronJob").unwrap().plural, "cronjobs");
/// ```
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static ResourceType> {
    RESOURCES.iter().find(|r| r.kind == kind && r.api_version == api_version)
}

/// Finds a resource by any name a person may type: plural, singular, short name, or kind, with or without group.
///
/// ```
/// use apimachinery::scheme;
/// for name in ["po", "pod", "pods", "Pod"] {
///     assert_eq!(scheme::by_name(name).unwrap().kind, "Pod");
/// }
/// assert_eq!(scheme::by_name("jobs.batch").unwrap().kind, "Job");
/// ```
pub fn by_name(name: &str) -> Option<&'static ResourceType> {
    let lower = name.to_ascii_lowercase();
    let (word, group) = match lower.split_once('.') {
        Some((word, group)) => (word, Some(group)),
        None => (lower.as_str(), None),
    };
    RESOURCES.iter().find(|r| {
        let named = r.plural == word || r.singular == word || r.short_names.contains(&word);
        named && group.is_none_or(|g| g == r.group || g == format!("{}.{}", r.version, r.group))
    })
}

/// Returns all resources that are served, core first.
pub fn all() -> &'static [ResourceType] {
    RESOURCES
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// What most resources of the core group have in common.
const CORE: ResourceType = ResourceType {
    group: "",
    version: "v1",
    api_version: "v1",
    kind: "",
    plural: "",
    singular: "",
    namespaced: true,
    short_names: &[],
    categories: &[],
    has_status: false,
    has_generation: false,
};

/// What the resources of the batch group have in common.
const BATCH: ResourceType = ResourceType {
    group: "batch",
    api_version: "batch/v1",
    categories: &["all"],
    has_status: true,
    has_generation: true,
    ..CORE
};

/// What the resources of the apps group have in common.
const APPS: ResourceType = ResourceType {
    group: "apps",
    api_version: "apps/v1",
    categories: &["all"],
    has_status: true,
    has_generation: true,
    ..CORE
};

/// What the resources of the access control group have in common.
const RBAC: ResourceType =
    ResourceType { group: "rbac.authorization.k8s.io", api_version: "rbac.authorization.k8s.io/v1", ..CORE };

/// What the `scale` subresource sends; it is no resource of its own.
pub static SCALE: ResourceType = ResourceType {
    group: "autoscaling",
    api_version: "autoscaling/v1",
    kind: "Scale",
    plural: "scales",
    singular: "scale",
    ..CORE
};

static RESOURCES: &[ResourceType] = &[
    ResourceType {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        namespaced: false,
        short_names: &["ns"],
        has_status: true,
        ..CORE
    },
    ResourceType {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        namespaced: false,
        short_names: &["no"],
        has_status: true,
        ..CORE
    },
    ResourceType {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        has_status: true,
        has_generation: true,
        ..CORE
    },
    ResourceType { kind: "ConfigMap", plural: "configmaps", singular: "configmap", short_names: &["cm"], ..CORE },
    ResourceType { kind: "Secret", plural: "secrets", singular: "secret", ..CORE },
    ResourceType {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        ..CORE
    },
    ResourceType { kind: "Event", plural: "events", singular: "event", short_names: &["ev"], ..CORE },
    ResourceType { kind: "PodTemplate", plural: "podtemplates", singular: "podtemplate", ..CORE },
    ResourceType {
        kind: "LimitRange",
        plural: "limitranges",
        singular: "limitrange",
        short_names: &["limits"],
        ..CORE
    },
    ResourceType {
        kind: "ResourceQuota",
        plural: "resourcequotas",
        singular: "resourcequota",
        short_names: &["quota"],
        has_status: true,
        ..CORE
    },
    ResourceType {
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        has_status: true,
        ..CORE
    },
    ResourceType { kind: "Endpoints", plural: "endpoints", singular: "endpoints", short_names: &["ep"], ..CORE },
    ResourceType { kind: "Job", plural: "jobs", singular: "job", ..BATCH },
    ResourceType { kind: "CronJob", plural: "cronjobs", singular: "cronjob", short_names: &["cj"], ..BATCH },
    ResourceType {
        group: "coordination.k8s.io",
        api_version: "coordination.k8s.io/v1",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        ..CORE
    },
    ResourceType {
        group: "events.k8s.io",
        api_version: "events.k8s.io/v1",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        ..CORE
    },
    ResourceType { kind: "ReplicaSet", plural: "replicasets", singular: "replicaset", short_names: &["rs"], ..APPS },
    ResourceType {
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short_names: &["deploy"],
        ..APPS
    },
    ResourceType {
        kind: "ControllerRevision",
        plural: "controllerrevisions",
        singular: "controllerrevision",
        categories: &[],
        has_status: false,
        has_generation: false,
        ..APPS
    },
    ResourceType {
        group: "discovery.k8s.io",
        api_version: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        has_generation: true,
        ..CORE
    },
    ResourceType {
        group: "scheduling.k8s.io",
        api_version: "scheduling.k8s.io/v1",
        kind: "PriorityClass",
        plural: "priorityclasses",
        singular: "priorityclass",
        short_names: &["pc"],
        namespaced: false,
        has_generation: true,
        ..CORE
    },
    ResourceType { kind: "Role", plural: "roles", singular: "role", ..RBAC },
    ResourceType { kind: "RoleBinding", plural: "rolebindings", singular: "rolebinding", ..RBAC },
    ResourceType { kind: "ClusterRole", plural: "clusterroles", singular: "clusterrole", namespaced: false, ..RBAC },
    ResourceType {
        kind: "ClusterRoleBinding",
        plural: "clusterrolebindings",
        singular: "clusterrolebinding",
        namespaced: false,
        ..RBAC
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_is_found_by_url_kind_and_name() {
        for r in all() {
            assert_eq!(by_plural(r.group, r.version, r.plural), Some(r));
            assert_eq!(by_kind(r.api_version, r.kind), Some(r));
            // Events have two forms; the older one is meant where none is named.
            assert_eq!(by_name(r.plural).map(|found| found.kind), Some(r.kind));
            assert_eq!(by_name(&r.qualified()), Some(r));
        }
    }

    #[test]
    fn api_version_is_group_and_version() {
        for r in all() {
            let expected = if r.group.is_empty() { r.version.to_owned() } else { format!("{}/{}", r.group, r.version) };
            assert_eq!(r.api_version, expected);
        }
    }

    #[test]
    fn cluster_scoped_paths_have_no_namespace() {
        assert_eq!(by_name("node").unwrap().path(Some("x")), "/api/v1/nodes");
    }
}
