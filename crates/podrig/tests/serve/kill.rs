//! A server that is killed again and again while pods run: they must not notice, and nothing may be forgotten.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::Value;

use crate::{
    client::{self, Client},
    common::server::Server,
    container, names,
};

/// How often the server is killed.
const KILLS: u32 = 50;

/// Longest life of a server, in milliseconds; it takes a quarter of that to start.
const LONGEST_LIFE: u64 = 1200;

/// Pods of the job; two at a time, half a second each.
const COMPLETIONS: usize = 30;

const WORKLOADS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: steady}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: sidecar
    image: busybox:1.37.0
    restartPolicy: Always
    command: [sh, -c, 'echo started; exec sleep 3600']
    startupProbe: {exec: {command: ['true']}, periodSeconds: 1}
    readinessProbe: {exec: {command: ['true']}, periodSeconds: 1}
    livenessProbe: {exec: {command: ['true']}, periodSeconds: 1}
  containers:
  - name: app
    image: busybox:1.37.0
    command: [sh, -c, 'echo started; exec sleep 3600']
---
apiVersion: batch/v1
kind: Job
metadata: {name: many}
spec:
  completions: 30
  parallelism: 2
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      initContainers:
      - name: sidecar
        image: busybox:1.37.0
        restartPolicy: Always
        command: [sh, -c, 'echo $HOSTNAME sidecar >> /starts/all; trap \"exit 0\" TERM; sleep 3600 & wait']
        volumeMounts: [{name: starts, mountPath: /starts}]
      containers:
      - name: app
        image: busybox:1.37.0
        command: [sh, -c, 'echo $HOSTNAME app >> /starts/all; sleep 0.5']
        volumeMounts: [{name: starts, mountPath: /starts}]
      volumes: [{name: starts, hostPath: {path: STARTS}}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: failing}
spec:
  completions: 1
  backoffLimit: 100
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: app
        image: busybox:1.37.0
        command: [sh, -c, 'sleep 1; exit 3']
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: minutely}
spec:
  schedule: '* * * * *'
  successfulJobsHistoryLimit: 100
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: app, image: 'busybox:1.37.0', command: [sh, -c, 'echo started']}]
";

