//! Which container a session is opened in, and why it is not.

use cri::{Error, ExecSession, Streams};
use kubelet::{PodName, SessionError};
use serde_json::json;

use crate::{Rig, container, exits, stops};

const OUTPUT: Streams = Streams { stdin: false, stdout: true, stderr: true };

fn command() -> ExecSession {
    ExecSession { command: vec!["true".to_owned()], streams: OUTPUT, tty: false }
}

fn internal<T>(text: impl Into<String>) -> Result<T, SessionError> {
    Err(SessionError::Internal(text.into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_find_running_containers_and_say_what_is_missing_as_a_kubelet_does() {
    let rig = Rig::new(crate::FakeRuntime::new([("init", exits(1, 0)), ("main", stops(0))])).await;
    let mut terminal = container("main");
    terminal["tty"] = json!(true);
    let pod = rig.create(json!({"initContainers": [container("init")], "containers": [terminal]})).await;
    rig.until_phase("Running").await;
    let name =
        |name: &str, uid: &str| PodName { namespace: "default".to_owned(), name: name.to_owned(), uid: uid.to_owned() };
    let uid = pod.metadata.uid.expect("a uid");
    let (here, other) = (name("p", &uid), name("p", "other"));

    let session = rig.kubelet.exec(&here, "main", command()).await.expect("opened");
    let text = "failed to exec in container: OCI runtime exec failed: container0003: unknown";
    assert_eq!(session.end.await, Err(Error::StartFailed { message: text.to_owned() }));
    let nowhere = Err(SessionError::NotFound("pod does not exist".to_owned()));
    assert_eq!(rig.kubelet.exec(&name("q", "u"), "main", command()).await.map(drop), nowhere);
    for (pod, container) in [(&here, "init"), (&here, "nobody"), (&other, "main")] {
        let missing = internal(format!("container not found ({container:?})"));
        assert_eq!(rig.kubelet.exec(pod, container, command()).await.map(drop), missing);
    }

    // Whether there is a terminal is for the spec to say.
    let both = Err(SessionError::BadRequest("tty and stderr cannot both be set".to_owned()));
    assert_eq!(rig.kubelet.attach(&here, "main", OUTPUT).await.map(drop), both);
    let streams = Streams { stderr: false, ..OUTPUT };
    assert_eq!(rig.kubelet.attach(&here, "main", streams).await.map(drop), Ok(()));
    let unknown = internal("failed to find container nobody in pod");
    assert_eq!(rig.kubelet.attach(&here, "nobody", streams).await.map(drop), unknown);

    let refused = rig.kubelet.port_forward(&here, 80).await.map(drop);
    assert!(matches!(&refused, Err(SessionError::Internal(text)) if text.starts_with("nobody listens on 80 in ")));
    assert_eq!(rig.kubelet.port_forward(&other, 80).await.map(drop), internal("pod not found (\"p_default\")"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_27_a_sidecar_is_entered_while_a_later_init_container_runs() {
    let rig = Rig::new(crate::FakeRuntime::new([("proxy", stops(0)), ("slow", stops(0))])).await;
    let mut sidecar = container("proxy");
    sidecar["restartPolicy"] = json!("Always");
    let spec = json!({"initContainers": [sidecar, container("slow")], "containers": [container("main")]});
    let pod = rig.create(spec).await;
    rig.until("the init container runs", |pod| {
        let status = pod.and_then(|pod| pod.status.as_ref());
        let mut init = status.into_iter().flat_map(|status| status.init_container_statuses.iter().flatten());
        init.any(|one| one.name == "slow" && one.state.as_ref().is_some_and(|state| state.running.is_some()))
    })
    .await;
    let name = PodName { namespace: "default".to_owned(), name: "p".to_owned(), uid: pod.metadata.uid.expect("a uid") };
    assert!(rig.kubelet.exec(&name, "proxy", command()).await.is_ok());
    assert_eq!(rig.kubelet.attach(&name, "proxy", OUTPUT).await.map(drop), Ok(()));
    let waiting = internal("container not found (\"main\")");
    assert_eq!(rig.kubelet.exec(&name, "main", command()).await.map(drop), waiting);
}
