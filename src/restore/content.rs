//! The bytes of a file: what differs from then, and writing that and nothing else.

use super::item::{Bytes, Fault};
use crate::backing;
use crate::format::ranges::RangeSet;
use crate::limits;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes are compared in these, and holes are made of them.
const PAGE: u64 = 4096;
/// Differences that lie nearer to each other are written as one.
const NEAR: u64 = 4 * PAGE;

/// On which side something failed: what can't be read of the past is not recoverable, what can't
/// be read or written now is a conflict.
#[derive(Debug)]
pub enum Side {
    Past(Fault),
    Now(Fault),
}

impl From<io::Error> for Side {
    fn from(error: io::Error) -> Side {
        Side::Now(error.into())
    }
}

/// What is to be done to a file so that it holds what it held then.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bytes to be written, ascending, apart from each other.
    data: Vec<(u64, u64)>,
    /// Holes to be made.
    holes: Vec<(u64, u64)>,
    resize: bool,
}

impl Plan {
    /// Whether the content is as it was.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.holes.is_empty() && !self.resize
    }

    fn write(&mut self, from: u64, to: u64) {
        match self.data.last_mut() {
            Some((_, end)) if from <= *end + NEAR => *end = to,
            _ => self.data.push((from, to)),
        }
    }
}

/// Reads both to the end and says what differs. `only_whether`: the first difference is enough.
///
/// # Errors
/// What can't be read.
pub fn compare(
    then: &mut dyn Bytes,
    size: u64,
    now: &mut dyn Bytes,
    size_now: u64,
    only_whether: bool,
) -> Result<Plan, Side> {
    let mut plan = Plan {
        resize: size != size_now,
        ..Plan::default()
    };
    let mut at = 0;
    while at < size && (plan.is_empty() || !only_whether) {
        let data = then.data(at).map_err(Side::Past)?.unwrap_or(size).min(size);
        let end = if data == size {
            size
        } else {
            data / PAGE * PAGE
        };
        let begin = at.next_multiple_of(PAGE);
        if begin < end {
            compare_bytes(then, now, (at, begin), &mut plan)?;
            let filled = now.data(begin).map_err(Side::Now)?;
            if filled.is_some_and(|filled| filled < end) {
                plan.holes.push((begin, end));
            }
            at = end;
        }
        if data < size {
            let hole = then.hole(data).map_err(Side::Past)?.min(size);
            compare_bytes(then, now, (at, hole), &mut plan)?;
            at = hole;
        } else {
            compare_bytes(then, now, (at, size), &mut plan)?;
            at = size;
        }
    }
    Ok(plan)
}

fn compare_bytes(
    then: &mut dyn Bytes,
    now: &mut dyn Bytes,
    range: (u64, u64),
    plan: &mut Plan,
) -> Result<(), Side> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    let (mut at, end) = range;
    while at < end {
        let len = piece(at, end);
        read_then(then, at, len, &mut old)?;
        now.read(at, len, &mut new).map_err(Side::Now)?;
        for (page, bytes) in (at..).step_by(PAGE as usize).zip(old.chunks(PAGE as usize)) {
            let from = (page - at) as usize;
            if new.get(from..from + bytes.len()) != Some(bytes) {
                plan.write(page, page + bytes.len() as u64);
            }
        }
        at += u64::from(len);
    }
    Ok(())
}

/// Gives some ranges of a file, and its size if one of them has no end, what they had then. All of it
/// is read before anything is written. Returns the bytes written; `None`: they are as they were.
///
/// # Errors
/// What can't be read or written; then part of it may be done.
pub fn take_back(
    then: &mut dyn Bytes,
    size: u64,
    now: &mut dyn Bytes,
    (fd, size_now): (BorrowedFd<'_>, u64),
    ranges: &RangeSet,
    only_whether: bool,
) -> Result<Option<u64>, Side> {
    // Each has a plan of its own: what lies between two of them is not to be touched.
    let mut plans = Vec::new();
    for range in ranges.iter() {
        let mut plan = Plan {
            resize: range.end == u64::MAX && size != size_now,
            ..Plan::default()
        };
        let end = range.end.min(size);
        compare_bytes(then, now, (range.start.min(end), end), &mut plan)?;
        if !plan.is_empty() {
            plans.push(plan);
        }
    }
    if plans.is_empty() {
        return Ok(None);
    }
    let mut written = 0;
    if !only_whether {
        let open = backing::reopen(fd, true)?;
        for plan in &plans {
            written += carry_out(plan, then, size, open.as_fd())?;
        }
    }
    Ok(Some(written))
}

/// Exactly `len` bytes: the size of then is known.
fn read_then(then: &mut dyn Bytes, at: u64, len: u32, out: &mut Vec<u8>) -> Result<(), Side> {
    then.read(at, len, out).map_err(Side::Past)?;
    if out.len() != len as usize {
        let short = io::Error::from(io::ErrorKind::UnexpectedEof);
        return Err(Side::Past(short.into()));
    }
    Ok(())
}

fn piece(at: u64, end: u64) -> u32 {
    u32::try_from(end - at).map_or(limits::MAX_WRITE, |left| left.min(limits::MAX_WRITE))
}

/// Changes an open file as planned; the size comes last, so that bytes at the end go only when
/// all others are there. Returns the bytes written.
///
/// # Errors
/// What can't be read or written; then part of it is done.
pub fn carry_out(
    plan: &Plan,
    then: &mut dyn Bytes,
    size: u64,
    fd: BorrowedFd<'_>,
) -> Result<u64, Side> {
    let mut written = 0;
    for &(from, to) in &plan.data {
        written += copy(then, (from, to), fd)?;
    }
    for &(from, to) in &plan.holes {
        make_hole(fd, from, to)?;
    }
    if plan.resize {
        backing::truncate(fd, size)?;
    }
    Ok(written)
}

/// Writes all of a file into a new one, without its holes. Returns the bytes written.
///
/// # Errors
/// What can't be read or written.
pub fn write_all(then: &mut dyn Bytes, size: u64, fd: BorrowedFd<'_>) -> Result<u64, Side> {
    let (mut at, mut written) = (0, 0);
    while let Some(data) = then
        .data(at)
        .map_err(Side::Past)?
        .filter(|&data| data < size)
    {
        let hole = then.hole(data).map_err(Side::Past)?.min(size);
        written += copy(then, (data, hole), fd)?;
        at = hole;
        if at >= size {
            break;
        }
    }
    // What ends in a hole is not as long yet.
    if at < size {
        backing::truncate(fd, size)?;
    }
    Ok(written)
}

fn copy(then: &mut dyn Bytes, range: (u64, u64), fd: BorrowedFd<'_>) -> Result<u64, Side> {
    let (mut at, end) = range;
    let mut bytes = Vec::new();
    while at < end {
        let len = piece(at, end);
        read_then(then, at, len, &mut bytes)?;
        write_at(fd, &bytes, at)?;
        at += u64::from(len);
    }
    Ok(end - range.0)
}

fn write_at(fd: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match backing::pwrite(fd, bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Zeros where the file system makes no holes.
fn make_hole(fd: BorrowedFd<'_>, from: u64, to: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    match backing::fallocate(fd, mode, from, to - from) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let zeros = vec![0; PAGE as usize];
            let mut at = from;
            while at < to {
                let len = (to - at).min(PAGE);
                write_at(fd, &zeros[..len as usize], at)?;
                at += len;
            }
            Ok(())
        }
        done => done,
    }
}
