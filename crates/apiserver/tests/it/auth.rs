//! Who may come in and what they may do, as connections of a listener see it.

use apiserver::{CertificateIdentity, Options, TokenKey};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::support::{Rig, pod, refusal};

const TOKENS: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";

/// A connection.
struct Peer<'a> {
    rig: &'a Rig,
    certificate: Option<CertificateIdentity>,
    headers: Vec<(&'static str, String)>,
}

impl<'a> Peer<'a> {
    fn nobody(rig: &'a Rig) -> Self {
        Self { rig, certificate: None, headers: Vec::new() }
    }

    fn user(rig: &'a Rig, name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { certificate: Some(CertificateIdentity { name: name.to_owned(), groups }), ..Self::nobody(rig) }
    }

    fn admin(rig: &'a Rig) -> Self {
        Self::user(rig, "admin", &["system:masters"])
    }

    fn token(rig: &'a Rig, token: &str) -> Self {
        Self::nobody(rig).with("authorization", &format!("Bearer {token}"))
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.send_as("application/json", method, path, body).await
    }

    async fn merge(&self, path: &str, body: Value) -> (u16, Value) {
        self.send_as("application/merge-patch+json", "PATCH", path, body).await
    }

    async fn send_as(&self, media_type: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        use http_body_util::BodyExt;
        let mut request = http::Request::builder().method(method).uri(path).header("content-type", media_type);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.body(http_body_util::Full::new(bytes::Bytes::from(body))).expect("request");
        let service = self.rig.server.service_for(self.certificate.clone());
        let response = tower::ServiceExt::oneshot(service, request).await.expect("infallible");
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        let text = String::from_utf8(body.to_vec()).expect("text");
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (code, body) = self.send("GET", path, Value::Null).await;
        (code, body["message"].as_str().unwrap_or_default().to_owned())
    }

    async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (code, answer) = self.send(method, path, body).await;
        assert!(code < 300, "{method} {path}: {code} {answer}");
        answer
    }
}

async fn token(rig: &Rig, spec: Value) -> String {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let answer = Peer::admin(rig).done("POST", TOKENS, request).await;
    answer["status"]["token"].as_str().expect("token").to_owned()
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).expect("claims");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64");
    serde_json::from_slice(&bytes).expect("json")
}

fn role(kind: &str, name: &str, rules: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": rules})
}

fn binding(kind: &str, name: &str, role: (&str, &str), subject: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1}, "subjects": [subject],
    })
}

fn user(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}

const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn nobody_sees_health_and_version_and_nothing_else() {
    let rig = Rig::new();
    let peer = Peer::nobody(&rig);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(peer.get(path).await.0, 200, "{path}");
    }
    assert_eq!(
        peer.get(PODS).await,
        (
            403,
            "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the \
             namespace \"default\""
                .to_owned()
        )
    );
    assert_eq!(
        peer.get("/api").await,
        (403, "forbidden: User \"system:anonymous\" cannot get path \"/api\"".to_owned())
    );
    assert_eq!(Peer::token(&rig, "nonsense").get("/version").await, (401, "Unauthorized".to_owned()));
}

