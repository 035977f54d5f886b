//! The small types that the wire's integers become.

/// The option kinds that RFC 6994 shares among experiments (RFC 4727).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Kind 253, the default (SPEC section 4.1).
    #[default]
    Experiment1 = 253,
    /// Kind 254, for networks whose middleboxes treat 253 badly.
    Experiment2 = 254,
}

impl Kind {
    /// The kind with this number; `None` for any that is not 253 or 254.
    pub const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            253 => Some(Self::Experiment1),
            254 => Some(Self::Experiment2),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn octet(self) -> u8 {
        self as u8
    }
}

/// The family of the flow, which need not be the family of the leg that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// The flow is IPv4: `ExID` 0xE5F4.
    V4,
    /// The flow is IPv6: `ExID` 0xE5F6.
    V6,
}

/// The 16-bit experiment identifier behind kind and length (RFC 6994 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExId(u16);

impl ExId {
    /// The identifier of an IPv4 flow's option.
    pub const V4: Self = Self(0xE5F4);
    /// The identifier of an IPv6 flow's option.
    pub const V6: Self = Self(0xE5F6);

    /// The identifier of a flow of this family.
    pub const fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4,
            Family::V6 => Self::V6,
        }
    }

    /// The family this identifier stands for; `None` if it belongs to another experiment.
    pub const fn family(self) -> Option<Family> {
        match self {
            Self::V4 => Some(Family::V4),
            Self::V6 => Some(Family::V6),
            Self(_) => None,
        }
    }

    /// From the two octets on the wire, in network order.
    pub const fn from_octets(octets: [u8; 2]) -> Self {
        Self(u16::from_be_bytes(octets))
    }

    /// The two octets on the wire, in network order.
    pub const fn octets(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// A node's proof that its client receives what is sent to its address (SPEC section 7).
///
/// Opaque to everyone but the node that made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cookie([u8; 4]);

impl Cookie {
    /// From the four octets on the wire.
    pub const fn from_octets(octets: [u8; 4]) -> Self {
        Self(octets)
    }

    /// The four octets on the wire.
    pub const fn octets(self) -> [u8; 4] {
        self.0
    }
}

/// A cookie is a secret of its client and node: logs must not show it.
impl core::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cookie(..)")
    }
}

/// How many nodes may yet forward this SYN, the receiver included (SPEC section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HopsLeft(u8);

impl HopsLeft {
    /// What a SYN without the field counts as, unless the node is configured otherwise.
    pub const DEFAULT: Self = Self(8);

    /// `hops` nodes, 0 to 255; 0 is legal on the wire and refused by every node.
    pub const fn new(hops: u8) -> Self {
        Self(hops)
    }

    /// The number of hops.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// What a node sends on: one hop fewer; `None` when none is left.
    pub const fn decremented(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(hops) => Some(Self(hops)),
            None => None,
        }
    }
}

/// What the flags of the TCP header say about the segment (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// SYN alone.
    Syn,
    /// SYN and ACK.
    SynAck,
    /// Neither: the option does not belong here.
    Other,
}

impl Segment {
    /// From the flags octet of the TCP header (octet 13: CWR ECE URG ACK PSH RST SYN FIN).
    ///
    /// SYN beside RST or FIN opens no connection, so it is none of the two.
    pub const fn from_flags(flags: u8) -> Self {
        const FIN: u8 = 0x01;
        const SYN: u8 = 0x02;
        const RST: u8 = 0x04;
        const ACK: u8 = 0x10;
        const SYN_ACK: u8 = SYN | ACK;
        match flags & (FIN | SYN | RST | ACK) {
            SYN => Self::Syn,
            SYN_ACK => Self::SynAck,
            _ => Self::Other,
        }
    }
}
