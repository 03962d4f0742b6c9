//! The long tests: death of the daemon and loss of power at random moments, under load. Who works on
//! the tree keeps a record of what was acknowledged, outside of the mount (`record`); what is found
//! afterwards, live and in every listed state, is held against it (`check`).
//!
//! Short here; `tests/soak/NAME.sh ROUNDS` runs them for long. `REWINDFS_ROUNDS` and
//! `REWINDFS_SEED` say how long and from which seed, which is always printed.

mod check;
mod disk;
mod image;
mod kill;
mod model;
mod power;
mod record;

use crate::harness::sized;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// How many rounds: what was asked for, or a few.
fn rounds(full: u64, quick: u64) -> u64 {
    number("REWINDFS_ROUNDS").unwrap_or(sized(full, quick))
}

/// Random numbers from the seed that was asked for, or a new one. Printed: a failure can be tried
/// again, though not its timing.
fn random(test: &str) -> StdRng {
    let seed = number("REWINDFS_SEED").unwrap_or_else(rand::random);
    println!("{test}: REWINDFS_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}
