//! System calls that neither the standard library nor `rustix` offers in a safe form.
//!
//! Everything here is for the shim and its children: processes with exactly one thread.
#![expect(unsafe_code, reason = "clone3, execve, mount_setattr, signals: no safe wrappers exist")]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::{process::Pid, thread::UnshareFlags};

/// Which side of a [`clone_process`] this is.
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The caller, with the child's id and a descriptor of it.
    Parent(Pid, OwnedFd),
}

/// Duplicates the calling process into new namespaces (`CLONE_NEW*`), optionally into a v2 cgroup.
///
/// Assumes that the process has one thread: no lock of the C library can then be held in the child.
pub(crate) fn clone_process(namespaces: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    clone(namespaces, libc::SIGCHLD, cgroup)
}

/// As [`clone_process`], but the new process is a child of the caller's parent, which learns of its end.
pub(crate) fn clone_sibling(namespaces: libc::c_int) -> io::Result<Cloned> {
    // The signal is that of the caller itself; the kernel wants none to be given.
    clone(namespaces | libc::CLONE_PARENT, 0, None)
}

fn clone(flags: libc::c_int, exit_signal: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let flags = u64::try_from(flags).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `clone_args` is plain data; all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd).addr() as u64;
    args.exit_signal = u64::from(exit_signal.unsigned_abs());
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM and without a stack this is a fork. The process has one thread, so the
    // child's copy of memory is consistent. `args` and `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        _ if pid == 0 => Ok(Cloned::Child),
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Cloned::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `CLONE_INTO_CGROUP` of `linux/sched.h`; wider than the C type of the other flags.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Leaves the current namespaces for new ones.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: only `FILES` has a precondition; namespaces do not affect memory safety.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }.map_err(Into::into)
}

/// Replaces the process's program; returns only on failure.
pub(crate) fn execute(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with a null pointer and point to strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends the process at once, without running destructors: in a child they belong to the parent.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Changes the attributes of the mount at `mount`, and of those below it if `recursive`.
///
/// `propagation` is an `MS_*` type or 0 for no change.
pub(crate) fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    propagation: u64,
) -> io::Result<()> {
    mount_setattr(mount, recursive, &libc::mount_attr { attr_set: set, attr_clr: 0, propagation, userns_fd: 0 })
}

/// Shows the files of a mount that is attached nowhere yet with the owners that their ids are in a user namespace.
/// Those below it are left alone.
pub(crate) fn map_mount_ids(mount: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let userns_fd = u64::from(users.as_raw_fd().unsigned_abs());
    let attr_set = libc::MOUNT_ATTR_IDMAP;
    mount_setattr(mount, false, &libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd })
}

fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attributes: &libc::mount_attr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path and the structure outlive the call, and the size is that of the structure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends any signal, real-time ones included.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is passed but a null pointer, which is allowed for the information.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, ptr::null::<libc::siginfo_t>(), 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Blocks SIGCHLD and returns a descriptor that is readable while it is pending.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by `sigemptyset` before use; the descriptor is new and ours.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Makes signals what a fresh program expects: none blocked, SIGPIPE deadly (the Rust runtime ignores it).
pub(crate) fn reset_signals() {
    // SAFETY: the set is initialised; setting a default action installs no handler.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
        for signal in [libc::SIGPIPE, libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Ignores a signal.
pub(crate) fn ignore_signal(signal: i32) {
    // SAFETY: ignoring installs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Closes every descriptor from `first` on. Only for a process that is about to run another program:
/// owners of these descriptors must not be used or dropped afterwards.
pub(crate) fn close_from(first: u32) {
    // SAFETY: closing descriptors is not memory-unsafe; the caller never returns to their owners.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Moves `fd` to the number `number`, closed on exec, and returns it under its new name.
pub(crate) fn move_descriptor(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<BorrowedFd<'static>> {
    // SAFETY: a child on its way to `execute` replaces whatever `number` was; nothing there uses it any
    // more. The result is valid until the process ends or executes, which bounds every use of it.
    unsafe {
        if fd.as_raw_fd() == number {
            libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
        } else if libc::dup3(fd.as_raw_fd(), number, libc::O_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(BorrowedFd::borrow_raw(number))
    }
}

/// Installs a system call filter for this process and what it executes. Needs `no_new_privs` or CAP_SYS_ADMIN.
pub(crate) fn install_filter(program: &[seccompiler::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: both instruction types have the kernel's layout; the kernel copies the program and changes
    // nothing in it.
    let result = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::c_ulong::from(libc::SECCOMP_MODE_FILTER), &raw const program, 0, 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
