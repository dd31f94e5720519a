//! The documents agree with the code: what can go stale in them is checked here, or written by the code.
//!
//! - `alerts`: alerts and panels.
//! - `files`: the documents and the sources; comparing a generated file, or writing it again.
//! - `markdown`: the parts of a page: headings, links, fences, tables.
//! - `pages`: limits and links of all pages.
//! - `commands`: fenced commands parse, fenced configurations load.
//! - `facts`: tables of metrics, log lines, exit codes and header names.
//! - `tree`: folders and names of the code in the page about architecture.
//!
//! The pages generated from the settings are tested in `settings::tests`, the status table in `error`.

#![allow(clippy::unwrap_used)]

mod alerts;
mod commands;
mod facts;
pub mod files;
pub mod markdown;
mod pages;
mod tree;
