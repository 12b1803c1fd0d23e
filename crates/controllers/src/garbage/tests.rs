//! Tests of the garbage collector's plan.
