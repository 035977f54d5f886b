//! What the store says of an interface and of its back.

use alloc::format;
use alloc::string::String;

use synhop_stack::Offload;

use super::super::store::{self, Store, StoreError};
use super::LinkError;

/// Where the toolstack lists interfaces.
pub(super) const INTERFACES: &str = "device/vif";

/// An interface as the store describes it.
#[derive(Debug)]
pub(super) struct Interface {
    /// Its own folder.
    pub(super) path: String,
    /// The back's folder.
    pub(super) back: String,
    pub(super) domain: u16,
    pub(super) mac: Option<[u8; 6]>,
}

/// What the back says of itself.
#[expect(
    clippy::struct_excessive_bools,
    reason = "as the store tells them: each by itself"
)]
pub(super) struct Back {
    pub(super) state: u32,
    /// Whether the toolstack wants it to go on after it was closed.
    pub(super) online: bool,
    /// Whether it copies frames to the front, which is all that fronts do today.
    pub(super) copies: bool,
    /// Whether it finishes checksums, for both IP versions.
    checksum: bool,
    /// Whether it cuts large frames, for both IP versions.
    cuts: bool,
}

impl Interface {
    /// The first interface that the toolstack lists, if all that describes it is there.
    pub(super) fn find(store: &mut Store) -> Result<Option<Self>, LinkError> {
        let Some(name) = store.first_child(INTERFACES)? else {
            return Ok(None);
        };
        let path = format!("{INTERFACES}/{name}");
        let [back, domain, mac] = store.read_all(&path, ["backend", "backend-id", "mac"])?;
        let Some(back) = back else {
            return Ok(None);
        };
        let domain = u16::try_from(store::number(domain.as_ref())).map_err(|_| LinkError::Back)?;
        Ok(Some(Self {
            path,
            back,
            domain,
            mac: mac.as_deref().and_then(parse_mac),
        }))
    }
}

impl Back {
    /// Reads all at once: each question alone costs a way to the host's store and back.
    pub(super) fn read(path: &str, store: &mut Store) -> Result<Self, StoreError> {
        let keys = [
            "state",
            "online",
            "feature-rx-copy",
            "feature-no-csum-offload",
            "feature-ipv6-csum-offload",
            "feature-sg",
            "feature-gso-tcpv4",
            "feature-gso-tcpv6",
        ];
        let values = store.read_all(path, keys)?;
        let [
            state,
            online,
            copies,
            no_checksum,
            checksum,
            parts,
            gso4,
            gso6,
        ] = values.each_ref().map(|value| store::number(value.as_ref()));
        let checksum = no_checksum == 0 && checksum != 0;
        Ok(Self {
            state,
            online: online != 0,
            copies: copies != 0,
            checksum,
            cuts: checksum && parts != 0 && gso4 != 0 && gso6 != 0,
        })
    }

    /// What it finishes of frames that lie in so many buffers at most.
    pub(super) fn offload(&self, buffers: usize) -> Offload {
        // Half of the buffers, so that one frame is filled while another one is on the way, and no
        // more than an IP packet holds beside its headers.
        let most = (buffers / 2).min(15) * super::PAGE_OCTETS;
        Offload {
            checksum: self.checksum,
            frame_octets_most: if self.cuts {
                u32::try_from(most).unwrap_or(0)
            } else {
                0
            },
        }
    }
}

/// Six octets in hexadecimal, with colons.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.trim().split(':');
    for octet in &mut mac {
        *octet = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::parse_mac;

    #[test]
    fn a_mac_has_six_octets() {
        let mac = [0, 0x16, 0x3e, 1, 2, 0xff];
        assert_eq!(parse_mac("00:16:3e:01:02:ff"), Some(mac));
        for wrong in [
            "",
            "00:16:3e:01:02",
            "00:16:3e:01:02:ff:00",
            "00:16:3e:01:02:fg",
        ] {
            assert_eq!(parse_mac(wrong), None, "{wrong}");
        }
    }
}