#[tokio::test]
async fn roles_give_exactly_what_they_say_at_once_and_only_there() {
    let rig = Rig::new();
    let (admin, peer) = (Peer::admin(&rig), Peer::user(&rig, "x", &[]));
    assert_eq!(peer.get("/api").await.0, 200, "discovery is for everybody who is known");
    assert_eq!(peer.get(PODS).await.0, 403);
    admin.done("POST", BINDINGS, binding("RoleBinding", "b", ("Role", "r"), user("x"))).await;
    let missing = peer.get(PODS).await.1;
    assert!(missing.ends_with(": RBAC: role.rbac.authorization.k8s.io \"r\" not found"), "{missing}");
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]);
    admin.done("POST", ROLES, role("Role", "r", rules)).await;
    assert_eq!(peer.get(PODS).await.0, 200);
    assert_eq!(peer.get(&format!("{PODS}?watch=1")).await.0, 403);
    assert_eq!(peer.get("/api/v1/pods").await.0, 403);
    assert_eq!(peer.get("/api/v1/namespaces/kube-system/pods").await.0, 403);
    admin.done("DELETE", &format!("{BINDINGS}/b"), Value::Null).await;
    assert_eq!(peer.get(PODS).await.0, 403);
    // A role of the cluster, bound in one namespace.
    admin.done("POST", BINDINGS, binding("RoleBinding", "b", ("ClusterRole", "view"), user("x"))).await;
    assert_eq!(peer.get(PODS).await.0, 200);
    assert_eq!(peer.get("/api/v1/namespaces/default").await.0, 200);
    assert_eq!(peer.get("/api/v1/namespaces/default/secrets").await.0, 403);
    assert_eq!(peer.get("/api/v1/pods").await.0, 403);
}

#[tokio::test]
async fn the_old_paths_of_watches_only_watch() {
    let rig = Rig::new();
    let (admin, peer) = (Peer::admin(&rig), Peer::user(&rig, "x", &[]));
    let rules = json!([{"apiGroups": ["", "authorization.k8s.io"], "resources": ["*"], "verbs": ["watch"]}]);
    admin.done("POST", ROLES, role("Role", "r", rules)).await;
    admin.done("POST", BINDINGS, binding("RoleBinding", "b", ("Role", "r"), user("x"))).await;
    let map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}});
    for name in ["a", "ab"] {
        admin.done("POST", "/api/v1/namespaces/default/configmaps", map(name)).await;
    }
    let one = "/api/v1/watch/namespaces/default/configmaps/a";
    let all = "/api/v1/watch/namespaces/default/configmaps";
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "LocalSubjectAccessReview", "spec": {
        "user": "x", "resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}}});
    let reviews = "/apis/authorization.k8s.io/v1/watch/namespaces/default/localsubjectaccessreviews";
    for (method, path, body) in [
        ("DELETE", one, Value::Null),
        ("PUT", one, map("a")),
        ("PATCH", one, json!({"data": {"a": "c"}})),
        ("POST", all, map("c")),
        ("DELETE", all, Value::Null),
        ("POST", reviews, review),
    ] {
        let (code, answer) = peer.send(method, path, body).await;
        assert_eq!(code, 405, "{method} {path}: {answer}");
    }
    let log = "/api/v1/watch/namespaces/default/pods/a/log";
    assert_eq!(peer.get(log).await.0, 405);
    let (_, seen) = peer.send("GET", &format!("{one}?timeoutSeconds=1"), Value::Null).await;
    assert_eq!((&seen["type"], &seen["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")), "{seen}");
}

#[tokio::test]
async fn a_name_in_the_text_of_another_selector_gives_no_right() {
    let rig = Rig::new();
    let (admin, peer) = (Peer::admin(&rig), Peer::user(&rig, "x", &[]));
    let rules = json!([
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["list"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["a"],
         "verbs": ["create", "update"]},
    ]);
    admin.done("POST", ROLES, role("Role", "r", rules)).await;
    admin.done("POST", BINDINGS, binding("RoleBinding", "b", ("Role", "r"), user("x"))).await;
    let secrets = "/api/v1/namespaces/default/secrets?fieldSelector=";
    assert_eq!(peer.get(&format!("{secrets}metadata.name%3Da")).await.0, 200);
    assert_eq!(peer.get(&format!("{secrets}type!%3Dx%5C,metadata.name%5C%3Da")).await.0, 403);
    assert_eq!(peer.get(&format!("{secrets}type!%3Dx%5C,metadata.name%3Da")).await.0, 403);
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "b"}});
    let (code, answer) = peer.send("PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/a", lease).await;
    assert_eq!(code, 400, "{answer}");
}

