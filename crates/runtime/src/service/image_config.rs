//! From a container's configuration and its image to what the shim executes.

use cri::{ContainerConfig, ContainerId, Error, ImageInfo, Result, SandboxConfig};

use super::{ImageRoot, leases::Volumes};
use crate::{
    container::{ContainerSpec, program::DEFAULT_PATH},
    record::now,
};

/// Works the image's defaults into a configuration.
pub(super) fn resolve(
    sandbox: &SandboxConfig,
    id: ContainerId,
    config: ContainerConfig,
    root: ImageRoot,
    image_volumes: Volumes,
) -> Result<ContainerSpec> {
    let args = arguments(&config, &root.info)
        .ok_or_else(|| Error::InvalidArgument { message: "no command specified".into() })?;
    let stop_signal = config.stop_signal.as_deref().or(root.info.stop_signal.as_deref());
    let stop_signal = match stop_signal {
        None | Some("") => libc::SIGTERM,
        Some(name) => parse_signal(name)
            .ok_or_else(|| Error::InvalidArgument { message: format!("unknown stop signal {name:?}") })?,
    };
    Ok(ContainerSpec {
        created_at: now(),
        image_ref: root.info.id.clone(),
        image_user: root.info.user.clone(),
        layers: root.layers,
        image_volumes,
        args,
        env: environment(sandbox, &config, &root.info),
        cwd: working_dir(&config, &root.info),
        stop_signal,
        id,
        config,
    })
}

/// Contract S11-22: `command` replaces the entrypoint and drops the image's cmd; `args` replaces the cmd.
fn arguments(config: &ContainerConfig, image: &ImageInfo) -> Option<Vec<String>> {
    let (program, args) = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => (&config.command, &config.args),
        (true, false) => (&image.entrypoint, &config.args),
        (true, true) => (&image.entrypoint, &image.cmd),
    };
    let all: Vec<String> = program.iter().chain(args).cloned().collect();
    (!all.is_empty()).then_some(all)
}

/// The pod's variables come after, and override, the image's; the order of first mention is kept.
fn environment(sandbox: &SandboxConfig, config: &ContainerConfig, image: &ImageInfo) -> Vec<String> {
    let mut env = vec![format!("PATH={DEFAULT_PATH}")];
    if !sandbox.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", sandbox.hostname));
    }
    if config.tty {
        env.push("TERM=xterm".into());
    }
    let given = config.env.iter().map(|variable| format!("{}={}", variable.name, variable.value));
    for variable in image.env.iter().cloned().chain(given) {
        let name = variable.split('=').next().unwrap_or_default();
        let same = |other: &String| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        match env.iter().position(same) {
            Some(index) => env[index] = variable,
            None => env.push(variable),
        }
    }
    env
}

fn working_dir(config: &ContainerConfig, image: &ImageInfo) -> String {
    let dir = config.working_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or(&image.working_dir);
    if dir.starts_with('/') { dir.to_owned() } else { format!("/{dir}") }
}

/// First real-time signal that programs may use, and the last (signal(7), with the C library's two taken).
const RT_SIGNALS: (i32, i32) = (34, 64);

/// Parses `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, `RTMAX-1`.
fn parse_signal(name: &str) -> Option<i32> {
    let upper = name.trim().to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let (min, max) = RT_SIGNALS;
    let number = if let Ok(number) = short.parse() {
        number
    } else if let Some(offset) = short.strip_prefix("RTMIN") {
        min + if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse::<u8>().ok()?.into() }
    } else if let Some(offset) = short.strip_prefix("RTMAX") {
        max - if offset.is_empty() { 0 } else { i32::from(offset.strip_prefix('-')?.parse::<u8>().ok()?) }
    } else {
        SIGNALS.iter().find(|(known, _)| *known == short)?.1
    };
    (1..=max).contains(&number).then_some(number)
}

/// The named signals of Linux.
const SIGNALS: [(&str, i32); 34] = [
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("IOT", libc::SIGABRT),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("POLL", libc::SIGIO),
    ("PROF", libc::SIGPROF),
    ("PWR", libc::SIGPWR),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT),
    ("STOP", libc::SIGSTOP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&s| s.to_owned()).collect()
    }

    #[test]
    fn s11_22_command_drops_cmd_and_args_replace_it() {
        let image = ImageInfo { entrypoint: strings(&["entry"]), cmd: strings(&["cmd"]), ..Default::default() };
        let check = |command: &[&str], args: &[&str]| {
            let config = ContainerConfig { command: strings(command), args: strings(args), ..Default::default() };
            arguments(&config, &image).unwrap().join(" ")
        };
        assert_eq!(check(&[], &[]), "entry cmd");
        assert_eq!(check(&[], &["a"]), "entry a");
        assert_eq!(check(&["c"], &[]), "c");
        assert_eq!(check(&["c"], &["a"]), "c a");
        assert_eq!(arguments(&ContainerConfig::default(), &ImageInfo::default()), None);
    }

    #[test]
    fn s1_22_stop_signals_have_names_numbers_and_real_time_offsets() {
        let cases = [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("9", Some(9)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGRTMIN+99", None),
            ("SIGNOPE", None),
            ("0", None),
        ];
        for (name, number) in cases {
            assert_eq!(parse_signal(name), number, "{name}");
        }
    }
}
