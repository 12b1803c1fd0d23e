//! The device filter of cgroup v2: a small eBPF program that the kernel asks about every use of a device by a
//! process of the cgroup.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper; two calls, with structures laid out here")]

use std::{
    ffi::{CStr, c_int, c_long},
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use super::{
    DeviceRule, Error, Result,
    devices::{DeviceAccess, DeviceKind},
};

/// Of `linux/bpf.h`.
const BPF_PROG_LOAD: c_int = 5;
const BPF_PROG_ATTACH: c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The filter calls no function of the kernel that is reserved for GPL programs.
const LICENSE: &CStr = c"Apache-2.0";

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones (little-endian; the other way round on
    /// big-endian machines).
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Attaches a filter that allows what `rules` allow and nothing else. A filter that is there already stays, and
/// both have to agree. The filter lives as long as the cgroup.
pub(super) fn attach(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    let failed = |action| move |source| Error::DeviceFilter { action, path: dir.to_owned(), source };
    let target = File::open(dir).map_err(failed("open the directory for"))?;
    let program = load(&assemble(rules)).map_err(failed("load"))?;
    let descriptor = |fd: c_int| u32::try_from(fd).unwrap_or(u32::MAX);
    let attributes = Attach {
        target: descriptor(target.as_raw_fd()),
        program: descriptor(program.as_raw_fd()),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `Attach` is the layout of this command's attributes and holds no pointers.
    unsafe { bpf(BPF_PROG_ATTACH, &attributes) }.map_err(failed("attach"))?;
    Ok(())
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: address(program.as_ptr()),
        license: address(LICENSE.as_ptr()),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `Load` is the layout of this command's attributes; its pointers are to a slice of `count`
    // instructions and to a C string, both of which outlive the call.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &attributes) }?;
    let fd = c_int::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: on success the call returns a new file descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls bpf(2).
///
/// # Safety
/// `attributes` must be what `command` expects, and pointers in it must be valid for it.
unsafe fn bpf<T>(command: c_int, attributes: &T) -> io::Result<c_long> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes from `attributes`; the caller vouches for the contents.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn address<T>(pointer: *const T) -> u64 {
    u64::try_from(pointer.addr()).unwrap_or(0)
}

/// Registers: 0, the verdict; 1, the context; then access, kind, major, minor, scratch.
const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// Translates rules into a program that returns 1 at the first rule that allows all of the access asked for, and
/// 0 at the end.
fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: access << 16 | kind, major, minor; 32 bits each.
    let mut program = vec![
        load_word(ACCESS, CONTEXT, 0),
        load_word(MAJOR, CONTEXT, 4),
        load_word(MINOR, CONTEXT, 8),
        copy(KIND, ACCESS),
        and(KIND, 0xffff),
        shift_right(ACCESS, 16),
    ];
    for rule in rules {
        program.extend(allow(rule));
    }
    program.extend([set(VERDICT, 0), EXIT]);
    program
}

/// Returns 1 if the rule allows the access, falls through if not.
fn allow(rule: &DeviceRule) -> Vec<Instruction> {
    // BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR.
    let kind = match rule.kind {
        DeviceKind::Block => 1,
        DeviceKind::Char => 2,
    };
    // BPF_DEVCG_ACC_MKNOD, _READ, _WRITE.
    let DeviceAccess { read, write, mknod } = rule.access;
    let allowed = i32::from(mknod) | (i32::from(read) << 1) | (i32::from(write) << 2);
    let mut tests = vec![(KIND, kind)];
    // Device numbers have 12 and 20 bits; a larger one matches nothing.
    tests.extend(rule.major.map(|number| (MAJOR, i32::try_from(number).unwrap_or(i32::MAX))));
    tests.extend(rule.minor.map(|number| (MINOR, i32::try_from(number).unwrap_or(i32::MAX))));

    let mut program = Vec::new();
    // What follows a test: the other tests, three for the access, two for the verdict.
    let mut left = i16::try_from(tests.len()).unwrap_or(i16::MAX) + 5;
    for (register, value) in tests {
        left -= 1;
        program.push(skip_unless_equal(register, value, left));
    }
    program.extend([copy(SCRATCH, ACCESS), and(SCRATCH, !allowed & 0xffff), skip_unless_equal(SCRATCH, 0, 2)]);
    program.extend([set(VERDICT, 1), EXIT]);
    program
}

const EXIT: Instruction = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };

fn load_word(destination: u8, source: u8, offset: i16) -> Instruction {
    Instruction { code: 0x61, registers: registers(destination, source), offset, immediate: 0 }
}

fn copy(destination: u8, source: u8) -> Instruction {
    Instruction { code: 0xbf, registers: registers(destination, source), offset: 0, immediate: 0 }
}

fn and(destination: u8, immediate: i32) -> Instruction {
    Instruction { code: 0x57, registers: registers(destination, 0), offset: 0, immediate }
}

fn shift_right(destination: u8, immediate: i32) -> Instruction {
    Instruction { code: 0x77, registers: registers(destination, 0), offset: 0, immediate }
}

fn set(destination: u8, immediate: i32) -> Instruction {
    Instruction { code: 0xb7, registers: registers(destination, 0), offset: 0, immediate }
}

/// Skips the next `count` instructions.
fn skip_unless_equal(register: u8, immediate: i32, count: i16) -> Instruction {
    Instruction { code: 0x55, registers: registers(register, 0), offset: count, immediate }
}

const fn registers(destination: u8, source: u8) -> u8 {
    if cfg!(target_endian = "little") { destination | (source << 4) } else { (destination << 4) | source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program on one access, as the kernel would.
    fn verdict(program: &[Instruction], access: u64, kind: u64, major: u64, minor: u64) -> u64 {
        let mut registers = [0u64; 7];
        let context = [(access << 16) | kind, major, minor];
        let mut at = 0;
        loop {
            let Instruction { code, registers: pair, offset, immediate } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            at += 1;
            match code {
                0x61 => registers[to] = context[usize::try_from(offset / 4).unwrap()],
                0xbf => registers[to] = registers[from],
                0x57 => registers[to] &= u64::try_from(immediate).unwrap(),
                0x77 => registers[to] >>= immediate,
                0xb7 => registers[to] = u64::try_from(immediate).unwrap(),
                0x55 if registers[to] != u64::try_from(immediate).unwrap() => at += usize::try_from(offset).unwrap(),
                0x55 => {}
                0x95 => return registers[0],
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_allows_exactly_what_the_rules_do() {
        let (mknod, read, write): (u64, u64, u64) = (1, 2, 4);
        let program = assemble(&DeviceRule::STANDARD);
        let cases = [
            ("read and write null", read | write, 2, 1, 3, 1),
            ("make any node", mknod, 2, 1, 11, 1),
            ("make any block node", mknod, 1, 8, 0, 1),
            ("read a disk", read, 1, 8, 0, 0),
            ("read kmsg", read, 2, 1, 11, 0),
            ("make and read kmsg", mknod | read, 2, 1, 11, 0),
            ("a block device with null's number", read, 1, 1, 3, 0),
            ("any pty", read | write, 2, 136, 77, 1),
        ];
        for (what, access, kind, major, minor, expected) in cases {
            assert_eq!(verdict(&program, access, kind, major, minor), expected, "{what}");
        }
        assert_eq!(verdict(&assemble(&[]), read, 2, 1, 3), 0, "no rule, no device");
    }
}
