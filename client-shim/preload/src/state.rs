//! What the library knows in this process.

use std::net::SocketAddrV4;
use std::sync::OnceLock;

use synhop_client_core::{Settings, SettingsError, Tracking, Verdicts, names};

use crate::report::Line;
use crate::sys;

/// The configuration, and the two tables that change.
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) helper: sys::HelperAddress,
    /// Where to report to, if the user wants to know.
    pub(crate) stderr: Option<sys::Stderr>,
}

/// The process's sockets that go through a proxy.
pub(crate) static TRACKING: Tracking = Tracking::new();

/// Proxies that are left out for a while.
static VERDICTS: Verdicts = Verdicts::new();

/// `None`: not configured, the library does nothing.
static STATE: OnceLock<Option<State>> = OnceLock::new();

impl State {
    /// The configuration; read at the first call, which is the library's start.
    pub(crate) fn get() -> Option<&'static Self> {
        STATE.get_or_init(Self::read).as_ref()
    }

    fn read() -> Option<Self> {
        let settings = Settings::from_variables(|name| std::env::var(name).ok());
        let complaint = match settings {
            Ok(settings) => match sys::HelperAddress::new(&settings.helper) {
                Some(helper) => {
                    let stderr = settings.verbose.then(sys::Stderr::open).flatten();
                    return Some(Self {
                        settings,
                        helper,
                        stderr,
                    });
                }
                None => Line::new(format_args!("the helper's path is too long: not proxying")),
            },
            // Left over in the environment of a program that nobody configured.
            Err(SettingsError::Missing(names::ROUTES)) => return None,
            Err(error) => Line::new(format_args!("{error}: not proxying")),
        };
        if let Some(stderr) = sys::Stderr::open() {
            complaint.write(&stderr);
        }
        None
    }
}

/// Whether `proxy` turned out to be none a short while ago.
pub(crate) fn is_condemned(proxy: SocketAddrV4) -> bool {
    VERDICTS.is_condemned(proxy, sys::now_ms())
}

/// Leaves `proxy` out for a while.
pub(crate) fn condemn(proxy: SocketAddrV4) {
    VERDICTS.condemn(proxy, sys::now_ms());
}
