//! Writes whose content decides whether the client may do them.

use apimachinery::prepare::Subresource;
use apimachinery::status::ApiError;

use super::service::Shared;
use crate::auth::{Attributes, Auth, Resource, User};
use crate::registry::update::Part;
use crate::registry::{Place, WriteOptions, Written, meta};

/// Creates an object by a write that usually changes one; the client must be allowed to create, too.
pub(crate) fn check_create(shared: &Shared, user: &User, place: Place<'_>) -> Result<(), ApiError> {
    if shared.registry.get(place).is_ok() {
        return Ok(());
    }
    let [group, resource, namespace, name] =
        [place.kind.group, place.kind.plural, place.namespace, place.name].map(str::to_owned);
    let target = Resource { group, resource, subresource: String::new(), namespace, name };
    let wanted = Attributes::of_resource("create", target);
    let decision = shared.auth.decide(&shared.registry, user, &wanted);
    if decision.allowed { Ok(()) } else { Err(wanted.forbidden(user, &decision.reason)) }
}

/// Does a write, for roles and bindings only if the client has all rights that it gives.
///
/// What is checked is what is stored: the write is tried first, and then done on exactly the version that it was tried
/// on.
pub(crate) fn write<T: Clone>(
    shared: &Shared,
    (user, place, part): (&User, Place<'_>, Part),
    options: WriteOptions,
    input: T,
    act: impl Fn(T, &WriteOptions) -> Result<Written, ApiError>,
) -> Result<Written, ApiError> {
    if !Auth::guards(place.kind, user) || part != Part::Of(Subresource::None) {
        return act(input, &options);
    }
    let draft = act(input.clone(), &WriteOptions { dry_run: true, ..options.clone() })?;
    let old = if draft.created { None } else { Some(shared.registry.get(place)?) };
    let new = draft.object.value();
    shared.auth.check_escalation(&shared.registry, user, place.kind, new, old.as_ref().map(|old| old.value()))?;
    if options.dry_run {
        return Ok(draft);
    }
    let only = meta::text(new, "resourceVersion").parse().unwrap_or_default();
    act(input, &WriteOptions { only: Some(only), ..options })
}
