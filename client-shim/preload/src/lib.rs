//! client-shim/preload