#[tokio::test]
async fn roles_made_of_others_follow_them() {
    let rig = Rig::new();
    let admin = Peer::admin(&rig);
    let has = async |role: &str, resource: &str| {
        let rules = admin.done("GET", &format!("{CLUSTER_ROLES}/{role}"), Value::Null).await["rules"].to_string();
        rules.contains(&format!("\"{resource}\""))
    };
    assert!(has("admin", "rolebindings").await && has("admin", "pods/exec").await && has("admin", "pods/log").await);
    assert!(!has("edit", "rolebindings").await && !has("view", "secrets").await);
    let mut part =
        role("ClusterRole", "part", json!([{"apiGroups": ["x"], "resources": ["things"], "verbs": ["get"]}]));
    part["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    admin.done("POST", CLUSTER_ROLES, part).await;
    assert!(has("view", "things").await && has("admin", "things").await);
    admin.done("DELETE", &format!("{CLUSTER_ROLES}/part"), Value::Null).await;
    assert!(!has("view", "things").await && !has("admin", "things").await);
}

#[tokio::test]
async fn nobody_gives_away_what_they_do_not_have() {
    let rig = Rig::new();
    let (admin, peer) = (Peer::admin(&rig), Peer::user(&rig, "x", &["g"]));
    admin.done("POST", BINDINGS, binding("RoleBinding", "x", ("ClusterRole", "admin"), user("x"))).await;
    let get = |resource: &str| json!([{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]);
    peer.done("POST", ROLES, role("Role", "mine", get("pods"))).await;
    let (code, refused) = peer.send("POST", ROLES, role("Role", "more", get("nodes"))).await;
    assert_eq!(code, 403);
    assert_eq!(
        refused["message"],
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"x\" (groups=[\"g\" \"system:authenticated\"]) is \
         attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], \
         Verbs:[\"get\"]}"
    );
    let (code, _) = peer.send("PUT", &format!("{ROLES}/mine"), role("Role", "mine", get("nodes"))).await;
    assert_eq!(code, 403);
    peer.done("PUT", &format!("{ROLES}/mine"), role("Role", "mine", get("secrets"))).await;
    peer.done("POST", BINDINGS, binding("RoleBinding", "a", ("Role", "mine"), user("y"))).await;
    let (code, _) =
        peer.send("POST", BINDINGS, binding("RoleBinding", "c", ("ClusterRole", "cluster-admin"), user("x"))).await;
    assert_eq!(code, 403);
    let bind = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"]}]);
    admin.done("POST", CLUSTER_ROLES, role("ClusterRole", "binder", bind)).await;
    admin
        .done("POST", CLUSTER_BINDINGS, binding("ClusterRoleBinding", "x", ("ClusterRole", "binder"), user("x")))
        .await;
    peer.done("POST", BINDINGS, binding("RoleBinding", "c", ("ClusterRole", "cluster-admin"), user("x"))).await;
}

#[tokio::test]
async fn a_role_about_more_than_can_be_checked_is_refused_at_once() {
    let rig = Rig::new();
    let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}]);
    let (admin, peer) = (Peer::admin(&rig), Peer::user(&rig, "x", &[]));
    admin.done("POST", ROLES, role("Role", "r", rules)).await;
    admin.done("POST", BINDINGS, binding("RoleBinding", "b", ("Role", "r"), user("x"))).await;
    let many: Vec<String> = (0..1000).map(|number| format!("a{number}")).collect();
    let rules = json!([{"apiGroups": many, "resources": many, "resourceNames": many, "verbs": many}]);
    let (code, answer) = peer.send("POST", ROLES, role("Role", "all", rules)).await;
    assert_eq!(code, 403);
    let message = answer["message"].as_str().expect("message");
    assert!(message.ends_with("its rules name too many combinations to be checked"), "{message}");
}

