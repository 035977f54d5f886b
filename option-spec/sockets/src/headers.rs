//! A SYN's IP and TCP headers, as the kernel hands them out, become a [`SynEvent`].

use std::net::{IpAddr, SocketAddr};

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::TcpPacket;
use synhop_option::{Kind, Segment, syn_option};

use crate::event::SynEvent;

/// Why octets are not the headers of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadersError {
    /// The octets end before the headers do.
    #[error("headers are cut off after {left_octets} octets")]
    Truncated {
        /// How many octets there are.
        left_octets: usize,
    },
    /// Neither IPv4 nor IPv6.
    #[error("IP version {version}")]
    Version {
        /// The version nibble.
        version: u8,
    },
    /// IPv4 IHL or TCP data offset below 5: the fixed part alone has 5 words.
    #[error("header length of {words} words")]
    HeaderLength {
        /// The length field, in words of 4 octets.
        words: u8,
    },
    /// What follows the IP header is no TCP header; IPv6 extension headers are not followed.
    #[error("protocol {protocol} after the IP header")]
    NotTcp {
        /// Protocol, or IPv6 next header.
        protocol: u8,
    },
}

/// Parses an IPv4 header (options skipped) or an IPv6 header, and a TCP header with its options.
pub(crate) fn parse(headers: &[u8], kind: Kind) -> Result<SynEvent, HeadersError> {
    let truncated = HeadersError::Truncated {
        left_octets: headers.len(),
    };
    let version = headers.first().ok_or(truncated)? >> 4;
    let (client, local, tcp) = match version {
        4 => split_ipv4(headers)?,
        6 => split_ipv6(headers)?,
        version => return Err(HeadersError::Version { version }),
    };
    let segment = TcpPacket::new(tcp).ok_or(truncated)?;
    let options = TCP_FIXED_OCTETS..header_octets(segment.get_data_offset())?;
    let options = tcp.get(options).ok_or(truncated)?;
    Ok(SynEvent {
        client: SocketAddr::new(client, segment.get_source()),
        local: SocketAddr::new(local, segment.get_destination()),
        isn: segment.get_sequence(),
        option: syn_option(Segment::from_flags(segment.get_flags()), options, kind),
    })
}

const TCP_FIXED_OCTETS: usize = 20;
const IPV6_OCTETS: usize = 40;

/// Source, destination, and what follows the header.
type Split<'a> = (IpAddr, IpAddr, &'a [u8]);

fn split_ipv4(headers: &[u8]) -> Result<Split<'_>, HeadersError> {
    let truncated = HeadersError::Truncated {
        left_octets: headers.len(),
    };
    let packet = Ipv4Packet::new(headers).ok_or(truncated)?;
    expect_tcp(packet.get_next_level_protocol().0)?;
    let len = header_octets(packet.get_header_length())?;
    Ok((
        packet.get_source().into(),
        packet.get_destination().into(),
        headers.get(len..).ok_or(truncated)?,
    ))
}

fn split_ipv6(headers: &[u8]) -> Result<Split<'_>, HeadersError> {
    let truncated = HeadersError::Truncated {
        left_octets: headers.len(),
    };
    let packet = Ipv6Packet::new(headers).ok_or(truncated)?;
    expect_tcp(packet.get_next_header().0)?;
    Ok((
        packet.get_source().into(),
        packet.get_destination().into(),
        headers.get(IPV6_OCTETS..).ok_or(truncated)?,
    ))
}

fn expect_tcp(protocol: u8) -> Result<(), HeadersError> {
    if protocol == IpNextHeaderProtocols::Tcp.0 {
        Ok(())
    } else {
        Err(HeadersError::NotTcp { protocol })
    }
}

/// IHL and TCP data offset alike: words of 4 octets, of which the fixed part takes 5.
fn header_octets(words: u8) -> Result<usize, HeadersError> {
    if words < 5 {
        Err(HeadersError::HeaderLength { words })
    } else {
        Ok(usize::from(words) * 4)
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    /// 192.0.2.1:4660 to 198.51.100.1:80 with ISN 0x01020304, withheld source in the option.
    const OPTIONS: [u8; 12] = [0xfd, 10, 0xe5, 0xf4, 203, 0, 113, 9, 1, 187, 1, 1];

    fn tcp() -> Vec<u8> {
        let mut octets = vec![0x12, 0x34, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x80, 2];
        octets.extend([0xfa, 0xf0, 0, 0, 0, 0]);
        octets.extend(OPTIONS);
        octets
    }

    fn ipv4(options: &[u8]) -> Vec<u8> {
        let words = 0x45 + u8::try_from(options.len() / 4).expect("few");
        let mut octets = vec![words, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0];
        octets.extend([192, 0, 2, 1, 198, 51, 100, 1]);
        octets.extend(options);
        octets.extend(tcp());
        octets
    }

    fn ipv6(next_header: u8) -> Vec<u8> {
        let mut octets = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
        octets.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        octets.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        octets.extend(tcp());
        octets
    }

    fn assert_is_the_syn(headers: &[u8], client: &str, local: &str) {
        let event = parse(headers, Kind::default()).expect("headers");
        assert_eq!(event.client.to_string(), client);
        assert_eq!(event.local.to_string(), local);
        assert_eq!(event.isn, 0x0102_0304);
        let option = event.option.expect("legal").expect("an option");
        assert_eq!(option.destination(0).to_string(), "203.0.113.9:443");
    }

    #[test]
    fn ipv4_headers_are_read_with_and_without_options() {
        let (client, local) = ("192.0.2.1:4660", "198.51.100.1:80");
        assert_is_the_syn(&ipv4(&[]), client, local);
        assert_is_the_syn(&ipv4(&[1; 40]), client, local);
    }

    #[test]
    fn ipv6_headers_are_read() {
        assert_is_the_syn(&ipv6(6), "[2001:db8::1]:4660", "[2001:db8::2]:80");
    }

    #[test]
    fn extension_headers_are_not_followed() {
        let error = parse(&ipv6(0), Kind::default());
        assert_eq!(error, Err(HeadersError::NotTcp { protocol: 0 }));
    }

    #[test]
    fn every_shorter_input_is_truncated() {
        for headers in [ipv4(&[]), ipv4(&[1; 8]), ipv6(6)] {
            for left_octets in 0..headers.len() {
                assert_eq!(
                    parse(&headers[..left_octets], Kind::default()),
                    Err(HeadersError::Truncated { left_octets })
                );
            }
        }
    }

    #[test]
    fn header_lengths_below_the_fixed_part_are_refused() {
        let mut headers = ipv4(&[]);
        headers[0] = 0x44;
        let short = Err(HeadersError::HeaderLength { words: 4 });
        assert_eq!(parse(&headers, Kind::default()), short);
        let mut headers = ipv4(&[]);
        headers[32] = 0x40;
        assert_eq!(parse(&headers, Kind::default()), short);
    }

    quickcheck! {
        fn no_octets_panic(octets: Vec<u8>, version: bool) -> bool {
            let mut octets = octets;
            if let Some(first) = octets.first_mut() {
                *first = *first & 0x0f | if version { 0x40 } else { 0x60 };
            }
            let _ = parse(&octets, Kind::default());
            true
        }
    }
}
