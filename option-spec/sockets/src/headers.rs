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