#[tokio::test]
async fn a_label_makes_no_role_a_part_of_another_without_the_rights() {
    let rig = Rig::new();
    let rules =
        json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["patch"]}]);
    let (admin, peer) = (Peer::admin(&rig), Peer::user(&rig, "x", &[]));
    admin.done("POST", CLUSTER_ROLES, role("ClusterRole", "r", rules)).await;
    admin.done("POST", CLUSTER_BINDINGS, binding("ClusterRoleBinding", "b", ("ClusterRole", "r"), user("x"))).await;
    let labels = json!({"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}});
    let path = format!("{CLUSTER_ROLES}/cluster-admin");
    let (code, answer) = peer.merge(&path, labels).await;
    assert_eq!(code, 403, "{answer}");
    let (code, answer) = peer.merge(&path, json!({"metadata": {"finalizers": ["example.com/a"]}})).await;
    assert_eq!(code, 200, "{answer}");
    let (code, answer) = peer.merge(&format!("{CLUSTER_ROLES}/view"), json!({"aggregationRule": null})).await;
    assert_eq!(code, 403, "{answer}");
}

#[tokio::test]
async fn tokens_say_and_prove_who_a_service_account_is() {
    let rig = Rig::new();
    let token = token(&rig, json!({"expirationSeconds": 600})).await;
    let claims = claims(&token);
    assert_eq!(claims["sub"], "system:serviceaccount:default:default");
    assert_eq!(claims["aud"], json!(["https://kubernetes.default.svc.cluster.local"]));
    assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|at| at + 600));
    let fields: Vec<&str> = claims["kubernetes.io"].as_object().expect("claims").keys().map(String::as_str).collect();
    assert_eq!(fields, ["namespace", "serviceaccount"]);
    let peer = Peer::token(&rig, &token);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let me = peer.done("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review).await;
    let info = &me["status"]["userInfo"];
    assert_eq!(info["username"], "system:serviceaccount:default:default");
    assert_eq!(
        info["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert_eq!(peer.get("/openid/v1/jwks").await.0, 200);
    assert_eq!(peer.get(PODS).await.0, 403);
    let account = json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"});
    Peer::admin(&rig).done("POST", BINDINGS, binding("RoleBinding", "b", ("ClusterRole", "view"), account)).await;
    assert_eq!(peer.get(PODS).await.0, 200);
    rig.advance(600);
    assert_eq!(peer.get(PODS).await.0, 401, "expired");
}

#[tokio::test]
async fn a_token_of_a_pod_ends_with_the_pod() {
    let rig = Rig::new();
    let created = rig.pod("a", json!({})).await;
    let uid = created.uid().expect("uid");
    let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "a", "uid": uid});
    let token = token(&rig, json!({"boundObjectRef": reference, "expirationSeconds": 3607})).await;
    let claims = claims(&token);
    assert_eq!(claims["kubernetes.io"]["pod"], json!({"name": "a", "uid": uid}));
    assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|at| at + 31_536_000), "as old clients need it");
    assert_eq!(claims["kubernetes.io"]["warnafter"].as_i64(), claims["iat"].as_i64().map(|at| at + 3607));
    let peer = Peer::token(&rig, &token);
    assert_eq!(peer.get("/api").await.0, 200);
    rig.pods().delete("a", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(peer.get("/api").await.0, 401);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let answer = Peer::admin(&rig).done("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).await;
    assert_eq!(answer["status"]["error"], "invalid bearer token, service account token has been invalidated");
    assert!(answer["status"]["authenticated"].is_null());
}

#[tokio::test]
async fn impossible_token_requests_are_refused() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    let admin = Peer::admin(&rig);
    let reference = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}});
    for (spec, code, message) in [
        (
            json!({"expirationSeconds": 5}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 5: may not \
             specify a duration less than 10 minutes",
        ),
        (reference("Pod", "none", ""), 404, "pods \"none\" not found"),
        (reference("Job", "a", ""), 400, "cannot bind token to object of type v1, Kind=Job"),
        (
            reference("Pod", "a", "u"),
            409,
            "Operation cannot be fulfilled on Pod \"a\": the UID in the bound object reference (u) does not match the UID \
             in record. The object might have been deleted and then recreated",
        ),
    ] {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let (got, answer) = admin.send("POST", TOKENS, body).await;
        assert_eq!((got, answer["message"].as_str()), (code, Some(message)));
    }
    let (code, _) = admin.send("POST", &TOKENS.replace("/default/token", "/none/token"), json!({})).await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn a_kept_key_takes_tokens_of_before() {
    let key = std::sync::Arc::new(TokenKey::generate().expect("key"));
    let rig = Rig::with(Options { token_key: Some(std::sync::Arc::clone(&key)), ..Options::default() });
    let other = Rig::with(Options { token_key: Some(key), ..Options::default() });
    let token = token(&rig, json!({})).await;
    // Another data set: the account of that name is another one.
    assert_eq!(Peer::token(&rig, &token).get("/api").await.0, 200);
    assert_eq!(Peer::token(&other, &token).get("/api").await.0, 401);
    assert_eq!(Peer::token(&Rig::new(), &token).get("/api").await.0, 401);
}

#[tokio::test]
async fn some_may_act_as_others() {
    let rig = Rig::new();
    let whoami = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let as_account = Peer::admin(&rig).with("impersonate-user", "system:serviceaccount:a:b");
    let me = as_account.done("POST", path, whoami.clone()).await;
    assert_eq!(me["status"]["userInfo"]["username"], "system:serviceaccount:a:b");
    assert_eq!(
        me["status"]["userInfo"]["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"])
    );
    let peer = Peer::user(&rig, "x", &[]).with("impersonate-user", "y");
    let refused = "users \"y\" is forbidden: User \"x\" cannot impersonate resource \"users\" in API group \"\" at the \
                   cluster scope";
    assert_eq!(peer.get("/api").await, (403, refused.to_owned()));
    let group = Peer::admin(&rig).with("impersonate-group", "g");
    assert_eq!(group.get("/api").await.0, 500);
    let anonymous = Peer::admin(&rig).with("impersonate-user", "system:anonymous");
    assert_eq!(anonymous.get("/api").await.0, 403);
}

