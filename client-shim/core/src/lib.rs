//! client-shim/core
