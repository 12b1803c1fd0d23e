//! The pod network for real. Needs root, `ip` and `nft`; every test has a network namespace of its own as "the host".
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cri::{PortMapping, Protocol};
use runtime::net::{Error, Network, NetworkOptions, Subnet};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(10);

/// A network namespace that lives as long as this value.
struct Namespace(File);

impl Namespace {
    fn new() -> Self {
        let enter = || {
            unshare_network();
            run("ip", &["link", "set", "lo", "up"]);
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Self(thread::scope(|scope| scope.spawn(enter).join().unwrap()))
    }

    /// Runs `work` inside. Sockets that it returns stay inside.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

#[expect(deprecated, reason = "the safe form; a thread's network namespace is no matter of memory safety")]
fn unshare_network() {
    rustix::thread::unshare(UnshareFlags::NEWNET).expect("unshare the network namespace (are you root?)");
}

/// Runs a test with a fresh network namespace as the host and a fresh run directory.
fn on_host(test: impl FnOnce(&TempDir) + Send) {
    Namespace::new().inside(|| test(&tempfile::tempdir().unwrap()));
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn open(dir: &TempDir, instance: &str) -> Network {
    Network::open(dir.path(), NetworkOptions::new(instance)).unwrap()
}

/// Attaches a fresh namespace.
fn pod(network: &Network, sandbox: &str) -> (Namespace, Ipv4Addr) {
    let namespace = Namespace::new();
    let addresses = network.attach_namespace(sandbox, namespace.0.as_fd()).unwrap();
    match addresses.as_slice() {
        [IpAddr::V4(address)] => (namespace, *address),
        other => panic!("{other:?}"),
    }
}

/// Answers one connection with the peer's address, as the server sees it.
fn serve_peer_address(listener: TcpListener) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.write_all(peer.ip().to_string().as_bytes()).unwrap();
    })
}

/// Connects and returns what the server says.
fn ask(address: impl Into<IpAddr>, port: u16) -> String {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address.into(), port), WAIT).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Listens, as soon as the last listener is closed everywhere: a process that another test starts at this moment
/// has inherited it until its `exec`.
fn listen_on(port: u16) -> TcpListener {
    let start = Instant::now();
    loop {
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && start.elapsed() < WAIT => thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

/// Lets `server` see a connection that `client` makes to `address:port`; returns the address it comes from.
fn seen_from(server: &Namespace, listen: u16, client: Option<&Namespace>, address: IpAddr, port: u16) -> String {
    let listener = server.inside(|| listen_on(listen));
    let answering = serve_peer_address(listener);
    let seen = match client {
        Some(client) => client.inside(|| ask(address, port)),
        None => ask(address, port),
    };
    answering.join().unwrap();
    seen
}

fn mapping(host_port: u16, container_port: u16) -> PortMapping {
    PortMapping { protocol: Protocol::Tcp, container_port, host_port, host_ip: String::new() }
}

fn link_names() -> Vec<String> {
    let text = run("ip", &["-o", "link"]);
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .map(|n| n.split('@').next().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn sysctl(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap().trim().to_owned()
}

/// Everything on the host that the network may touch.
fn host_state() -> (Vec<String>, String, String, String) {
    let routes = run("ip", &["route"]);
    (link_names(), run("nft", &["list", "ruleset"]), sysctl("ip_forward"), routes)
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < WAIT, "{what}");
        thread::yield_now();
    }
}

/// Links the host with a network outside: the host has 192.0.2.2, the outside 192.0.2.1.
fn outside() -> Namespace {
    let outside = Namespace::new();
    run("ip", &["link", "add", "up0", "mtu", "1400", "type", "veth", "peer", "name", "out0"]);
    run("ip", &["link", "set", "out0", "netns", &outside.path()]);
    outside.inside(|| {
        run("ip", &["addr", "add", "192.0.2.1/24", "dev", "out0"]);
        run("ip", &["link", "set", "out0", "up"]);
    });
    run("ip", &["addr", "add", "192.0.2.2/24", "dev", "up0"]);
    run("ip", &["link", "set", "up0", "up"]);
    run("ip", &["route", "add", "default", "via", "192.0.2.1"]);
    outside
}

#[test]
fn s6_21_pods_are_reached_at_their_address_from_the_host_and_from_pods_and_reach_the_host() {
    on_host(|dir| {
        let network = open(dir, "one");
        let (first, first_ip) = pod(&network, "a");
        let (second, second_ip) = pod(&network, "b");
        assert_ne!(first_ip, second_ip);
        let gateway = Ipv4Addr::from(u32::from(first_ip) & 0xffff_fc00 | 1).to_string();
        assert_eq!(seen_from(&first, 80, None, first_ip.into(), 80), gateway, "host -> pod");
        assert_eq!(seen_from(&first, 80, Some(&second), first_ip.into(), 80), second_ip.to_string(), "pod -> pod");
        assert_eq!(seen_from(&first, 80, Some(&first), first_ip.into(), 80), first_ip.to_string(), "pod -> itself");
        let loopback = Ipv4Addr::LOCALHOST.into();
        assert_eq!(seen_from(&first, 80, Some(&first), loopback, 80), "127.0.0.1", "loopback is up");
        let answering = serve_peer_address(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 81)).unwrap());
        let seen = second.inside(|| ask(gateway.parse::<IpAddr>().unwrap(), 81));
        assert_eq!(seen, second_ip.to_string(), "pod -> host");
        answering.join().unwrap();
    });
}