#[tokio::test]
async fn reviews_tell_what_would_be_decided() {
    let rig = Rig::new();
    let (admin, peer) = (Peer::admin(&rig), Peer::user(&rig, "x", &[]));
    admin.done("POST", BINDINGS, binding("RoleBinding", "b", ("ClusterRole", "view"), user("x"))).await;
    let base = "/apis/authorization.k8s.io/v1";
    let pods = |verb: &str| json!({"namespace": "default", "verb": verb, "resource": "pods"});
    for (verb, allowed) in [("list", true), ("delete", false)] {
        let own = json!({"spec": {"resourceAttributes": pods(verb)}});
        let answer = peer.done("POST", &format!("{base}/selfsubjectaccessreviews"), own).await;
        assert_eq!(answer["status"]["allowed"], allowed, "{verb}");
        let other = json!({"spec": {"user": "x", "resourceAttributes": pods(verb)}});
        let answer = admin.done("POST", &format!("{base}/subjectaccessreviews"), other.clone()).await;
        assert_eq!(answer["status"]["allowed"], allowed, "{verb}");
        let local = format!("{base}/namespaces/default/localsubjectaccessreviews");
        assert_eq!(admin.done("POST", &local, other.clone()).await["status"]["allowed"], allowed);
        assert_eq!(peer.send("POST", &format!("{base}/subjectaccessreviews"), other).await.0, 403);
    }
    let rules = json!({"spec": {"namespace": "default"}});
    let answer = peer.done("POST", &format!("{base}/selfsubjectrulesreviews"), rules).await;
    let text = answer["status"]["resourceRules"].to_string();
    assert!(text.contains("\"pods/log\"") && !text.contains("\"secrets\""), "{text}");
    assert!(answer["status"]["nonResourceRules"].to_string().contains("/version"));
    let (code, answer) = peer.send("POST", &format!("{base}/selfsubjectaccessreviews"), json!({})).await;
    assert_eq!(code, 422, "{answer}");
    let (code, _) = peer.send("GET", &format!("{base}/selfsubjectaccessreviews"), Value::Null).await;
    assert_eq!(code, 403);
    let (code, _) = admin.send("GET", &format!("{base}/selfsubjectaccessreviews"), Value::Null).await;
    assert_eq!(code, 405);
}

