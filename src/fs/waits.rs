//! What an operation waits for: said by whoever parks it, counted and logged above.

/// What an operation waits for while it is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// Another operation on the same file.
    File,
    /// The capture of its file: more old bytes would have to be kept in memory than may be.
    Bytes,
    /// A capture: too many states wait to be recorded.
    States,
    /// A capture: removed files take too many descriptors, or too much of the disk, until they
    /// are recorded.
    Removed,
    /// A thread that may ask the store.
    Store,
}

impl WaitsFor {
    /// For the log.
    pub fn words(self) -> &'static str {
        match self {
            WaitsFor::File => "another operation on the same file",
            WaitsFor::Bytes => "what it would destroy to be recorded",
            WaitsFor::States => "earlier states to be recorded",
            WaitsFor::Removed => "removed files to be recorded",
            WaitsFor::Store => "the store",
        }
    }
}