#[test]
fn s6_21_what_listens_on_the_loopback_of_a_pod_is_not_reached_from_the_host() {
    on_host(|dir| {
        let network = open(dir, "one");
        let (pod, address) = pod(&network, "a");
        let listener = pod.inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 82)).unwrap());
        let refused = TcpStream::connect_timeout(&SocketAddr::new(address.into(), 82), WAIT).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        drop(listener);
    });
}

#[test]
fn pods_reach_the_world_with_the_hosts_address_and_mtu() {
    on_host(|dir| {
        let outside = outside();
        let network = open(dir, "one");
        let (pod, _) = pod(&network, "a");
        assert_eq!(seen_from(&outside, 80, Some(&pod), [192, 0, 2, 1].into(), 80), "192.0.2.2");
        assert!(pod.inside(|| run("ip", &["link", "show", "eth0"])).contains("mtu 1400"));
    });
}

#[test]
fn a_port_of_the_host_leads_into_the_pod_from_everywhere() {
    on_host(|dir| {
        let outside = outside();
        let network = open(dir, "one");
        let (server, server_ip) = pod(&network, "server");
        let (client, _) = pod(&network, "client");
        network.map_ports("server", server_ip.into(), &[mapping(8080, 80)]).unwrap();
        let host: IpAddr = [192, 0, 2, 2].into();
        assert_eq!(seen_from(&server, 80, Some(&outside), host, 8080), "192.0.2.1", "the client's address is kept");
        for (who, from) in [("host", None), ("other pod", Some(&client)), ("itself", Some(&server))] {
            let seen = seen_from(&server, 80, from, host, 8080);
            assert!(!seen.is_empty(), "from {who}");
        }
        seen_from(&server, 80, None, Ipv4Addr::LOCALHOST.into(), 8080);
    });
}

#[test]
fn a_port_of_one_host_address_is_not_open_on_the_others_and_udp_is_not_tcp() {
    on_host(|dir| {
        let outside = outside();
        run("ip", &["addr", "add", "192.0.2.3/24", "dev", "up0"]);
        let network = open(dir, "one");
        let (server, server_ip) = pod(&network, "server");
        let only = PortMapping { host_ip: "192.0.2.3".to_owned(), ..mapping(8080, 80) };
        let udp = PortMapping { protocol: Protocol::Udp, ..mapping(53, 5353) };
        network.map_ports("server", server_ip.into(), &[only, udp]).unwrap();
        assert_eq!(seen_from(&server, 80, Some(&outside), [192, 0, 2, 3].into(), 8080), "192.0.2.1");
        let refused = |port| outside.inside(move || TcpStream::connect(("192.0.2.2", port)).is_err());
        assert!(refused(8080) && refused(53));

        let inside = server.inside(|| UdpSocket::bind("0.0.0.0:5353").unwrap());
        let from = outside.inside(|| UdpSocket::bind("192.0.2.1:0").unwrap());
        from.send_to(b"question", "192.0.2.2:53").unwrap();
        inside.set_read_timeout(Some(WAIT)).unwrap();
        let mut buffer = [0; 16];
        let (length, peer) = inside.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], peer.ip()), (&b"question"[..], from.local_addr().unwrap().ip()));
    });
}

