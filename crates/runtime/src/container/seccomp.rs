//! The `RuntimeDefault` system call filter: an allow list, like that of containerd and Docker.
//!
//! Not on the list are calls that reach around namespaces or into the kernel's keys, modules, clock,
//! tracing and memory policy. Some of them come with a capability, some depend on their arguments.

use rustix::thread::CapabilitySet;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// Errno of refused calls, as elsewhere.
const REFUSED: u32 = libc::EPERM.unsigned_abs();

/// Compiles the filter for processes that may have `capabilities`.
///
/// # Errors
/// The text for the user; only on machines that the filter compiler does not know.
pub(crate) fn runtime_default(capabilities: CapabilitySet) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| format!("seccomp: {error}"))?;
    let allowed = rules(capabilities).map_err(|error| format!("seccomp: {error}"))?;
    let filter =
        SeccompFilter::new(allowed.into_iter().collect(), SeccompAction::Errno(REFUSED), SeccompAction::Allow, arch)
            .map_err(|error| format!("seccomp: {error}"))?;
    let program: BpfProgram = filter.try_into().map_err(|error| format!("seccomp: {error}"))?;
    Ok(not_implemented_first(capabilities).into_iter().chain(program).collect())
}

/// Answers ENOSYS for calls that a C library tries first and replaces by an older one: everything
/// newer than the list below, and `clone3` (its flags lie in memory, where no filter can see them).
///
/// Jumps are relative and forward, so that this may stand before a compiled program.
fn not_implemented_first(capabilities: CapabilitySet) -> Vec<sock_filter> {
    let statement = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let number = |call: i64| u32::try_from(call).unwrap_or(u32::MAX);
    // Classic BPF: load a word of the data, jump if equal, jump if greater, return.
    let (load, equal, greater, answer) = (0x20, 0x15, 0x25, 0x06);
    let no_such_call = SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let mut program = vec![statement(load, 0, 0, 0)];
    if !capabilities.contains(CapabilitySet::SYS_ADMIN) {
        program.push(statement(equal, 0, 1, number(libc::SYS_clone3)));
        program.push(statement(answer, 0, 0, no_such_call));
    }
    // Numbers with the x32 bit are refused by the program that follows.
    program.push(statement(greater, 2, 0, X32_BIT - 1));
    program.push(statement(greater, 0, 1, NEWEST));
    program.push(statement(answer, 0, 0, no_such_call));
    program
}

/// `SECCOMP_RET_ERRNO` of `linux/seccomp.h`.
const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;
/// `__X32_SYSCALL_BIT` of `asm/unistd.h`.
const X32_BIT: u32 = 0x4000_0000;
/// The newest system call considered here: `mseal`.
const NEWEST: u32 = 462;

type Rules = Vec<(i64, Vec<SeccompRule>)>;

fn rules(capabilities: CapabilitySet) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules =
        ALWAYS.iter().chain(UNNAMED).chain(ALWAYS_OF_MACHINE).map(|&call| (call, Vec::new())).collect();
    for (capability, calls) in WITH_CAPABILITY {
        if capabilities.contains(*capability) {
            rules.extend(calls.iter().map(|&call| (call, Vec::new())));
        }
    }
    if !capabilities.contains(CapabilitySet::SYS_ADMIN) {
        rules.push((libc::SYS_clone, vec![masked(0, NEW_NAMESPACES, 0)?]));
    }
    let personalities: Result<_, _> = PERSONALITIES.iter().map(|&p| equals(0, p)).collect();
    rules.push((libc::SYS_personality, personalities?));
    rules.push((libc::SYS_socket, sockets()?));
    Ok(rules)
}

/// The `CLONE_NEW*` flags without `CLONE_NEWTIME`, which lies in the exit signal's byte.
const NEW_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// `PER_LINUX`, `PER_LINUX32`, `UNAME26` with each, and the question for the current value.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Any family but `AF_VSOCK`, which reaches the hypervisor past all namespaces, and `AF_ALG`.
fn sockets() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let vsock = u64::from(libc::AF_VSOCK.unsigned_abs());
    Ok(vec![SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, vsock)?])?])
}

fn equals(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?])
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let operator = SeccompCmpOp::MaskedEq(mask);
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?])
}

