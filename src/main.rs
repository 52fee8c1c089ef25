//! The `pullgate` binary: parse, run, exit code; nothing else.

fn main() {}