#[test]
fn pods_cannot_reach_what_the_host_serves_on_loopback() {
    on_host(|dir| {
        let network = open(dir, "one");
        let (pod, address) = pod(&network, "a");
        let bridge = Ipv4Addr::from(u32::from(address) & 0xffff_fc00 | 1);
        let secret = UdpSocket::bind("127.0.0.1:9").unwrap();
        pod.inside(|| {
            // A packet to 127.0.0.1 that leaves through eth0, as an attacker with CAP_NET_RAW sends it.
            fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            run("ip", &["route", "del", "table", "local", "127.0.0.0/8", "dev", "lo"]);
            run("ip", &["route", "del", "table", "local", "local", "127.0.0.1", "dev", "lo"]);
            run(
                "ip",
                &["route", "add", "127.0.0.1", "via", &bridge.to_string(), "dev", "eth0", "src", &address.to_string()],
            );
            let socket = UdpSocket::bind((address, 0)).unwrap();
            socket.send_to(b"knock", "127.0.0.1:9").unwrap();
            // Sent after it on the same way, so that it would have arrived.
            socket.send_to(b"knock", (bridge, 10)).ok();
        });
        secret.set_nonblocking(true).unwrap();
        assert!(secret.recv(&mut [0; 8]).is_err());
    });
}

#[test]
fn a_port_of_the_host_belongs_to_one_pod_until_it_is_released() {
    on_host(|dir| {
        let (network, other) = (open(dir, "one"), open(dir, "two"));
        let (_first, first_ip) = pod(&network, "a");
        let (second, second_ip) = pod(&other, "b");
        network.map_ports("a", first_ip.into(), &[mapping(8080, 80)]).unwrap();
        match other.map_ports("b", second_ip.into(), &[mapping(8081, 81), mapping(8080, 80)]) {
            Err(Error::PortInUse { port }) => assert_eq!(port, "tcp 8080"),
            unexpected => panic!("{unexpected:?}"),
        }
        assert!(!run("nft", &["list", "ruleset"]).contains("8081"), "all or none");
        network.release("a").unwrap();
        other.map_ports("b", second_ip.into(), &[mapping(8080, 80)]).unwrap();
        seen_from(&second, 80, None, Ipv4Addr::LOCALHOST.into(), 8080);
    });
}

#[test]
fn after_the_last_release_the_host_is_as_it_was() {
    on_host(|dir| {
        let _outside = outside();
        let before = host_state();
        let (one, two) = (open(dir, "one"), open(dir, "two"));
        assert_eq!(host_state(), before, "nothing is built before the first pod");
        let (first, first_ip) = pod(&one, "a");
        let (second, _) = pod(&two, "b");
        one.map_ports("a", first_ip.into(), &[mapping(8080, 80)]).unwrap();
        assert_eq!(sysctl("ip_forward"), "1");
        one.release("a").unwrap();
        drop(first);
        assert!(link_names().contains(&"podrig0".to_owned()), "another pod still needs it");
        eventually("a veth goes with its namespace", || {
            link_names().iter().filter(|name| name.starts_with("pod") && !name.starts_with("podrig")).count() == 1
        });
        two.release("b").unwrap();
        two.release("b").expect("releasing again succeeds");
        assert_eq!(host_state(), before, "also while a namespace lives on");
        drop(second);
    });
}

#[test]
fn a_dead_instance_is_swept_and_its_host_ports_are_free() {
    on_host(|dir| {
        let before = host_state();
        let dead = open(dir, "dead");
        let (namespace, address) = pod(&dead, "a");
        dead.map_ports("a", address.into(), &[mapping(8080, 80)]).unwrap();
        drop((dead, namespace));
        let alive = open(dir, "alive");
        assert_eq!(alive.instances().unwrap(), ["dead"]);
        let (_pod, own) = pod(&alive, "b");
        alive.sweep("dead").unwrap();
        assert_eq!(alive.instances().unwrap(), ["alive"]);
        alive.map_ports("b", own.into(), &[mapping(8080, 80)]).unwrap();
        alive.sweep("alive").unwrap();
        drop(_pod);
        assert_eq!(host_state(), before);
    });
}

