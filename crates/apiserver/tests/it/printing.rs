//! What `kubectl` prints of this server. Its `create` commands send protobuf.

use crate::kubectl::Kubectl;
use crate::support::Rig;

/// Runs command lines; returns what they print.
async fn run(kubectl: &Kubectl, lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        text += &kubectl.ok(&line.split(' ').collect::<Vec<_>>()).await;
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_creates_is_printed_as_by_a_cluster() {
    let rig = Rig::new();
    let kubectl = Kubectl::new(&rig.server).await;
    let created = run(
        &kubectl,
        &[
            "create deployment web --image=nginx:1 --replicas=2 --port=80",
            "create service clusterip web --clusterip=10.96.0.7 --tcp=80:8080",
            "create service externalname out --external-name a.example.com",
            "create job j --image=busybox -- true",
            "create cronjob cj --image=busybox --schedule=@hourly -- true",
            "create job by-hand --from=cronjob/cj",
            "create secret generic s --from-literal=a=b",
            "create role r --verb=get --resource=pods",
            "create rolebinding rb --role=r --user=alice --serviceaccount=default:default",
        ],
    )
    .await;
    assert_eq!(created.lines().filter(|line| line.ends_with(" created")).count(), 9, "{created}");
    let all = run(&kubectl, &["get all"]).await;
    let expected = "
NAME          TYPE           CLUSTER-IP   EXTERNAL-IP     PORT(S)   AGE
service/out   ExternalName   <none>       a.example.com   <none>    0s
service/web   ClusterIP      10.96.0.7    <none>          80/TCP    0s

NAME                STATUS    COMPLETIONS   DURATION   AGE
job.batch/by-hand   Running   0/1                      0s
job.batch/j         Running   0/1                      0s

NAME               SCHEDULE   TIMEZONE   SUSPEND   ACTIVE   LAST SCHEDULE   AGE
cronjob.batch/cj   @hourly    <none>     False     0        <none>          0s

NAME                  READY   UP-TO-DATE   AVAILABLE   AGE
deployment.apps/web   0/2     0            0           0s
";
    let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned();
    assert_eq!(trimmed(&all), trimmed(expected));
    let rest = run(&kubectl, &["get secret,role,rolebinding -o wide", "get secret s -o jsonpath={.data.a}"]).await;
    let expected = "
NAME       TYPE     DATA   AGE
secret/s   Opaque   1      0s

NAME                               CREATED AT
role.rbac.authorization.k8s.io/r   2026-01-02T03:04:05Z

NAME                                       ROLE     AGE   USERS   GROUPS   SERVICEACCOUNTS
rolebinding.rbac.authorization.k8s.io/rb   Role/r   0s    alice            default/default
Yg==";
    assert_eq!(trimmed(&rest), trimmed(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_scales_changes_and_describes() {
    let rig = Rig::new();
    let kubectl = Kubectl::new(&rig.server).await;
    let text = run(
        &kubectl,
        &[
            "create deployment web --image=nginx:1 --port=80",
            "scale deployment web --replicas=3",
            "set image deployment/web nginx=nginx:2",
            "expose deployment web --type=NodePort",
            "get deployment web",
            "describe deployment web",
            "describe service web",
            "delete deployment web --cascade=background",
        ],
    )
    .await;
    for part in [
        "deployment.apps/web scaled",
        "web    0/3     0            0           0s",
        "3 desired | 0 updated",
        "25% max unavailable, 25% max surge",
        "nginx:2",
        "IP Family Policy:         SingleStack",
        "deployment.apps \"web\" deleted",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
