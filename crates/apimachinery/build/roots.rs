//! Which types there are schemas of: the kinds that are served and what requests and answers are made of.

use k8s_openapi::{
    Resource,
    api::{
        apps::v1::{ControllerRevision, Deployment, ReplicaSet},
        authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview},
        authorization::v1::{
            LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
        },
        autoscaling::v1::Scale,
        batch::v1::{CronJob, Job},
        coordination::v1::Lease,
        core::v1::{
            Binding, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, Pod, PodTemplate, ResourceQuota, Secret,
            Service, ServiceAccount,
        },
        discovery::v1::EndpointSlice,
        events::v1::Event as EventsEvent,
        policy::v1::Eviction,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
        scheduling::v1::PriorityClass,
    },
    apimachinery::pkg::{
        apis::meta::v1::{DeleteOptions, ListMeta, Patch, Status, WatchEvent},
        runtime::RawExtension,
    },
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

/// A kind that objects can say they are of.
pub(crate) struct Kind {
    pub(crate) definition: String,
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
}

/// Schemas by name, and the kinds among them.
pub(crate) struct Roots {
    pub(crate) definitions: Map<String, Value>,
    pub(crate) kinds: Vec<Kind>,
}

struct Collector {
    schemas: SchemaGenerator,
    kinds: Vec<Kind>,
}

impl Collector {
    fn kind<T: JsonSchema + Resource>(&mut self) {
        self.schemas.subschema_for::<T>();
        let definition = T::schema_name().into_owned();
        self.kinds.push(Kind { definition, group: T::GROUP, version: T::VERSION, kind: T::KIND });
    }

    fn part<T: JsonSchema>(&mut self) {
        self.schemas.subschema_for::<T>();
    }
}

macro_rules! each {
    ($collector:ident.$method:ident: $($type:ty),+ $(,)?) => { $( $collector.$method::<$type>(); )+ };
}

/// Makes the schemas of everything that is listed here and of what it consists of.
pub(crate) fn collect() -> Roots {
    let mut all = Collector { schemas: SchemaSettings::openapi3().into_generator(), kinds: Vec::new() };
    each!(all.kind: Binding, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, Pod, PodTemplate, ResourceQuota,
        Secret, Service, ServiceAccount);
    each!(all.kind: ControllerRevision, Deployment, ReplicaSet, CronJob, Job, Lease, EndpointSlice, EventsEvent);
    each!(all.kind: Role, RoleBinding, ClusterRole, ClusterRoleBinding, PriorityClass, Eviction, Scale);
    each!(all.kind: SelfSubjectReview, TokenRequest, TokenReview, LocalSubjectAccessReview, SelfSubjectAccessReview,
        SelfSubjectRulesReview, SubjectAccessReview, Status);
    each!(all.part: DeleteOptions, ListMeta, Patch, WatchEvent<RawExtension>);
    Roots { definitions: all.schemas.take_definitions(false), kinds: all.kinds }
}