#[test]
fn a_firewall_like_dockers_does_not_cut_pods_off_and_is_left_as_it_was() {
    on_host(|dir| {
        let outside = outside();
        let rule = "oifname \"docker0\" drop";
        run(
            "nft",
            &["add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"],
        );
        run("nft", &["add", "rule", "ip", "filter", "FORWARD", rule]);
        let before = host_state();
        let network = open(dir, "one");
        let (pod, address) = pod(&network, "a");
        network.map_ports("a", address.into(), &[mapping(8080, 80)]).unwrap();
        assert_eq!(seen_from(&outside, 80, Some(&pod), [192, 0, 2, 1].into(), 80), "192.0.2.2");
        assert_eq!(seen_from(&pod, 80, Some(&outside), [192, 0, 2, 2].into(), 8080), "192.0.2.1");
        drop(pod);
        network.release("a").unwrap();
        assert_eq!(host_state(), before);
    });
}

#[test]
fn rules_that_somebody_flushed_are_back_with_the_next_pod() {
    on_host(|dir| {
        let outside = outside();
        let network = open(dir, "one");
        let (server, address) = pod(&network, "server");
        network.map_ports("server", address.into(), &[mapping(8080, 80)]).unwrap();
        run("nft", &["flush", "ruleset"]);
        let (client, _) = pod(&network, "client");
        assert_eq!(seen_from(&outside, 80, Some(&client), [192, 0, 2, 1].into(), 80), "192.0.2.2");
        assert_eq!(seen_from(&server, 80, Some(&outside), [192, 0, 2, 2].into(), 8080), "192.0.2.1");
        run("nft", &["flush", "ruleset"]);
        network.map_ports("server", address.into(), &[mapping(8081, 80)]).unwrap();
        seen_from(&server, 80, Some(&outside), [192, 0, 2, 2].into(), 8080);
        seen_from(&server, 80, Some(&outside), [192, 0, 2, 2].into(), 8081);
    });
}

#[test]
fn a_restarted_instance_finds_its_leases_again() {
    on_host(|dir| {
        let (namespace, address) = pod(&open(dir, "one"), "a");
        let restarted = open(dir, "one");
        assert_eq!(restarted.sandboxes().unwrap(), [("a".to_owned(), IpAddr::V4(address))]);
        restarted.map_ports("a", address.into(), &[mapping(8080, 80)]).unwrap();
        seen_from(&namespace, 80, None, Ipv4Addr::LOCALHOST.into(), 8080);
        restarted.release("a").unwrap();
        assert!(!link_names().contains(&"podrig0".to_owned()));
    });
}

#[test]
fn whatever_a_crash_leaves_half_done_the_next_open_or_attach_repairs() {
    on_host(|dir| {
        let before = host_state();
        // Up without a lease: killed between removing the last lease and taking the network down.
        let (namespace, address) = pod(&open(dir, "one"), "a");
        drop(namespace);
        fs::remove_file(dir.path().join("leases").join(address.to_string())).unwrap();
        open(dir, "one");
        assert_eq!(host_state(), before);

        // A lease and a plan, nothing built: killed right after writing them.
        let state =
            r#"{"generation":7,"subnet":"10.77.0.0/16","mtu":1500,"bridges":{"0":false},"sysctls":{},"nat":null}"#;
        fs::write(dir.path().join("state.json"), state).unwrap();
        let lease = r#"{"instance":"dead","sandbox":"x"}"#;
        fs::write(dir.path().join("leases/10.77.0.2"), lease).unwrap();
        let network = open(dir, "one");
        let (server, address) = pod(&network, "b");
        assert_eq!(address.octets()[..2], [10, 77]);
        seen_from(&server, 80, None, address.into(), 80);

        // The bridge is gone while the network is in use: somebody deleted it.
        run("ip", &["link", "del", "podrig0"]);
        let (server, address) = pod(&network, "c");
        seen_from(&server, 80, None, address.into(), 80);
    });
}

#[test]
fn a_subnet_in_use_on_the_host_is_avoided_and_an_explicit_one_is_taken() {
    on_host(|dir| {
        run("ip", &["addr", "add", "10.210.5.1/24", "dev", "lo"]);
        let network = open(dir, "one");
        let (_pod, address) = pod(&network, "a");
        let other: Subnet = "10.55.0.0/24".parse().unwrap();
        assert!(!"10.210.0.0/16".parse::<Subnet>().unwrap().contains(address), "{address}");

        let options = NetworkOptions { subnet: Some(other), ..NetworkOptions::new("two") };
        let different = Network::open(dir.path(), options).unwrap();
        let namespace = Namespace::new();
        let refused = different.attach_namespace("b", namespace.0.as_fd());
        assert!(matches!(refused, Err(Error::OtherSubnet { .. })), "{refused:?}");
        network.release("a").unwrap();
        let addresses = different.attach_namespace("b", namespace.0.as_fd()).unwrap();
        assert_eq!(addresses, [IpAddr::from([10, 55, 0, 2])]);
    });
}

