//! The Kubernetes API server: HTTP, admission, versioned store with watch, subresources.
