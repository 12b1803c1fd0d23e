//! The CronJob controller under random events: crashes after any call, late views, clocks that jump, edits, Jobs that
//! end, are deleted or are never heard of, in time zones around their change-over days.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::*;
use crate::job::finished;
use crate::meta;
use crate::property::runner;

/// Schedules, and which minute, hour, day of month, month and day of week (Sunday is 0) they match.
type Matches = fn(i8, i8, i8, i8, i8) -> bool;
const SCHEDULES: [(&str, Matches); 9] = [
    ("* * * * *", |_, _, _, _, _| true),
    ("*/7 * * * *", |minute, _, _, _, _| minute % 7 == 0),
    ("0 * * * *", |minute, _, _, _, _| minute == 0),
    ("30 2 * * *", |minute, hour, _, _, _| (minute, hour) == (30, 2)),
    ("0 3 * * *", |minute, hour, _, _, _| (minute, hour) == (0, 3)),
    ("5,35 1-3 * * *", |minute, hour, _, _, _| [5, 35].contains(&minute) && (1..=3).contains(&hour)),
    ("0 0 * * *", |minute, hour, _, _, _| (minute, hour) == (0, 0)),
    ("0 */2 31 * 0", |minute, hour, day, _, weekday| minute == 0 && hour % 2 == 0 && (day == 31 || weekday == 0)),
    ("0 0 31 2 *", |_, _, _, _, _| false),
];

/// Zones and the day before one of their changes. None that changes by half an hour: there the search by hours, which
/// is that of Kubernetes, leaves out times that exist.
const ZONES: [(&str, &str); 5] = [
    ("UTC", "2024-03-30T20:00:00Z"),
    ("Europe/Berlin", "2024-03-30T20:00:00Z"),
    ("Europe/Berlin", "2024-10-26T20:00:00Z"),
    ("America/New_York", "2024-11-03T00:00:00Z"),
    ("Asia/Kolkata", "2024-03-30T20:00:00Z"),
];

/// How much of a pass is done before the controller dies.
const ALL: usize = usize::MAX;

#[derive(Debug, Clone)]
enum Event {
    /// One pass. After so many calls the controller dies and starts again.
    Pass(usize),
    /// The controller hears of a Job.
    See(usize),
    /// The clock goes on, or jumps back.
    Time(i64),
    /// The clock goes on to when the controller wants to look again.
    Wake,
    /// A Job ends well or badly.
    End(usize, bool),
    /// Somebody deletes a Job.
    Delete(usize),
    Suspend(bool),
    Schedule(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Pass(ALL)),
        3 => (0usize..6).prop_map(Event::Pass),
        6 => Just(Event::Wake),
        4 => (0i64..5000).prop_map(Event::Time),
        1 => (-4000i64..90_000).prop_map(Event::Time),
        6 => (0usize..32).prop_map(Event::See),
        4 => (0usize..32, any::<bool>()).prop_map(|(job, well)| Event::End(job, well)),
        1 => (0usize..32).prop_map(Event::Delete),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => (0..SCHEDULES.len()).prop_map(Event::Schedule),
    ]
}

/// A CronJob, its Jobs, an API server and a controller.
struct World {
    cronjob: CronJob,
    /// The CronJob that the controller knows, if it is not the present one.
    known: Option<CronJob>,
    zone: TimeZone,
    jobs: BTreeMap<String, Job>,
    seen: BTreeMap<String, Arc<Job>>,
    now: Timestamp,
    /// Uids that the stored status has ever called active.
    booked: BTreeSet<String>,
    created: usize,
    /// Jobs that are gone.
    gone: usize,
    wake_at: Option<Timestamp>,
}

impl World {
    fn known(&self) -> CronJob {
        self.known.clone().unwrap_or_else(|| self.cronjob.clone())
    }

    fn edit(&mut self, edit: impl FnOnce(&mut CronJob)) {
        self.known.get_or_insert_with(|| self.cronjob.clone());
        edit(&mut self.cronjob);
    }

    fn see_all(&mut self) {
        self.known = None;
        self.seen = self.jobs.iter().map(|(name, job)| (name.clone(), Arc::new(job.clone()))).collect();
    }

    fn plan(&self) -> CronJobPlan {
        let (cronjob, jobs) = (self.known(), self.seen.values().cloned().collect::<Vec<_>>());
        let mut missing = BTreeSet::new();
        let mut jobs = jobs;
        loop {
            let (cronjob, local_zone) = (&cronjob, &TimeZone::UTC);
            let plan = plan(&CronJobView { cronjob, jobs: &jobs, missing: &missing, local_zone, now: self.now });
            if plan.look_for.is_empty() {
                return plan;
            }
            for reference in &plan.look_for {
                let found = reference.name.as_ref().and_then(|name| self.jobs.get(name));
                match found.filter(|job| job.metadata.uid == reference.uid) {
                    Some(job) => jobs.push(Arc::new(job.clone())),
                    None => drop(missing.insert(reference.uid.clone().unwrap())),
                }
            }
        }
    }

