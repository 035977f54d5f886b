//! Initial sequence numbers (RFC 6528), timestamp offsets (RFC 7323 section 7.1) and ephemeral ports
//! (RFC 6056 section 3.3.3).

use core::hash::Hasher;
use core::net::SocketAddr;

use siphasher::sip::SipHasher24;

use crate::connection::Tuple;
use crate::seq::Seq;
use crate::time::Instant;

/// The secrets they are made of.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    keys: (u64, u64),
    next_port: u16,
}

impl Secrets {
    pub(crate) const fn new(keys: (u64, u64)) -> Self {
        Self { keys, next_port: 0 }
    }

    /// M + F(addresses, ports, secret); M ticks every 4 us.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the numbers are modulo 2^32"
    )]
    pub(crate) fn isn(&self, tuple: &Tuple, now: Instant) -> Seq {
        let clock = (now.as_micros() / 4) as u32;
        Seq::new((self.hash(tuple, 1) as u32).wrapping_add(clock))
    }

    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
    pub(crate) fn clock_offset(&self, tuple: &Tuple) -> u32 {
        self.hash(tuple, 2) as u32
    }

    /// Ports to try for a connection between two addresses, each of them once.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than the number of ports"
    )]
    pub(crate) fn ports(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> impl Iterator<Item = u16> + use<> {
        let offset = self.hash(&Tuple { local, remote }, 3) % u64::from(PORTS);
        let first = (offset as u16).wrapping_add(self.next_port) % PORTS;
        self.next_port = (self.next_port + 1) % PORTS;
        (0..PORTS).map(move |step| {
            let number = (u32::from(first) + u32::from(step)) % u32::from(PORTS);
            FIRST_PORT + number as u16
        })
    }

    fn hash(&self, tuple: &Tuple, purpose: u8) -> u64 {
        use core::hash::Hash;
        let mut hasher = SipHasher24::new_with_keys(self.keys.0, self.keys.1);
        tuple.hash(&mut hasher);
        hasher.write_u8(purpose);
        hasher.finish()
    }
}

/// As Linux's `ip_local_port_range`.
const FIRST_PORT: u16 = 32_768;
const PORTS: u16 = 28_232;

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(port: u16) -> Tuple {
        Tuple {
            local: ([192, 0, 2, 1], port).into(),
            remote: ([192, 0, 2, 2], 80).into(),
        }
    }

    #[test]
    fn numbers_grow_with_time_and_differ_by_tuple_and_key() {
        let secrets = Secrets::new((1, 2));
        let now = Instant::from_micros(4_000_000);
        let isn = secrets.isn(&tuple(1), now);
        let later = secrets.isn(&tuple(1), Instant::from_micros(8_000_000));
        assert_eq!(later.distance(isn), 1_000_000);
        assert_ne!(secrets.isn(&tuple(2), now), isn);
        assert_ne!(Secrets::new((1, 3)).isn(&tuple(1), now), isn);
    }

    #[test]
    fn every_port_is_tried_once() {
        let mut secrets = Secrets::new((1, 2));
        let Tuple { local, remote } = tuple(0);
        let mut ports: alloc::vec::Vec<_> = secrets.ports(local, remote).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!((ports.len(), ports[0]), (usize::from(PORTS), FIRST_PORT));
        assert_ne!(
            secrets.ports(local, remote).next(),
            secrets.ports(local, remote).next()
        );
    }
}