#[tokio::test]
async fn pods_get_their_accounts_token_unless_somebody_says_no() {
    let rig = Rig::new();
    let created = rig.pod("a", json!({})).await;
    let spec = created.spec.expect("spec");
    let volume = &spec.volumes.expect("volumes")[0];
    assert!(volume.name.starts_with("kube-api-access-"));
    let mount = &spec.containers[0].volume_mounts.as_ref().expect("mounts")[0];
    assert_eq!((mount.name.as_str(), mount.read_only), (volume.name.as_str(), Some(true)));
    let without = rig.pod("b", json!({"spec": {"automountServiceAccountToken": false}})).await;
    assert!(without.spec.expect("spec").volumes.is_none());
    let stranger = pod("c", json!({"spec": {"serviceAccountName": "none"}}));
    assert_eq!(
        refusal(rig.pods().create(&PostParams::default(), &stranger).await),
        "403 Forbidden: pods \"c\" is forbidden: error looking up service account default/none: serviceaccount \"none\" \
         not found"
    );
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account =
        json!({"metadata": {"name": "s"}, "imagePullSecrets": [{"name": "p"}], "automountServiceAccountToken": false});
    Peer::admin(&rig).done("POST", accounts, account).await;
    let pod: Pod = rig.pod("d", json!({"spec": {"serviceAccountName": "s"}})).await;
    let spec = pod.spec.expect("spec");
    assert!(spec.volumes.is_none());
    assert_eq!(spec.image_pull_secrets.expect("secrets")[0].name, "p");
}

#[tokio::test]
async fn every_namespace_has_the_root_certificate_whatever_happens_to_it() {
    let rig = Rig::with(Options { root_ca: "PEM".to_owned(), ..Options::default() });
    let admin = Peer::admin(&rig);
    admin.done("POST", "/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    let maps: Api<ConfigMap> = Api::namespaced(Client::new(rig.server.service(), "n"), "n");
    let content = async || maps.get("kube-root-ca.crt").await.expect("there").data.expect("data")["ca.crt"].clone();
    assert_eq!(content().await, "PEM");
    maps.delete("kube-root-ca.crt", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(content().await, "PEM");
    let path = "/api/v1/namespaces/n/configmaps/kube-root-ca.crt";
    admin.done("PUT", path, json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "other"}})).await;
    assert_eq!(content().await, "PEM");
    admin.done("DELETE", "/api/v1/namespaces/n", Value::Null).await;
    assert_eq!(admin.get("/api/v1/namespaces/n").await.0, 404, "it does not come back in a namespace that goes");
}

#[tokio::test]
async fn kubectl_asks_who_it_is_and_what_it_may_do() {
    let rig = Rig::new();
    let kubectl = Kubectl::new(&rig.server).await;
    assert_eq!(kubectl.ok(&["auth", "can-i", "create", "pods"]).await, "yes\n");
    let whoami = kubectl.ok(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).await;
    assert_eq!(whoami, "system:apiserver");
    let list = kubectl.ok(&["auth", "can-i", "--list"]).await;
    assert!(list.lines().any(|line| line.starts_with("*.*")), "{list}");
    let token = kubectl.ok(&["create", "token", "default", "--duration=10m"]).await;
    assert_eq!(Peer::token(&rig, token.trim()).get("/api").await.0, 200);
    let bind = ["create", "rolebinding", "b", "--clusterrole=view", "--serviceaccount=default:default"];
    assert_eq!(kubectl.ok(&bind).await, "rolebinding.rbac.authorization.k8s.io/b created\n");
    assert_eq!(Peer::token(&rig, token.trim()).get(PODS).await.0, 200);
    let resources = kubectl.ok(&["api-resources"]).await;
    assert!(resources.contains("selfsubjectaccessreviews"), "{resources}");
}
