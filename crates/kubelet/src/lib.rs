//! The node agent: one driver per pod around the engine, probes, volumes, status, logs.
