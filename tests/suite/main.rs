//! The suite: the real program on real mounts, one module for each family. One binary, so that
//! RocksDB is linked once. `tests/run.sh` runs it; a single test: `cargo test --release --test
//! suite -- NAME`.

mod alarm;
mod attributes;
mod cli;
mod cost;
mod crash;
mod data;
mod elsewhere;
mod examples;
mod exclude;
mod full;
mod harness;
mod hostile;
mod hung;
mod instant;
mod keeping;
mod kept;
mod kernels;
mod limits;
mod log;
mod look;
mod mapped;
mod missing;
mod model;
mod names;
mod order;
mod pace;
mod preserve;
mod purge;
mod quickstart;
mod repair;
mod replica;
mod restore;
mod scan;
mod snapdir;
mod soak;
mod space;
mod stalls;
mod trouble;
mod undo;
mod unprivileged;
mod users;
mod who;
