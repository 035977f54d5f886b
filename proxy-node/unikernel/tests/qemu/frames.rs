//! Frames as the machine's only neighbour writes and reads them.

/// The neighbour's Ethernet address; it is every host of the link but the guest.
pub(crate) const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The guest's.
pub(crate) const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const HOST_IP: [u8; 4] = [10, 0, 0, 1];
pub(crate) const GUEST_IP: [u8; 4] = [10, 0, 0, 2];

/// Protocol numbers of IP.
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const ICMPV6: u8 = 58;

/// `fd00::` with the last octet.
pub(crate) const fn v6(last: u8) -> [u8; 16] {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// Two hosts of the link, by the last octet of their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) fn ethernet(to: [u8; 6], kind: u16, body: &[u8]) -> Vec<u8> {
    [&to[..], &HOST, &kind.to_be_bytes(), body].concat()
}

pub(crate) fn arp_request() -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let body = [&head[..], &HOST, &HOST_IP, &[0; 6], &GUEST_IP].concat();
    ethernet([0xff; 6], 0x0806, &body)
}

pub(crate) fn is_arp_reply(frame: &[u8]) -> bool {
    let wanted = [&[0, 2][..], &GUEST, &GUEST_IP, &HOST, &HOST_IP].concat();
    frame.get(12..14) == Some(&[8, 6]) && frame.get(20..42) == Some(&wanted[..])
}

/// The answer to the guest's question for a neighbour, by ARP or NDP.
pub(crate) fn neighbour_answer(frame: &[u8]) -> Option<Vec<u8>> {
    match frame.get(12..14)? {
        [8, 6] if frame.get(20..22)? == [0, 1] && frame.get(38..42)? != GUEST_IP => {
            let head = [0, 1, 8, 0, 6, 4, 0, 2];
            let asked = frame.get(38..42)?;
            let body = [&head[..], &HOST, asked, &GUEST, &GUEST_IP].concat();
            Some(ethernet(GUEST, 0x0806, &body))
        }
        // A neighbour solicitation (RFC 4861 section 4.3).
        [0x86, 0xdd] if frame.get(20) == Some(&ICMPV6) && frame.get(54) == Some(&135) => {
            let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
            let mut body = [136, 0, 0, 0, 0x60, 0, 0, 0].to_vec();
            body.extend(target);
            body.extend([2, 1]);
            body.extend(HOST);
            let sum = ip_checksum(&target, &v6(2), ICMPV6, &body);
            body[2..4].copy_from_slice(&sum);
            Some(ipv6(&target, ICMPV6, 255, &body))
        }
        _ => None,
    }
}

/// The Internet checksum, over `parts` as if they were one, each of an even length but the last.
fn internet_checksum(parts: &[&[u8]]) -> [u8; 2] {
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = pairs
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded).expect("16 bits")).to_be_bytes()
}

/// With the pseudo-header, of both families.
pub(crate) fn ip_checksum(from: &[u8], to: &[u8], protocol: u8, body: &[u8]) -> [u8; 2] {
    let len = u16::try_from(body.len()).expect("a frame").to_be_bytes();
    internet_checksum(&[from, to, &[0, protocol], &len, body])
}

/// From the host with this last octet to the guest.
pub(crate) fn packet(family: Family, from: u8, protocol: u8, body: &[u8]) -> Vec<u8> {
    match family {
        Family::V4 => ipv4([10, 0, 0, from], protocol, body),
        Family::V6 => ipv6(&v6(from), protocol, 64, body),
    }
}

fn ipv4(from: [u8; 4], protocol: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + body.len())
        .expect("a frame")
        .to_be_bytes();
    let mut ip = [0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, protocol, 0, 0].to_vec();
    ip.extend(from);
    ip.extend(GUEST_IP);
    let sum = internet_checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum);
    ethernet(GUEST, 0x0800, &[&ip, body].concat())
}

fn ipv6(from: &[u8; 16], protocol: u8, hop_limit: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("a frame").to_be_bytes();
    let mut ip = [0x60, 0, 0, 0, len[0], len[1], protocol, hop_limit].to_vec();
    ip.extend(from);
    ip.extend(v6(2));
    ethernet(GUEST, 0x86dd, &[&ip, body].concat())
}

/// The body of an echo request (8) or answer (0).
pub(crate) fn echo(kind: u8, sequence: u16) -> Vec<u8> {
    let data = [0x5a; 100];
    let mut icmp = [&[kind, 0, 0, 0, 0, 7][..], &sequence.to_be_bytes(), &data].concat();
    let sum = internet_checksum(&[&icmp]);
    icmp[2..4].copy_from_slice(&sum);
    icmp
}

pub(crate) fn ping(sequence: u16) -> Vec<u8> {
    packet(Family::V4, HOST_IP[3], ICMP, &echo(8, sequence))
}
