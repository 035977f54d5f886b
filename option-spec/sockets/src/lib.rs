//! option-spec/sockets
