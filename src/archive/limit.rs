//! How fast something is sent: a limit holds over the length of an object, and may change meanwhile.

use crate::limits;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How often it is looked whether the limit is another one.
const LOOK: Duration = Duration::from_millis(100);

/// Who says how many bytes a second may be sent now; `None`: any number.
pub type Rate = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// Keeps who sends to a limit.
pub struct Limit {
    rate: Rate,
    debt: Mutex<Debt>,
}

impl Limit {
    /// By what `rate` says from time to time.
    pub fn new(rate: Rate) -> Limit {
        let debt = Debt {
            bytes: 0.0,
            at: Instant::now(),
        };
        Limit {
            rate,
            debt: Mutex::new(debt),
        }
    }

    /// Waits until what was sent before would have gone at the limit, then counts these bytes.
    pub fn send(&self, bytes: usize) {
        loop {
            let rest = self.debt.lock().pay(bytes, (self.rate)(), Instant::now());
            match rest {
                None => return,
                Some(rest) => std::thread::sleep(rest.min(LOOK)),
            }
        }
    }

    /// Bytes of a pack, about: of few seconds, so that the line is free between two of them.
    pub fn pack_bytes(&self) -> usize {
        let of_two_seconds = |rate: u64| usize::try_from(rate.saturating_mul(2));
        match (self.rate)().map(of_two_seconds) {
            Some(Ok(bytes)) => bytes.clamp(limits::PACK_BYTES_LEAST, limits::PACK_BYTES),
            _ => limits::PACK_BYTES,
        }
    }
}

/// What was sent faster than the limit, at an instant.
struct Debt {
    bytes: f64,
    at: Instant,
}

impl Debt {
    /// Time pays it off. Without any, these bytes become the new one; else how long that takes.
    #[allow(clippy::cast_precision_loss)] // Of a millionth, at the most.
    fn pay(&mut self, bytes: usize, rate: Option<u64>, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let rate = match rate {
            Some(rate) => rate.max(1) as f64,
            None => {
                self.bytes = 0.0;
                return None;
            }
        };
        self.bytes = (self.bytes - since * rate).max(0.0);
        if self.bytes > 0.0 {
            let rest = (self.bytes / rate).min(LOOK.as_secs_f64());
            return Some(Duration::from_secs_f64(rest.max(0.001)));
        }
        self.bytes = bytes as f64;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_length_of_an_object_the_limit_holds() {
        let begin = Instant::now();
        let mut debt = Debt {
            bytes: 0.0,
            at: begin,
        };
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        assert_eq!(debt.pay(1000, Some(100), begin), None);
        assert!(debt.pay(1000, Some(100), at(9)).is_some());
        assert_eq!(debt.pay(1000, Some(100), at(10)), None);
        // Twice as much is allowed: half of the time.
        assert!(debt.pay(1, Some(200), at(14)).is_some());
        assert_eq!(debt.pay(1000, Some(200), at(15)), None);
        // Nothing was saved up while nothing was sent.
        assert_eq!(debt.pay(1000, Some(100), at(1000)), None);
        assert!(debt.pay(1000, Some(100), at(1001)).is_some());
        // There is no limit any more.
        assert_eq!(debt.pay(1000, None, at(1001)), None);
        assert_eq!(debt.pay(1000, Some(100), at(1001)), None);
    }

    #[test]
    fn packs_are_small_where_little_may_be_sent() {
        let pack = |rate| Limit::new(Box::new(move || rate)).pack_bytes();
        assert_eq!(pack(None), limits::PACK_BYTES);
        assert_eq!(pack(Some(1)), limits::PACK_BYTES_LEAST);
        assert_eq!(pack(Some(1 << 20)), 2 << 20);
        assert_eq!(pack(Some(u64::MAX)), limits::PACK_BYTES);
    }
}
