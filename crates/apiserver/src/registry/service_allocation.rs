//! Addresses and node ports of Services: each is given out once.
//!
//! The services that are stored are the record of what is taken; writes of services come one after the other.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use apimachinery::field::{FieldErrors, Path};
use apimachinery::scheme::ResourceType;
use apimachinery::status::ApiError;
use serde_json::{Value, json};

use super::{Place, Registry, meta, strategy};

/// Default of kubeadm's `--service-cluster-ip-range`: 10.96.0.0/12, as first and last number.
const ADDRESSES: (u32, u32) = (0x0A60_0000, 0x0A6F_FFFF);

/// So many at the beginning are only given to who asks for them: the API server's, the DNS server's.
const RESERVED: u32 = 256;

/// Default of `--service-node-port-range`.
const NODE_PORTS: (u32, u32) = (30_000, 32_767);

/// What other services have.
#[derive(Debug, Default)]
struct Taken {
    addresses: BTreeSet<u32>,
    /// Number and protocol.
    ports: BTreeSet<(u32, String)>,
}

impl Taken {
    /// Whether a port is taken with whatever protocol.
    fn has_port(&self, number: u32) -> bool {
        self.ports.range((number, String::new())..).next().is_some_and(|(port, _)| *port == number)
    }
}

impl Registry {
    /// Gives a Service the address and the node ports that it lacks, and checks those that it names.
    ///
    /// # Errors
    /// What it names is not to be had, or nothing is left.
    pub(crate) fn allocate_for_service(
        &self,
        kind: &'static ResourceType,
        service: &mut Value,
    ) -> Result<(), ApiError> {
        let type_name = service["spec"]["type"].as_str().unwrap_or_default().to_owned();
        if type_name == "ExternalName" {
            return Ok(());
        }
        let taken = self.taken_by_others(kind, service);
        // What is given out follows from the uid, so that an address is not soon used again.
        let seed = meta::uid(service).bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut errors = FieldErrors::default();
        allocate_address(&mut errors, service, &taken, seed)?;
        let automatic = service["spec"]["allocateLoadBalancerNodePorts"] != false;
        if type_name == "NodePort" || (type_name == "LoadBalancer" && automatic) {
            allocate_node_ports(&mut errors, service, taken, seed)?;
        }
        if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, meta::name(service), &errors)) }
    }

    fn taken_by_others(&self, kind: &'static ResourceType, service: &Value) -> Taken {
        let own = Place::of(kind, service).key();
        let mut taken = Taken::default();
        for other in self.store.snapshot(&strategy::table(kind)).range("", "") {
            if other.key() == own {
                continue;
            }
            let spec = &other.value()["spec"];
            taken.addresses.extend(spec["clusterIP"].as_str().and_then(number_of));
            taken.ports.extend(spec["ports"].as_array().into_iter().flatten().filter_map(node_port));
        }
        taken
    }
}

fn number_of(ip: &str) -> Option<u32> {
    ip.parse::<Ipv4Addr>().ok().map(u32::from)
}

fn node_port(port: &Value) -> Option<(u32, String)> {
    let number =
        port["nodePort"].as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)?;
    Some((number, port["protocol"].as_str().unwrap_or_default().to_owned()))
}

fn allocate_address(errors: &mut FieldErrors, service: &mut Value, taken: &Taken, seed: u32) -> Result<(), ApiError> {
    let spec = &mut service["spec"];
    let path = Path::new("spec").child("clusterIPs");
    match spec["clusterIP"].as_str().unwrap_or_default() {
        "None" => {}
        "" => {
            let range = (ADDRESSES.0 + RESERVED, ADDRESSES.1 - 1);
            let found = first_free(range, seed, |number| taken.addresses.contains(&number));
            let found = found.ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))?;
            let ip = Ipv4Addr::from(found).to_string();
            spec["clusterIPs"] = json!([ip]);
            spec["clusterIP"] = json!(ip);
        }
        // What is no address at all is refused by validation.
        ip => match number_of(ip) {
            Some(number) if taken.addresses.contains(&number) => {
                let why = format!("failed to allocate IP {ip}: provided IP is already allocated");
                errors.invalid(&path, json!([ip]), why);
            }
            Some(number) if !(ADDRESSES.0 + 1..ADDRESSES.1).contains(&number) => {
                let why = format!(
                    "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid \
                     IPs is 10.96.0.0/12"
                );
                errors.invalid(&path, json!([ip]), why);
            }
            Some(_) | None => {}
        },
    }
    Ok(())
}

fn allocate_node_ports(
    errors: &mut FieldErrors,
    service: &mut Value,
    mut taken: Taken,
    seed: u32,
) -> Result<(), ApiError> {
    for (index, port) in service["spec"]["ports"].as_array_mut().into_iter().flatten().enumerate() {
        let protocol = port["protocol"].as_str().unwrap_or_default().to_owned();
        if let Some((number, _)) = node_port(port) {
            let path = Path::new("spec").child("ports").index(index).child("nodePort");
            if !(NODE_PORTS.0..=NODE_PORTS.1).contains(&number) {
                let (first, last) = NODE_PORTS;
                let why =
                    format!("provided port is not in the valid range. The range of valid ports is {first}-{last}");
                errors.invalid(&path, number, why);
            } else if !taken.ports.insert((number, protocol)) {
                errors.invalid(&path, number, "provided port is already allocated");
            }
            continue;
        }
        let found = first_free(NODE_PORTS, seed, |number| taken.has_port(number));
        let found = found.ok_or_else(|| ApiError::internal("failed to allocate a nodePort: range is full"))?;
        taken.ports.insert((found, protocol));
        port["nodePort"] = json!(found);
    }
    Ok(())
}

/// The first free number of a range at or after a place in it that the seed chooses.
fn first_free((first, last): (u32, u32), seed: u32, taken: impl Fn(u32) -> bool) -> Option<u32> {
    let size = last - first + 1;
    (0..size).map(|step| first + (seed % size + step) % size).find(|number| !taken(*number))
}
