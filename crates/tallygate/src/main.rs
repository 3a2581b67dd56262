#![allow(dead_code, unused_imports)]
mod config;
mod cli;
mod ops;
mod secrets;
mod telemetry;
fn main() {}