    /// One pass, as `reconcile.rs` makes it, until the controller dies after so many calls.
    fn pass(&mut self, calls: usize) {
        let (plan, known) = (self.plan(), self.known());
        let (mut left, mut status) = (calls, plan.status.clone());
        let mut may = || {
            let may = left > 0;
            left = left.saturating_sub(1);
            may
        };
        for active in &plan.replace {
            if may() {
                self.delete(active.name.as_deref().unwrap());
            }
            let list = status.active.get_or_insert_default();
            list.retain(|listed| listed.uid != active.uid);
        }
        status.active = status.active.take().filter(|list| !list.is_empty());
        if let Some(scheduled) = plan.start
            && may()
        {
            let job = self.create(&known, scheduled);
            record_start(&mut status, &job, scheduled);
        }
        for job in &plan.clean {
            assert!(finished(job).is_some(), "only what has finished is cleaned away");
            if may() {
                self.delete(meta::name(&job.metadata));
            }
        }
        if may() {
            self.write_status(status);
        }
        self.wake_at = plan.wake_at;
    }

    fn delete(&mut self, name: &str) {
        self.gone += usize::from(self.jobs.remove(name).is_some());
        self.seen.remove(name);
    }

    /// The name is the lock: a Job that is there already is taken.
    fn create(&mut self, known: &CronJob, scheduled: Timestamp) -> Job {
        let mut job = job_from_template(known, scheduled);
        let name = meta::name(&job.metadata).to_owned();
        assert_eq!(name, format!("tick-{}", scheduled.as_second() / 60));
        if let Some(there) = self.jobs.get(&name) {
            return there.clone();
        }
        self.check_start(known, scheduled);
        self.created += 1;
        job.metadata.uid = Some(format!("uid{}", self.created));
        self.jobs.insert(name.clone(), job.clone());
        self.seen.insert(name, Arc::new(job.clone()));
        job
    }

    fn write_status(&mut self, status: CronJobStatus) {
        let before = self.cronjob.status.replace(status.clone()).unwrap_or_default();
        // The status is the controller's alone, so an edited CronJob gets it too.
        self.known = None;
        self.booked.extend(status.active.iter().flatten().filter_map(|active| active.uid.clone()));
        assert!(before.last_schedule_time <= status.last_schedule_time, "the last start is forgotten");
        assert!(before.last_successful_time <= status.last_successful_time, "the last success is forgotten");
    }

    fn last(&self) -> Option<Timestamp> {
        Some(self.cronjob.status.as_ref()?.last_schedule_time.as_ref()?.0)
    }

    fn matches(&self, cronjob: &CronJob, time: Timestamp) -> bool {
        let local = time.to_zoned(self.zone.clone());
        let (_, matches) = SCHEDULES.iter().find(|(text, _)| *text == cronjob.spec.schedule).unwrap();
        let weekday = local.weekday().to_sunday_zero_offset();
        local.second() == 0 && matches(local.minute(), local.hour(), local.day(), local.month(), weekday)
    }

    /// A matching minute after `from` up to `to`.
    fn match_within(&self, cronjob: &CronJob, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let mut minute = from.as_second().div_euclid(60) + 1;
        while minute * 60 <= to.as_second() {
            let time = Timestamp::from_second(minute * 60).unwrap();
            if self.matches(cronjob, time) {
                return Some(time);
            }
            minute += 1;
        }
        None
    }

    /// A Job is about to be created for that time: is that right?
    fn check_start(&self, known: &CronJob, scheduled: Timestamp) {
        assert!(known.spec.suspend != Some(true), "suspended");
        assert!(self.matches(known, scheduled), "{scheduled} is not in {}", known.spec.schedule);
        assert!(scheduled <= self.now, "{scheduled} is not yet");
        assert!(self.last().is_none_or(|last| last < scheduled), "{scheduled} has been started before");
        assert_eq!(self.match_within(known, scheduled, self.now), None, "{scheduled} is not the last");
        let created = known.metadata.creation_timestamp.as_ref().unwrap().0;
        assert!(scheduled > created, "{scheduled} was before the CronJob");
        if let Some(deadline) = known.spec.starting_deadline_seconds {
            assert!(scheduled + SignedDuration::from_secs(deadline) >= self.now, "{scheduled} is too late");
        }
        let active = self.jobs.values().filter(|job| finished(job).is_none());
        let active = active.filter(|job| self.booked.contains(meta::uid(&job.metadata))).count();
        if known.spec.concurrency_policy.as_deref() != Some("Allow") {
            assert_eq!(active, 0, "two run at a time");
        }
    }

