//! One run: a node, the workloads on it, and the loop that follows them to their end.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use futures::{FutureExt as _, Stream, StreamExt as _, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use kubelet::TimelineRecord;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{broadcast, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Observer, Report, Verdict,
    logs::{self, Line},
    observer::{ClosedPort, Workload},
};
use crate::{
    Dirs, Instance, Node, NodeOptions, apply,
    error::CommandError,
    node::PortViewer,
    output::Screen,
    story::{Outlook, explain, outlook},
};

/// How long a situation from which a pod cannot come by itself must last before it is reported: long enough
/// that containers that end together are not called stuck.
const STUCK_AFTER: Duration = Duration::from_secs(3);

/// The same for an init container that declares no ports: it may well be a long job.
const INIT_STUCK_AFTER: Duration = Duration::from_secs(60);

/// How often a port that was closed too early is looked at again. The kernel tells nobody when a socket
/// begins to listen, so this is a sample, for the explanation only.
const PORT_SAMPLE: Duration = Duration::from_millis(100);

/// How long such a port is watched.
const PORT_PATIENCE: Duration = Duration::from_secs(60);

/// Added to a pod's own grace before stopping is given up: two seconds that the kubelet adds, and time to clean up.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// How long work that was begun may take to end after the node has been stopped.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// How long the last lines of ended containers may take to arrive.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// When to give up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Longest time for the whole run.
    pub(crate) timeout: Option<Duration>,
    /// Stop this long after it was reported that a pod cannot end by itself.
    pub(crate) after_stuck: Option<Duration>,
    /// Grace period for stopping what still runs at the end; `None`: the pods' own.
    pub(crate) stop_grace: Option<Duration>,
}

/// What is to be run, and how.
pub(crate) struct Play<'a> {
    pub(crate) items: &'a [apply::Item],
    pub(crate) limits: Limits,
    pub(crate) screen: &'a Arc<Screen>,
    /// Containers' output goes to stderr, since stdout is for the report.
    pub(crate) logs_to_stderr: bool,
    /// Keep logs and report.
    pub(crate) keep: bool,
    /// What pods are evicted for.
    pub(crate) eviction: kubelet::EvictionOptions,
}

/// A node with workloads on it.
struct Session {
    node: Node,
    instance: Instance,
    screen: Arc<Screen>,
    logs_to_stderr: bool,
    interrupt: Signal,
    terminate: Signal,
}

/// Everything that the loop listens to.
struct Feeds {
    pods: BoxStream<'static, watcher::Result<watcher::Event<Pod>>>,
    jobs: BoxStream<'static, watcher::Result<watcher::Event<Job>>>,
    timeline: broadcast::Receiver<TimelineRecord>,
    line_sender: mpsc::Sender<Line>,
    lines: mpsc::Receiver<Line>,
    log_readers: JoinSet<()>,
    port_watchers: JoinSet<Option<ClosedPort>>,
}

/// Why the loop ended, or goes on.
enum Step {
    Continue,
    End(Verdict),
}

/// What the loop remembers beside the observer.
struct Clock {
    deadline: Option<Instant>,
    /// Since when a pod has been in a situation it cannot leave by itself; `true`: reported.
    stuck: BTreeMap<String, (Instant, bool)>,
    give_up: Option<Instant>,
}

/// Builds what asynchronous work runs on. Two workers are enough: containers do the work.
pub(crate) fn executor() -> Result<tokio::runtime::Runtime> {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    executor.context("starting the executor")
}

/// Runs workloads on a node of their own and leaves no trace of it; returns the report, and where logs were kept.
pub(crate) fn play(dirs: &Dirs, play: &Play<'_>) -> Result<(Report, Option<PathBuf>), CommandError> {
    let executor = executor()?;
    let (result, instance) = executor.block_on(async {
        let mut session = Session::start(dirs, play).await?;
        let result = session.run(play.items, play.limits).await;
        let result = result.and_then(|report| {
            let kept = play.keep.then(|| session.keep(&report)).transpose()?;
            Ok((report, kept))
        });
        anyhow::Ok((result, session.finish().await))
    })?;
    // Ends whatever the node still had in hand, so that nothing is written while it is being removed.
    executor.shutdown_timeout(SHUTDOWN_PATIENCE);
    instance.remove().context("cleaning up; the next podrig tries again")?;
    result
}

