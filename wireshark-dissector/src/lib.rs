//! wireshark-dissector
