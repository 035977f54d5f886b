//! proxy-node/core