impl Session {
    /// Sweeps what dead runs left and starts a node.
    async fn start(dirs: &Dirs, play: &Play<'_>) -> Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let instance = Instance::create(dirs)?;
        let options = NodeOptions { cron_jobs: false, eviction: play.eviction.clone(), ..NodeOptions::default() };
        let node = Node::start(dirs, &instance, options).await?;
        let (screen, logs_to_stderr) = (Arc::clone(play.screen), play.logs_to_stderr);
        Ok(Self { node, instance, screen, logs_to_stderr, interrupt, terminate })
    }

    /// Applies manifests, runs their workloads to the end, and stops what is left.
    async fn run(&mut self, items: &[apply::Item], limits: Limits) -> Result<Report, CommandError> {
        let client = self.node.client();
        let mut feeds = Feeds::open(&client, self.node.timeline());
        let created = apply::apply(&client, items).await?;
        let mut observer = Observer::new(workloads(&client, &created).await?);
        let verdict = self.follow(&mut observer, &mut feeds, limits).await;
        self.screen.clear_status();
        // Taken before anything is stopped: it shall show the state that decided.
        let report = Report::take(&observer, verdict, now());
        let aborted = self.stop(&mut observer, &mut feeds, limits).await?;
        feeds.drain(self).await;
        let ended = Report::take(&observer, if aborted { Verdict::Interrupted } else { verdict }, now());
        Ok(match verdict {
            Verdict::Succeeded => ended,
            Verdict::Failed | Verdict::TimedOut | Verdict::Interrupted => {
                Report { result: ended.result, exit_code: ended.exit_code, ..report }
            }
        })
    }

    /// Moves logs out of reach of the removal and writes the report beside them; returns where.
    fn keep(&self, report: &Report) -> Result<PathBuf> {
        let dir = self.instance.kept()?;
        let path = dir.join("report.json");
        let text = serde_json::to_vec_pretty(report).context("encoding the report")?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        let logs = self.instance.logs();
        if logs.exists() {
            fs::rename(&logs, dir.join("logs")).with_context(|| format!("keeping {}", logs.display()))?;
        }
        Ok(dir)
    }

    /// Stops the node and returns its instance, to be removed when nothing of the node works any more.
    async fn finish(self) -> Instance {
        self.node.stop().await;
        self.instance
    }

    /// Listens until the workloads have ended or a limit is reached.
    async fn follow(&mut self, observer: &mut Observer, feeds: &mut Feeds, limits: Limits) -> Verdict {
        let mut clock = Clock {
            deadline: limits.timeout.map(|timeout| Instant::now() + timeout),
            stuck: BTreeMap::new(),
            give_up: None,
        };
        loop {
            if let Some(verdict) = observer.verdict() {
                return verdict;
            }
            self.screen.status(&observer.summary());
            if let Step::End(verdict) = self.step(observer, feeds, &clock).await {
                return verdict;
            }
            self.report_stuck(observer, &mut clock, limits);
        }
    }

