//! Tests of the CronJob plan.
