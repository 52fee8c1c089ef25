//! How patient lists and watches are.

use std::time::Duration;

/// Times and sizes of watches.
#[derive(Debug, Clone, Copy)]
pub struct WatchTuning {
    /// Objects in one page of a list.
    pub page: u32,
    /// Bytes of one page; of a larger one fewer objects are asked for.
    pub longest_page: usize,
    /// How long one page may take.
    pub page_time: Duration,
    /// How long a watch runs before it is renewed; a quarter is added at random, so that not all
    /// are renewed at once.
    pub watch_time: Duration,
    /// After a failure, the first pause; it doubles up to `longest_pause`.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for WatchTuning {
    fn default() -> Self {
        Self {
            page: 500,
            longest_page: 32 << 20,
            page_time: Duration::from_secs(60),
            watch_time: Duration::from_secs(180),
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}
