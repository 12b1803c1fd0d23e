//! The engine: decides what one pod does next. Pure: no IO, clock or randomness.
