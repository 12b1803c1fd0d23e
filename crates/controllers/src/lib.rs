//! Controllers: CronJob, Job, scheduler, garbage collection. A pure plan and a thin reconcile each.
