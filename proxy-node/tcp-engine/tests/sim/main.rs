//! Engines in virtual time: whole transfers, pairs, and what hostile peers send.

mod hostile;
mod matrix;
mod net;
mod pairs;
mod transfer;