    /// The controller has heard of everything and has nothing left to do.
    fn check_settled(&self, plan: &CronJobPlan) {
        let (cronjob, status) = (&self.cronjob, self.cronjob.status.clone().unwrap_or_default());
        let kept = |condition: &str| {
            let ended = |job: &&Job| finished(job).is_some_and(|c| c.type_ == condition);
            self.jobs.values().filter(ended).count()
        };
        assert!(kept("Complete") <= 2 && kept("Failed") <= 1, "history is too long");
        for active in status.active.iter().flatten() {
            let job = self.jobs.get(active.name.as_deref().unwrap());
            assert!(job.is_some_and(|job| job.metadata.uid == active.uid && finished(job).is_none()), "{active:?}");
        }
        let booked = |job: &&Job| finished(job).is_none() && self.booked.contains(meta::uid(&job.metadata));
        assert_eq!(self.jobs.values().filter(booked).count(), status.active.iter().flatten().count());
        let base = self.last().or_else(|| Some(cronjob.metadata.creation_timestamp.as_ref()?.0)).unwrap();
        if cronjob.spec.suspend == Some(true) {
            return assert_eq!(plan.wake_at, None);
        }
        let Some(wake_at) = plan.wake_at else {
            return assert_eq!(self.match_within(cronjob, self.now, self.now + SignedDuration::from_hours(48)), None);
        };
        assert!(wake_at > self.now, "it looks again and again");
        let slept_over = self.match_within(cronjob, self.now.max(base), wake_at - SignedDuration::from_millis(200));
        assert_eq!(slept_over, None, "it sleeps until {wake_at}");
    }

    /// What is due now, as far as it must be found: at even intervals.
    fn check_missed(&self) {
        let cronjob = &self.cronjob;
        let base = self.last().max(cronjob.metadata.creation_timestamp.as_ref().map(|time| time.0)).unwrap();
        let deadline = cronjob.spec.starting_deadline_seconds.map_or(i64::MAX / 2, |deadline| deadline);
        let oldest = Timestamp::from_second(self.now.as_second().saturating_sub(deadline).max(0)).unwrap();
        let free = self.cronjob.status.iter().all(|status| status.active.is_none());
        let held = cronjob.spec.concurrency_policy.as_deref() == Some("Forbid") && !free;
        let even = ["* * * * *", "0 * * * *"].contains(&cronjob.spec.schedule.as_str());
        if cronjob.spec.suspend != Some(true) && !held && even {
            assert_eq!(self.match_within(cronjob, base.max(oldest), self.now), None, "a time is missed");
        }
    }
}

fn apply(world: &mut World, event: &Event) {
    let names: Vec<String> = world.jobs.keys().chain(world.seen.keys()).cloned().collect();
    let pick = |n: usize| names.get(n % names.len().max(1)).cloned();
    match event {
        Event::Pass(calls) => {
            world.pass(*calls);
            if *calls != ALL {
                world.see_all();
            }
        }
        Event::See(n) => pick(*n).into_iter().for_each(|name| match world.jobs.get(&name) {
            Some(job) => drop(world.seen.insert(name, Arc::new(job.clone()))),
            None => drop(world.seen.remove(&name)),
        }),
        Event::Time(seconds) => world.now += SignedDuration::from_secs(*seconds),
        Event::Wake => world.now = world.wake_at.map_or(world.now, |wake_at| wake_at.max(world.now)),
        Event::End(n, well) => pick(*n).into_iter().for_each(|name| {
            let now = meta::api_time(world.now);
            let open = world.jobs.get_mut(&name).filter(|job| finished(job).is_none());
            open.into_iter().for_each(|job| end(job, *well, &now));
        }),
        Event::Delete(n) => pick(*n).into_iter().for_each(|name| {
            world.gone += usize::from(world.jobs.remove(&name).is_some());
        }),
        Event::Suspend(on) => world.edit(|cronjob| cronjob.spec.suspend = Some(*on)),
        Event::Schedule(n) => world.edit(|cronjob| cronjob.spec.schedule = SCHEDULES[*n].0.to_owned()),
    }
}

fn end(job: &mut Job, well: bool, now: &Time) {
    let condition = if well { "Complete" } else { "Failed" };
    let status = json!({
        "conditions": [{"type": condition, "status": "True"}], "startTime": now,
        "completionTime": well.then_some(now),
    });
    job.status = Some(serde_json::from_value(status).unwrap());
}

#[test]
fn s10_09_whatever_happens_one_time_starts_one_job_and_policies_hold() {
    let policy = prop::sample::select(vec!["Allow", "Forbid", "Replace"]);
    let deadline = prop::option::of(1i64..7200);
    let case = (0..SCHEDULES.len(), 0..ZONES.len(), policy, deadline, prop::collection::vec(event(), 0..80));
    let outcome = runner(300).run(&case, |(schedule, zone, policy, deadline, events)| {
        let (zone, now) = ZONES[zone];
        let mut cronjob = cronjob(json!({
            "schedule": SCHEDULES[schedule].0, "timeZone": zone, "concurrencyPolicy": policy,
            "startingDeadlineSeconds": deadline, "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1,
        }));
        let now: Timestamp = now.parse().unwrap();
        cronjob.metadata.creation_timestamp = Some(Time(now));
        let (known, jobs, seen, booked) = <_>::default();
        let zone = TimeZone::get(zone).unwrap();
        let (created, gone, wake_at) = (0, 0, None);
        let mut world = World { cronjob, known, zone, jobs, seen, now, booked, created, gone, wake_at };
        for event in &events {
            apply(&mut world, event);
        }
        for _ in 0..3 {
            world.see_all();
            world.pass(ALL);
        }
        world.check_missed();
        world.check_settled(&world.plan());
        assert_eq!(world.created, world.jobs.len() + world.gone);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
