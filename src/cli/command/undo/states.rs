//! The states that an undo takes from, opened when they are needed.

use super::super::super::past::Past;
use crate::control::request::{DeedLine, StepLine};
use crate::id::Epoch;
use crate::limits;
use crate::restore::{Fault, Source, States};
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// States by number.
pub struct Opened<'p> {
    past: &'p Past,
    snapdir: Option<&'p str>,
    times: HashMap<Epoch, Timestamp>,
    open: Mutex<HashMap<Epoch, Arc<dyn Source>>>,
}

impl<'p> Opened<'p> {
    /// Those that `steps` name; none is opened yet.
    pub fn new(past: &'p Past, snapdir: Option<&'p str>, steps: &[StepLine]) -> Opened<'p> {
        let mut times = HashMap::new();
        for step in steps {
            if let DeedLine::Restore { epoch, time, .. }
            | DeedLine::Times { epoch, time, .. }
            | DeedLine::Bytes { epoch, time, .. } = &step.deed
            {
                times.insert(Epoch(*epoch), time.0);
            }
        }
        Opened {
            past,
            snapdir,
            times,
            open: Mutex::default(),
        }
    }
}

impl States for Opened<'_> {
    fn state(&self, epoch: Epoch) -> Result<Arc<dyn Source>, Fault> {
        let mut open = self.open.lock();
        if let Some(known) = open.get(&epoch) {
            return Ok(Arc::clone(known));
        }
        let time = self.times.get(&epoch).ok_or(Fault::Foreign)?;
        let source = self.past.source(epoch, *time, self.snapdir);
        let source: Arc<dyn Source> =
            source.map_err(|error| io::Error::other(error.to_string()))?;
        if open.len() >= limits::UNDO_STATES {
            open.clear();
        }
        open.insert(epoch, Arc::clone(&source));
        Ok(source)
    }
}
