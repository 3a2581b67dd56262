#![allow(dead_code, unused_imports)]
mod banner;
mod cli;
mod config;
mod ops;
mod providers;
mod secrets;
mod telemetry;
fn main() {}
