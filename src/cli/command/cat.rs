//! `cat`: the content of a file as it was, on standard output.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::past::{Past, Paths};
use crate::format::record::Kind;
use crate::limits;
use crate::restore::{self, Fault};
use std::io::{self, Write, stdout};

/// `cat PATH --at STATE`.
pub fn run(args: &args::Cat) -> Result<Exit, Error> {
    let paths = Paths::find(
        std::slice::from_ref(&args.path),
        args.store.said().as_deref(),
    )?;
    let past = Past::open(&paths.place, &paths.root, false)?;
    let state = past.state(&args.at)?;
    let fault = |source| Error::Past {
        path: args.path.clone(),
        source,
    };
    let item = match paths.asked.first() {
        Some(path) => restore::walk(state.source.as_ref(), path).map_err(fault)?,
        None => None,
    };
    let item = item.ok_or_else(|| fault(io::Error::from(io::ErrorKind::NotFound).into()))?;
    if item.facts.kind != Kind::File {
        let kind = match item.facts.kind {
            Kind::Dir => libc::EISDIR,
            _ => libc::EINVAL,
        };
        return Err(fault(io::Error::from_raw_os_error(kind).into()));
    }
    let mut bytes = state.source.open(&item).map_err(fault)?;
    let (mut out, mut at, mut piece) = (stdout().lock(), 0, Vec::new());
    while at < item.facts.size {
        let read = bytes.read(at, limits::MAX_WRITE, &mut piece);
        read.map_err(fault)?;
        if piece.is_empty() {
            let short = Fault::Io(io::ErrorKind::UnexpectedEof.into());
            return Err(fault(short));
        }
        out.write_all(&piece)?;
        at += piece.len() as u64;
    }
    out.flush()?;
    Ok(Exit::Done)
}