    /// Waits for one thing to happen and takes it in.
    async fn step(&mut self, observer: &mut Observer, feeds: &mut Feeds, clock: &Clock) -> Step {
        let wake = clock.next();
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => return Step::End(Verdict::Interrupted),
            _ = self.terminate.recv() => return Step::End(Verdict::Interrupted),
            Ok(record) = feeds.timeline.recv() => self.recorded(observer, feeds, record).await,
            Some(line) = feeds.lines.recv() => self.print(&line),
            Some(Ok(event)) = feeds.pods.next() => {
                for source in observer.pod_event(event) {
                    feeds.log_readers.spawn(logs::follow(self.node.client(), source, feeds.line_sender.clone()));
                }
            }
            Some(Ok(event)) = feeds.jobs.next() => observer.job_event(event),
            Some(Ok(Some(seen))) = feeds.port_watchers.join_next() => observer.add_evidence(&seen.pod_uid, seen.evidence),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                let now = Instant::now();
                if clock.deadline.is_some_and(|deadline| deadline <= now) || clock.give_up.is_some_and(|at| at <= now) {
                    return Step::End(Verdict::TimedOut);
                }
            }
        }
        Step::Continue
    }

    /// Takes in a step of a pod's life, and looks at ports when something failed.
    async fn recorded(&self, observer: &mut Observer, feeds: &mut Feeds, record: TimelineRecord) {
        observer.record(record.clone());
        let suspects = observer.ports_worth_a_look(&record);
        if suspects.is_empty() {
            return;
        }
        let open = self.node.port_viewer().listening(&record.uid).await.unwrap_or_default();
        for evidence in suspects {
            let listening = open.contains(&evidence.port);
            if !listening {
                let closed = ClosedPort { pod_uid: record.uid.clone(), evidence: evidence.clone() };
                feeds.port_watchers.spawn(watch_port(self.node.port_viewer(), closed));
            }
            observer.add_evidence(&record.uid, crate::story::Evidence { listening, ..evidence });
        }
    }

    /// Says once for each pod that it cannot end by itself.
    fn report_stuck(&self, observer: &Observer, clock: &mut Clock, limits: Limits) {
        let now = Instant::now();
        for (uid, watched) in &observer.pods {
            let Some(patience) = patience_with(&outlook(&watched.pod)) else {
                clock.stuck.remove(uid);
                continue;
            };
            let (since, reported) = clock.stuck.entry(uid.clone()).or_insert((now + patience, false));
            if *reported || *since > now {
                continue;
            }
            *reported = true;
            let reasons: Vec<String> = explain(&watched.story, &watched.pod).into_iter().map(|f| f.message).collect();
            self.screen.progress(&format!(
                "pod/{} cannot end by itself: {}",
                watched.pod.name_any(),
                reasons.join(" ")
            ));
            if let Some(after) = limits.after_stuck {
                clock.give_up = Some(now + after);
            }
        }
    }

    /// Ends all pods properly; a second Ctrl-C, or the end of all patience, ends them at once.
    ///
    /// Returns whether it was interrupted.
    async fn stop(&mut self, observer: &mut Observer, feeds: &mut Feeds, limits: Limits) -> Result<bool> {
        let running: Vec<(String, String, Duration)> =
            observer.unfinished().map(|w| grace_of(&w.pod, limits)).collect();
        let Some(longest) = running.iter().map(|(.., grace)| *grace).max() else { return Ok(false) };
        self.screen.progress(&format!(
            "stopping {} pod(s), which may take {} s; Ctrl-C kills them at once",
            running.len(),
            longest.as_secs()
        ));
        let client = self.node.client();
        delete_jobs(&client, observer).await?;
        for (namespace, name, grace) in &running {
            delete_pod(&client, namespace, name, *grace).await?;
        }
        let deadline = Instant::now() + longest + STOP_MARGIN;
        while observer.unfinished().next().is_some() {
            let clock = Clock { deadline: Some(deadline), stuck: BTreeMap::new(), give_up: None };
            match self.step(observer, feeds, &clock).await {
                Step::Continue => {}
                // Whatever still runs is killed when the instance is removed.
                Step::End(verdict) => return Ok(verdict == Verdict::Interrupted),
            }
        }
        Ok(false)
    }

    fn print(&self, line: &Line) {
        let text = format!("{}/{}  {}", line.pod, line.container, printable(&line.text));
        if self.logs_to_stderr { self.screen.error(&text) } else { self.screen.result(&text) }
    }
}

impl Feeds {
    fn open(client: &Client, timeline: broadcast::Receiver<TimelineRecord>) -> Self {
        let (line_sender, lines) = mpsc::channel(logs::BACKLOG);
        Self {
            pods: watch_all(client),
            jobs: watch_all(client),
            timeline,
            line_sender,
            lines,
            log_readers: JoinSet::new(),
            port_watchers: JoinSet::new(),
        }
    }

    /// Prints the lines that are still on their way from ended containers.
    async fn drain(&mut self, session: &Session) {
        let deadline = Instant::now() + LOG_PATIENCE;
        while !self.log_readers.is_empty() {
            tokio::select! {
                Some(line) = self.lines.recv() => session.print(&line),
                Some(_) = self.log_readers.join_next() => {}
                () = sleep_until(deadline) => break,
            }
        }
        while let Some(Some(line)) = self.lines.recv().now_or_never() {
            session.print(&line);
        }
    }
}

impl Clock {
    fn next(&self) -> Option<Instant> {
        let stuck = self.stuck.values().filter(|(_, reported)| !reported).map(|(at, _)| *at);
        stuck.chain(self.deadline).chain(self.give_up).min()
    }
}

fn watch_all<K>(client: &Client) -> BoxStream<'static, watcher::Result<watcher::Event<K>>>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let stream: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> =
        Box::pin(watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff());
    stream
}

