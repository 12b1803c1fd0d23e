//! Kubernetes API types and their rules: defaulting, validation, patches, selectors, Status errors.