#[test]
fn fifty_kills_restart_no_container_and_lose_no_object_and_no_exit() {
    let mut server = Server::start();
    let starts = server.sealed.root.path().join("starts");
    std::fs::create_dir(&starts).unwrap();
    server.apply(&WORKLOADS.replace("STARTS", starts.to_str().unwrap()));
    server.wait("pod/steady", "condition=Ready");
    let before = server.get(&["pod/steady"]);
    let kubeconfig = server.kubeconfig();
    let stop = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let writing = scope.spawn(|| write(&kubeconfig, &stop));
        for _ in 0..KILLS {
            server.kill();
            server.spawn();
            std::thread::sleep(Duration::from_millis(random() % LONGEST_LIFE));
        }
        server.kill();
        server.resume();
        stop.store(true, Ordering::SeqCst);
        writing.join().unwrap()
    });
    assert!(acknowledged.len() > 500, "hardly anything was written: {}", acknowledged.len());
    let kept = server.get(&["configmaps"]);
    let kept = names(&kept);
    let lost: Vec<&String> = acknowledged.iter().filter(|name| !kept.contains(&name.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    server.wait("job/many", "condition=Complete");
    check_steady(&server, &before);
    check_job(&server, &std::fs::read_to_string(starts.join("all")).unwrap());
    check_failures(&server);
    check_cron_job(&server);
}

/// The pod that ran all the time is the same, down to its containers.
fn check_steady(server: &Server, before: &Value) {
    server.wait("pod/steady", "condition=Ready");
    let after = server.get(&["pod/steady"]);
    for name in ["sidecar", "app"] {
        assert_eq!(container(&after, name), container(before, name));
        assert_eq!(server.run(&["logs", "steady", "-c", name]), "started\n");
    }
    let transitions = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().unwrap().iter();
        conditions
            .map(|c| (c["type"].clone(), c["status"].clone(), c["lastTransitionTime"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(transitions(&after), transitions(before));
}

/// Every pod of the job ran once, and each was counted once.
fn check_job(server: &Server, starts: &str) {
    let job = server.get(&["job/many"]);
    assert_eq!(job["status"]["succeeded"], COMPLETIONS, "{job:#}");
    assert_eq!(job["status"]["failed"], Value::Null, "{job:#}");
    let pods = server.get(&["pods", "-l", "job-name=many"]);
    assert_eq!(names(&pods).len(), COMPLETIONS);
    for pod in pods["items"].as_array().unwrap() {
        assert_eq!(pod["status"]["phase"], "Succeeded", "{pod:#}");
        for name in ["sidecar", "app"] {
            let state = &container(pod, name)["state"];
            assert_eq!(state["terminated"]["exitCode"], 0, "{pod:#}");
            let start = format!("{} {name}", pod["metadata"]["name"].as_str().unwrap());
            assert_eq!(starts.lines().filter(|line| *line == start).count(), 1, "starts of {start}: {pod:#}");
        }
    }
}

/// Every exit with 3 was seen as one: no pod that is not the newest lacks it.
fn check_failures(server: &Server) {
    let pods = server.get(&["pods", "-l", "job-name=failing", "--sort-by=.metadata.creationTimestamp"]);
    let pods = pods["items"].as_array().unwrap();
    assert!(pods.len() > 1, "the job did not go on: {pods:#?}");
    let ended: Vec<&Value> = pods.iter().filter(|pod| pod["status"]["phase"] == "Failed").collect();
    assert!(ended.len() + 1 >= pods.len(), "{pods:#?}");
    for pod in ended {
        assert_eq!(container(pod, "app")["state"]["terminated"]["exitCode"], 3, "{pod:#}");
    }
}

/// Each minute had one job, and it has run.
fn check_cron_job(server: &Server) {
    let of_cron_job = |job: &&Value| job["metadata"]["ownerReferences"][0]["kind"] == "CronJob";
    let jobs = server.until("a job of the CronJob", |server| {
        let jobs = server.get(&["jobs"])["items"].as_array().unwrap().clone();
        jobs.iter().any(|job| of_cron_job(&job)).then_some(jobs)
    });
    let mut minutes: Vec<String> = Vec::new();
    for job in jobs.iter().filter(of_cron_job) {
        let name = job["metadata"]["name"].as_str().unwrap();
        server.wait(&format!("job/{name}"), "condition=Complete");
        let pods = server.get(&["pods", "-l", &format!("job-name={name}")]);
        assert_eq!(names(&pods).len(), 1, "{pods:#}");
        minutes.push(job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"].to_string());
    }
    let all = minutes.len();
    minutes.sort_unstable();
    minutes.dedup();
    assert_eq!(minutes.len(), all, "a minute had two jobs");
}

/// Creates objects without a pause while there is a server; returns those that a server said it has.
fn write(kubeconfig: &Path, stop: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut count = 0;
    while !stop.load(Ordering::SeqCst) {
        // Broken: the server was killed, and perhaps the last object is there and perhaps it is not.
        let _ = write_to_one_server(kubeconfig, stop, &mut count, &mut acknowledged);
        std::thread::yield_now();
    }
    acknowledged
}

fn write_to_one_server(
    kubeconfig: &Path,
    stop: &AtomicBool,
    count: &mut usize,
    acknowledged: &mut Vec<String>,
) -> io::Result<()> {
    let mut stream = BufReader::new(client::connect(kubeconfig, Client::Administrator)?);
    while !stop.load(Ordering::SeqCst) {
        *count += 1;
        let name = format!("object-{count}");
        let body = format!(r#"{{"metadata": {{"name": "{name}"}}}}"#);
        let head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(request.as_bytes())?;
        stream.get_mut().flush()?;
        let mut status = String::new();
        stream.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        if status.starts_with("HTTP/1.1 201") {
            acknowledged.push(name);
        }
        stream.read_exact(&mut vec![0; length])?;
    }
    Ok(())
}

fn random() -> u64 {
    let [a, b, ..] = uuid::Uuid::new_v4().into_bytes();
    u64::from(u16::from_le_bytes([a, b]))
}
