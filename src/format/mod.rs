//! The on-disk format: plain values, their bytes, their keys. Knows nothing of RocksDB, files or
//! users. docs/format.md is its description; the tests beside each file hold its bytes.

pub mod alarm;
pub mod drill;
pub mod filling;
pub mod frame;
pub mod hook;
pub mod keeping;
pub mod key;
pub mod lthash;
pub mod ranges;
pub mod record;
pub mod replica;
pub mod schedule;
pub mod transfer;
pub mod value;
