//! `.snapshots` as its users meet it.

mod content;
mod delta;
mod history;
mod listing;
mod making;
mod privacy;
mod times;