macro_rules! calls {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

#[rustfmt::skip]
const ALWAYS: &[i64] = calls![
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir
    SYS_clock_adjtime SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_close_range SYS_connect
    SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2
    SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64
    SYS_fallocate SYS_fanotify_mark SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_fchown SYS_fchownat SYS_fcntl
    SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs
    SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_getcpu SYS_getcwd
    SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid
    SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrlimit
    SYS_get_robust_list SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday
    SYS_getuid SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_io_cancel SYS_ioctl
    SYS_io_destroy SYS_io_getevents SYS_ioprio_get SYS_ioprio_set SYS_io_setup SYS_io_submit
    SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat
    SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier
    SYS_memfd_create SYS_memfd_secret SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock SYS_mlock2 SYS_mlockall
    SYS_mmap SYS_mprotect SYS_mq_getsetattr SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend
    SYS_mq_unlink SYS_mremap SYS_mseal SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall
    SYS_munmap SYS_name_to_handle_at SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_open
    SYS_pidfd_send_signal SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64
    SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease SYS_process_vm_readv SYS_process_vm_writev SYS_pselect6
    SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg
    SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_renameat SYS_renameat2 SYS_restart_syscall SYS_rseq
    SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend
    SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam
    SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_getscheduler SYS_sched_rr_get_interval
    SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp
    SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setfsgid
    SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid
    SYS_setresuid SYS_setreuid SYS_setrlimit SYS_set_robust_list SYS_setsid SYS_setsockopt SYS_set_tid_address
    SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4
    SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_symlinkat SYS_sync SYS_sync_file_range
    SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create SYS_timer_delete SYS_timer_getoverrun
    SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill
    SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice SYS_wait4 SYS_waitid SYS_write
    SYS_writev
];

/// Calls that the `libc` crate does not name yet, with the number that all machines share: `cachestat`,
/// `map_shadow_stack`, `futex_wake`, `futex_wait`, `futex_requeue`.
const UNNAMED: &[i64] = &[IO_PGETEVENTS, 451, 453, 454, 455, 456];
#[cfg(target_arch = "x86_64")]
const IO_PGETEVENTS: i64 = 333;
#[cfg(not(target_arch = "x86_64"))]
const IO_PGETEVENTS: i64 = 292;

/// Calls that only older machines have.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALWAYS_OF_MACHINE: &[i64] = calls![
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_ctl_old
    SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_get_thread_area
    SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_modify_ldt SYS_open SYS_pause SYS_pipe
    SYS_poll SYS_readlink SYS_rename SYS_rmdir SYS_select SYS_set_thread_area SYS_signalfd SYS_stat SYS_symlink
    SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_OF_MACHINE: &[i64] = &[];

#[cfg(target_arch = "x86_64")]
const PORTS: &[i64] = calls![SYS_iopl SYS_ioperm];
#[cfg(not(target_arch = "x86_64"))]
const PORTS: &[i64] = &[];

/// Calls that come with a capability.
const WITH_CAPABILITY: &[(CapabilitySet, &[i64])] = &[
    (CapabilitySet::DAC_READ_SEARCH, calls![SYS_open_by_handle_at]),
    (
        CapabilitySet::SYS_ADMIN,
        calls![
            SYS_bpf SYS_clone SYS_clone3 SYS_fanotify_init SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick
            SYS_lookup_dcookie SYS_mount SYS_mount_setattr SYS_move_mount SYS_open_tree SYS_perf_event_open
            SYS_quotactl SYS_quotactl_fd SYS_setdomainname SYS_sethostname SYS_setns SYS_syslog SYS_umount2 SYS_unshare
        ],
    ),
    (CapabilitySet::SYS_BOOT, calls![SYS_reboot]),
    (CapabilitySet::SYS_CHROOT, calls![SYS_chroot]),
    (CapabilitySet::SYS_MODULE, calls![SYS_delete_module SYS_finit_module SYS_init_module]),
    (CapabilitySet::SYS_PACCT, calls![SYS_acct]),
    (CapabilitySet::SYS_PTRACE, calls![SYS_kcmp SYS_pidfd_getfd SYS_process_madvise]),
    (CapabilitySet::SYS_RAWIO, PORTS),
    (CapabilitySet::SYS_TIME, calls![SYS_settimeofday SYS_clock_settime]),
    (CapabilitySet::SYS_TTY_CONFIG, calls![SYS_vhangup]),
    (CapabilitySet::SYS_NICE, calls![SYS_get_mempolicy SYS_mbind SYS_set_mempolicy SYS_set_mempolicy_home_node]),
    (CapabilitySet::SYSLOG, calls![SYS_syslog]),
    (CapabilitySet::BPF, calls![SYS_bpf]),
    (CapabilitySet::PERFMON, calls![SYS_perf_event_open]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_one_meaning_whatever_the_capabilities() {
        for capabilities in [CapabilitySet::empty(), CapabilitySet::all(), CapabilitySet::SYS_CHROOT] {
            assert!(!runtime_default(capabilities).unwrap().is_empty());
        }
    }
}