#[test]
fn a_full_subnet_is_an_error_and_a_released_address_is_used_again() {
    on_host(|dir| {
        let options = NetworkOptions { subnet: Some("10.55.0.0/29".parse().unwrap()), ..NetworkOptions::new("one") };
        let network = Network::open(dir.path(), options).unwrap();
        let pods: Vec<_> = (0..5).map(|index| pod(&network, &index.to_string())).collect();
        let extra = Namespace::new();
        let full = network.attach_namespace("extra", extra.0.as_fd());
        assert!(matches!(full, Err(Error::Exhausted { .. })), "{full:?}");
        network.release("3").unwrap();
        let again = pods[3].1;
        assert_eq!(network.attach_namespace("extra", extra.0.as_fd()).unwrap(), [IpAddr::V4(again)]);
        let seen = seen_from(&extra, 80, Some(&pods[0].0), again.into(), 80);
        assert_eq!(seen, pods[0].1.to_string(), "although the last owner's namespace lives on");
    });
}

#[test]
fn a_second_bridge_takes_over_when_the_first_part_is_used_up() {
    on_host(|dir| {
        let network = open(dir, "one");
        let (first, first_ip) = pod(&network, "first");
        let part = u32::from(first_ip) & 0xffff_fc00;
        for host in 2..1023 {
            let path = dir.path().join("leases").join(Ipv4Addr::from(part + host).to_string());
            if !path.exists() {
                fs::write(path, r#"{"instance":"other","sandbox":"x"}"#).unwrap();
            }
        }
        let (second, second_ip) = pod(&network, "second");
        assert_eq!(u32::from(second_ip), part + 1024 + 2);
        assert!(link_names().contains(&"podrig1".to_owned()));
        assert_eq!(seen_from(&second, 80, Some(&first), second_ip.into(), 80), first_ip.to_string());
        let gateway = Ipv4Addr::from(part + 1024 + 1).to_string();
        assert_eq!(seen_from(&second, 80, None, second_ip.into(), 80), gateway);
    });
}

#[test]
fn a_process_in_the_hosts_namespace_is_refused_and_one_of_its_own_is_attached() {
    on_host(|dir| {
        let network = open(dir, "one");
        let same = network.attach("host", std::process::id());
        // The test's main thread is elsewhere; a child is born here.
        drop(same);
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let refused = network.attach("host", child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(refused, Err(Error::HostNamespace { .. })), "{refused:?}");

        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        let addresses = network.attach("pod", child.id()).unwrap();
        assert_eq!(addresses.len(), 1);
        network.release("pod").unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn many_pods_attached_at_once_by_several_processes_get_different_addresses() {
    on_host(|dir| {
        let networks = [open(dir, "one"), open(dir, "two")];
        let pods: Vec<(Namespace, Ipv4Addr)> = thread::scope(|scope| {
            let attach = |thread: usize| {
                let network = &networks[thread % 2];
                move || (0..8).map(|index| pod(network, &format!("{thread}-{index}"))).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(attach(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut addresses: Vec<_> = pods.iter().map(|(_, address)| *address).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 32);
    });
}

#[test]
fn attach_latency() {
    on_host(|dir| {
        let network = open(dir, "one");
        let mut times = Vec::new();
        let mut pods = Vec::new();
        for index in 0..300 {
            let namespace = Namespace::new();
            let start = Instant::now();
            network.attach_namespace(&index.to_string(), namespace.0.as_fd()).unwrap();
            times.push(start.elapsed());
            pods.push(namespace);
        }
        println!("first {:?}", times[0]);
        times.sort();
        println!("p10 {:?} p50 {:?} p90 {:?} max {:?}", times[30], times[150], times[270], times[299]);
        let start = Instant::now();
        for index in 0..299 {
            network.release(&index.to_string()).unwrap();
        }
        println!("release {:?}", start.elapsed() / 299);
        let start = Instant::now();
        network.release("299").unwrap();
        println!("last release, 300 veths {:?}", start.elapsed());
        drop(pods);
        let namespace = Namespace::new();
        network.attach_namespace("single", namespace.0.as_fd()).unwrap();
        let start = Instant::now();
        network.release("single").unwrap();
        println!("last release, one veth {:?}", start.elapsed());
    });
}
