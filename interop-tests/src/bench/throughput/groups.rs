//! What a sample of the hosted engine was about.

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    CopyOut,
    Read,
    CopyIn,
    Wakeups,
    PeersTcp,
    Bridge,
    Write,
    Wait,
    Switches,
    OtherSystem,
    Engine,
    Stack,
    Core,
    Allocator,
    Checksums,
    Copies,
    Shell,
}

impl Group {
    pub(super) const ALL: [Self; 17] = [
        Self::CopyOut,
        Self::Read,
        Self::CopyIn,
        Self::Write,
        Self::Bridge,
        Self::PeersTcp,
        Self::Wakeups,
        Self::Wait,
        Self::Switches,
        Self::OtherSystem,
        Self::Engine,
        Self::Stack,
        Self::Core,
        Self::Allocator,
        Self::Checksums,
        Self::Copies,
        Self::Shell,
    ];

    /// Whose a sample is, by its functions, the innermost first. What the kernel does for another
    /// end of a flow it does inside our write to the device.
    pub(super) fn of(stack: &[String]) -> Self {
        let meets = |names: &[&str]| {
            let matches = |function: &String| names.iter().any(|name| function.starts_with(name));
            stack.iter().any(matches)
        };
        if !meets(&["entry_SYSCALL", "asm_"]) {
            return Self::of_own(stack.first().map_or("", String::as_str));
        }
        if meets(&["schedule", "__schedule", "exit_to_user_mode_loop"]) && !meets(&["do_sys_poll"])
        {
            Self::Switches
        } else if meets(&["tun_chr_read_iter", "do_readv", "vfs_readv"]) {
            if meets(&["skb_copy_datagram_iter"]) {
                Self::CopyOut
            } else {
                Self::Read
            }
        } else if meets(&["do_writev", "vfs_writev"]) {
            if meets(&["skb_copy_datagram_from_iter"]) {
                Self::CopyIn
            } else if meets(&[
                "sock_def_readable",
                "__wake_up",
                "try_to_wake_up",
                "tun_net_xmit",
            ]) {
                Self::Wakeups
            } else if meets(&["tcp_v4_rcv", "tcp_v6_rcv"]) {
                Self::PeersTcp
            } else if meets(&["netif_receive_skb", "__netif_receive", "handle_softirqs"]) {
                Self::Bridge
            } else {
                Self::Write
            }
        } else if meets(&["do_sys_poll", "__x64_sys_ppoll", "__se_sys_ppoll"]) {
            Self::Wait
        } else {
            Self::OtherSystem
        }
    }

    /// The same for what is no system call, by the innermost function.
    fn of_own(function: &str) -> Self {
        let has = |names: &[&str]| names.iter().any(|name| function.contains(name));
        if has(&["synhop_stack::checksum", "checksum"]) {
            Self::Checksums
        } else if has(&[
            "malloc",
            "free",
            "calloc",
            "realloc",
            "__rdl_",
            "__rust_",
            "_int_",
            "unlink_chunk",
            "tcache",
        ]) {
            Self::Allocator
        } else if has(&["memmove", "memcpy", "memset"]) {
            Self::Copies
        } else if has(&["synhop_engine", "hashbrown", "siphash"]) {
            Self::Engine
        } else if has(&["synhop_stack", "smoltcp"]) {
            Self::Stack
        } else if has(&["synhop_core"]) {
            Self::Core
        } else {
            Self::Shell
        }
    }

    /// Where it is.
    pub(super) const fn side(self) -> &'static str {
        match self {
            Self::CopyOut | Self::Read => "read of the TAP",
            Self::CopyIn | Self::Write | Self::Bridge | Self::PeersTcp | Self::Wakeups => {
                "write to the TAP"
            }
            Self::Wait | Self::Switches | Self::OtherSystem => "other system calls",
            Self::Engine
            | Self::Stack
            | Self::Core
            | Self::Allocator
            | Self::Checksums
            | Self::Copies
            | Self::Shell => "the process itself",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CopyOut => "copy out of the kernel",
            Self::Read => "the rest of the read",
            Self::CopyIn => "copy into the kernel",
            Self::Wakeups => "waking client, server and us",
            Self::PeersTcp => "client's and server's TCP",
            Self::Bridge => "bridge and veth",
            Self::Write => "the rest of the write",
            Self::Wait => "ppoll",
            Self::Switches => "giving the processor to others",
            Self::OtherSystem => "interrupts and the rest",
            Self::Engine => "engine",
            Self::Stack => "stack",
            Self::Core => "core",
            Self::Allocator => "allocator",
            Self::Checksums => "checksums",
            Self::Copies => "copies of its own",
            Self::Shell => "loop, library calls and the rest",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_work_is_sorted_by_its_callers() {
        let of = |stack: &str| {
            let stack: Vec<String> = stack.split(' ').map(str::to_owned).collect();
            Group::of(&stack)
        };
        let call = "do_syscall_64 entry_SYSCALL_64_after_hwframe __GI___writev synhop_hosted::main";
        let write = |inner: &str| of(&format!("{inner} do_writev {call}"));
        assert_eq!(
            write("_copy_from_iter skb_copy_datagram_from_iter"),
            Group::CopyIn
        );
        assert_eq!(write("x sock_def_readable tcp_v4_rcv"), Group::Wakeups);
        assert_eq!(
            write("tcp_ack tcp_v4_rcv __netif_receive_skb"),
            Group::PeersTcp
        );
        assert_eq!(write("br_forward __netif_receive_skb"), Group::Bridge);
        assert_eq!(write("tun_get_user"), Group::Write);
        assert_eq!(of(&format!("fput do_sys_poll {call}")), Group::Wait);
        assert_eq!(of("_int_free main"), Group::Allocator);
        assert_eq!(of("<synhop_engine::Engine>::receive main"), Group::Engine);
    }
}
