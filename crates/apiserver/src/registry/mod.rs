//! What the verbs do to objects: admission, strategy of each kind, the write loop.
//!
//! Everything here is synchronous and quick; only watches and logs answer with a stream.

pub(crate) mod admission;
pub(crate) mod aggregation;
pub(crate) mod apply;
pub(crate) mod binding;
mod condition;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod event_ttl;
pub(crate) mod eviction;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod meta;
pub(crate) mod namespace;
mod namespace_content;
mod resume;
pub(crate) mod root_ca;
pub(crate) mod scale;
pub(crate) mod selection;
pub(crate) mod service_account;
pub(crate) mod service_allocation;
pub(crate) mod strategy;
pub(crate) mod update;
pub(crate) mod watch;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use apimachinery::decode::FieldValidation;
use apimachinery::scheme::ResourceType;
use apimachinery::status::ApiError;
use jiff::Timestamp;
use serde_json::Value;

use crate::node_proxy::NodeProxy;
use crate::store::{Object, Store};

/// Tells the time; given, so that tests and simulations can set it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The objects and the rules of changing them.
pub(crate) struct Registry {
    pub(crate) store: Store,
    clock: Clock,
    node_proxy: RwLock<Option<Arc<dyn NodeProxy>>>,
    event_writes: event_ttl::EventWrites,
    /// Held by writes that depend on what else is stored, from the look to the commit.
    dependent_writes: Mutex<()>,
    root_ca: String,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("revision", &self.store.revision()).finish_non_exhaustive()
    }
}

/// Which object of which kind a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) kind: &'static ResourceType,
    /// Empty for kinds that live in no namespace, and for requests across all namespaces.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Place<'a> {
    /// The place where an object of this kind is stored.
    pub(crate) fn of(kind: &'static ResourceType, object: &'a Value) -> Self {
        Self { kind, namespace: meta::namespace(object), name: meta::name(object) }
    }

    /// The object's key in its table.
    pub(crate) fn key(&self) -> String {
        if self.kind.namespaced { format!("{}/{}", self.namespace, self.name) } else { self.name.to_owned() }
    }

    /// The part of the key that all objects of the request have in common.
    pub(crate) fn prefix(&self) -> String {
        if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) }
    }

    pub(crate) fn not_found(&self) -> ApiError {
        ApiError::not_found(self.kind, self.name)
    }

    pub(crate) fn conflict(&self, why: &str) -> ApiError {
        ApiError::conflict(self.kind, self.name, why)
    }

    /// A conflict that names the resource in another way.
    pub(crate) fn conflict_as(&self, resource: &str, why: &str) -> ApiError {
        let mut error = self.conflict(why);
        error.message = format!("Operation cannot be fulfilled on {resource} \"{}\": {why}", self.name);
        resource.clone_into(&mut error.details.kind);
        error
    }

    /// Somebody else changed the object.
    pub(crate) fn modified(&self) -> ApiError {
        ApiError::modified(self.kind, self.name)
    }
}

/// What `create`, `update` and `patch` are told besides the object.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    /// Who the fields that are written belong to.
    pub(crate) manager: String,
    /// Whether an apply takes fields over that others have set.
    pub(crate) force: bool,
    /// The revision that the object must have; none is 0.
    pub(crate) only: Option<u64>,
}

/// An object after a write, with warnings for the client.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) object: Arc<Object>,
    pub(crate) created: bool,
    pub(crate) warnings: Vec<String>,
}

/// How often a write without a `resourceVersion` is tried again when others write the same object.
/// Somebody succeeds in every round, so only a pathological crowd gets there.
pub(crate) const MOST_ROUNDS: usize = 256;

impl Registry {
    pub(crate) fn new(store: Store, clock: Clock, node_proxy: Option<Arc<dyn NodeProxy>>) -> Self {
        Self {
            store,
            clock,
            node_proxy: RwLock::new(node_proxy),
            event_writes: event_ttl::EventWrites::default(),
            dependent_writes: Mutex::new(()),
            root_ca: String::new(),
        }
    }

    /// The same with certificates (PEM) that pods are to trust.
    pub(crate) fn with_root_ca(self, root_ca: String) -> Self {
        Self { root_ca, ..self }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn set_node_proxy(&self, proxy: Arc<dyn NodeProxy>) {
        *self.node_proxy.write().unwrap_or_else(PoisonError::into_inner) = Some(proxy);
    }

    pub(crate) fn node_proxy(&self) -> Option<Arc<dyn NodeProxy>> {
        self.node_proxy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets one write at a time look at other objects and commit. It must not begin another one meanwhile.
    pub(crate) fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.dependent_writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object at a place.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn get(&self, place: Place<'_>) -> Result<Arc<Object>, ApiError> {
        self.store.get(&strategy::table(place.kind), &place.key()).ok_or_else(|| place.not_found())
    }
}