/// Looks at a port until it is open or patience has ended.
async fn watch_port(ports: PortViewer, closed: ClosedPort) -> Option<ClosedPort> {
    let mut ticks = tokio::time::interval(PORT_SAMPLE);
    let deadline = Instant::now() + PORT_PATIENCE;
    while Instant::now() < deadline {
        ticks.tick().await;
        // Nothing may run yet, or the pod is over: then the time ends the watch.
        let open = ports.listening(&closed.pod_uid).await.unwrap_or_default();
        if open.contains(&closed.evidence.port) {
            let evidence = crate::story::Evidence { at: now(), listening: true, ..closed.evidence };
            return Some(ClosedPort { evidence, ..closed });
        }
    }
    None
}

/// Finds out what has to end, and starts a CronJob's job.
async fn workloads(client: &Client, created: &[DynamicObject]) -> Result<Vec<Workload>> {
    let mut workloads = Vec::new();
    for object in created {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        match object.types.as_ref().map(|types| types.kind.as_str()) {
            Some("Pod") => workloads.push(Workload::Pod { namespace, name }),
            Some("Job") => workloads.push(Workload::Job { namespace, name }),
            Some("CronJob") => workloads.push(start_now(client, &namespace, &name).await?),
            Some(_) | None => {}
        }
    }
    Ok(workloads)
}

/// Creates the job that a CronJob would create if its time had come.
async fn start_now(client: &Client, namespace: &str, name: &str) -> Result<Workload> {
    let what = || format!("starting a job of CronJob {namespace}/{name}");
    let cron_job = Api::<CronJob>::namespaced(client.clone(), namespace).get(name).await.with_context(what)?;
    let job = controllers::cronjob::job_from_template(&cron_job, Timestamp::now());
    let job = Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &job).await;
    let name = job.with_context(what)?.name_any();
    Ok(Workload::Job { namespace: namespace.to_owned(), name })
}

/// Jobs go first, or they would replace the pods.
async fn delete_jobs(client: &Client, observer: &Observer) -> Result<()> {
    for workload in &observer.workloads {
        if let Workload::Job { namespace, name } = workload {
            let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
            gone_is_fine(jobs.delete(name, &DeleteParams::background()).await)
                .with_context(|| format!("deleting job {namespace}/{name}"))?;
        }
    }
    Ok(())
}

async fn delete_pod(client: &Client, namespace: &str, name: &str, grace: Duration) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let grace = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX);
    gone_is_fine(pods.delete(name, &DeleteParams::default().grace_period(grace)).await)
        .with_context(|| format!("deleting pod {namespace}/{name}"))
}

fn gone_is_fine<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

fn grace_of(pod: &Pod, limits: Limits) -> (String, String, Duration) {
    let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    let own = Duration::from_secs(u64::try_from(own).unwrap_or(1));
    (pod.namespace().unwrap_or_default(), pod.name_any(), limits.stop_grace.map_or(own, |limit| limit.min(own)))
}

fn patience_with(outlook: &Outlook) -> Option<Duration> {
    match outlook {
        Outlook::ServerLeft { .. } | Outlook::InitRuns { declares_ports: true, .. } => Some(STUCK_AFTER),
        Outlook::InitRuns { declares_ports: false, .. } => Some(INIT_STUCK_AFTER),
        Outlook::Open | Outlook::Ended { .. } | Outlook::Hopeless { .. } => None,
    }
}

/// Replaces control characters: a container must not be able to drive the user's terminal.
fn printable(text: &str) -> String {
    let is_harmless = |c: &char| !c.is_control() || *c == '\t' || *c == '\x1b';
    let text: String = text.chars().map(|c| if is_harmless(&c) { c } else { '\u{fffd}' }).collect();
    if text.contains('\x1b') { format!("{}\x1b[0m", keep_colors(&text)) } else { text }
}

/// Keeps colour sequences (`ESC [ … m`) and breaks all other escape sequences.
fn keep_colors(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !matches!(c, '[' | ';' | '0'..='9'));
        let is_color = part.starts_with('[') && end.is_some_and(|end| part[end..].starts_with('m'));
        kept.push(if is_color { '\x1b' } else { '\u{fffd}' });
        kept.push_str(part);
    }
    kept
}

fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_containers_keeps_colours_but_cannot_drive_the_terminal() {
        assert_eq!(printable("\x1b[31mred\x1b[0m"), "\x1b[31mred\x1b[0m\x1b[0m");
        assert_eq!(printable("a\x1b[2Jb"), "a\u{fffd}[2Jb\x1b[0m");
        assert_eq!(printable("title\x1b]0;x\x07"), "title\u{fffd}]0;x\u{fffd}\x1b[0m");
        assert_eq!(printable("plain\ttext\r"), "plain\ttext\u{fffd}");
    }
}
