//! Widgets against a page in memory.

mod behaviour;
mod golden;
mod outputs;
mod page;
mod uploads;

pub(super) use page::store_of_this_test;
