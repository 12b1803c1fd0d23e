//! `pods/eviction`: a deletion that says why. Disruption budgets are not served.

use apimachinery::status::ApiError;
use apimachinery::time::seconds;
use serde_json::json;

use super::binding::set_condition;
use super::delete::DeleteOptions;
use super::{Place, Registry, meta, strategy};
use crate::store::{Change, CommitError, Expected};

impl Registry {
    /// Evicts a pod (`EvictionREST` of the pod registry).
    pub(crate) fn evict(&self, place: Place<'_>, options: &DeleteOptions) -> Result<(), ApiError> {
        if !options.dry_run {
            self.mark_disrupted(place)?;
        }
        self.delete(place, options).map(|_| ())
    }

    fn mark_disrupted(&self, place: Place<'_>) -> Result<(), ApiError> {
        for _ in 0..super::MOST_ROUNDS {
            let old = self.get(place)?;
            if meta::is_deleting(old.value()) || strategy::is_terminal_pod(old.value()) {
                return Ok(());
            }
            let mut new = old.value().clone();
            let condition = json!({
                "type": "DisruptionTarget", "status": "True",
                "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
            });
            set_condition(&mut new, condition, &seconds(self.now()));
            let expected = Expected::Revision(old.revision());
            match self.store.commit(&strategy::table(place.kind), old.key(), expected, Change::Put(new)) {
                Ok(_) => return Ok(()),
                Err(CommitError::Changed | CommitError::Exists) => {}
                Err(CommitError::Missing) => return Err(place.not_found()),
            }
        }
        Err(place.modified())
    }
}
