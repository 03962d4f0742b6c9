//! The command line: what it does, says and returns.

mod commands;
mod mounting;
mod refusals;
mod reports;
