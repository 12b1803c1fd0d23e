//! Looks from outside which TCP ports a pod listens on.

use std::{collections::BTreeSet, fs, io::Read as _};

/// Most bytes read of one socket table: about 20,000 sockets.
const TABLE_LIMIT: u64 = 4 << 20;

/// Socket state `TCP_LISTEN` in `/proc/net/tcp` (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";

/// Returns the ports that are listened on in the network namespace of process `pid`; nothing if it is gone.
pub(crate) fn listening(pid: u32) -> BTreeSet<u16> {
    ["tcp", "tcp6"].iter().flat_map(|table| parse(&read(&format!("/proc/{pid}/net/{table}")))).collect()
}

fn read(path: &str) -> String {
    let mut text = String::new();
    if let Ok(file) = fs::File::open(path) {
        // A table cut off in the middle still tells of the sockets before the cut.
        let _ = file.take(TABLE_LIMIT).read_to_string(&mut text);
    }
    text
}

fn parse(table: &str) -> Vec<u16> {
    table.lines().skip(1).filter_map(listener).collect()
}

fn listener(line: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    (fields.nth(1)? == LISTEN).then(|| u16::from_str_radix(port, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st\n\
            0: 00000000:1F91 00000000:0000 0A 00000000:00000000\n\
            1: 0100007F:0050 0100007F:9C40 01 00000000:00000000\n\
            broken line\n";
        assert_eq!(parse(table), [8081]);
    }

    #[test]
    fn a_socket_opened_here_is_seen() {
        let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert!(listening(std::process::id()).contains(&socket.local_addr().unwrap().port()));
    }
}
