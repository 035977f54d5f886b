//! The configuration on its way from `synhop run` to the preload library: environment variables.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::policy::{Fallback, Policy};
use crate::routes::{RouteError, Routes};

/// The variables' names.
pub mod names {
    /// Routes, `PREFIX=ADDR:PORT` or `PREFIX=direct`, with commas between them.
    pub const ROUTES: &str = "SYNHOP_ROUTES";
    /// Prefixes that no route applies to, with commas between them.
    pub const BYPASS: &str = "SYNHOP_BYPASS";
    /// `direct` or `fail`.
    pub const FALLBACK: &str = "SYNHOP_FALLBACK";
    /// The path of the helper's socket.
    pub const HELPER: &str = "SYNHOP_HELPER";
    /// Set and not empty: a line on stderr for every `connect()`.
    pub const VERBOSE: &str = "SYNHOP_VERBOSE";
}

/// What the preload library has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which connections go through a proxy.
    pub policy: Policy,
    /// The path of the helper's socket.
    pub helper: String,
    /// A line on stderr for every `connect()`.
    pub verbose: bool,
}

/// The environment does not hold a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A variable is missing.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A route is wrong.
    #[error("SYNHOP_ROUTES: {0}")]
    Route(#[from] RouteError),
    /// A prefix of the bypass list is wrong.
    #[error("SYNHOP_BYPASS: not a prefix: {0:?}")]
    Bypass(String),
    /// Neither `direct` nor `fail`.
    #[error("SYNHOP_FALLBACK: neither direct nor fail: {0:?}")]
    Fallback(String),
}

impl Settings {
    /// The variables to set for the program, all five. An empty value is as good as none.
    pub fn to_variables(&self) -> [(&'static str, String); 5] {
        let bypass: Vec<_> = self.policy.bypass.iter().map(ToString::to_string).collect();
        [
            (names::ROUTES, self.policy.routes.to_string()),
            (names::BYPASS, bypass.join(",")),
            (names::FALLBACK, self.policy.fallback.to_string()),
            (names::HELPER, self.helper.clone()),
            (
                names::VERBOSE,
                if self.verbose { "1" } else { "" }.to_string(),
            ),
        ]
    }

    /// Reads the variables back; `get` looks one up.
    pub fn from_variables(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let required = |name| {
            get(name)
                .filter(|value| !value.is_empty())
                .ok_or(SettingsError::Missing(name))
        };
        let bypass = get(names::BYPASS).unwrap_or_default();
        let bypass = bypass.split(',').filter(|prefix| !prefix.is_empty());
        let parse = |prefix: &str| {
            let parsed = prefix.parse();
            parsed.map_err(|_| SettingsError::Bypass(prefix.to_string()))
        };
        let fallback = match get(names::FALLBACK).filter(|value| !value.is_empty()) {
            None => Fallback::default(),
            Some(text) => text.parse().map_err(|()| SettingsError::Fallback(text))?,
        };
        Ok(Self {
            policy: Policy {
                routes: required(names::ROUTES)?.parse::<Routes>()?,
                bypass: bypass.map(parse).collect::<Result<_, _>>()?,
                fallback,
            },
            helper: required(names::HELPER)?,
            verbose: get(names::VERBOSE).is_some_and(|value| !value.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            policy: Policy {
                routes: "0.0.0.0/0=192.0.2.1:7000,10.0.0.0/8=direct"
                    .parse()
                    .unwrap(),
                bypass: alloc::vec![
                    "10.0.0.0/8".parse().unwrap(),
                    "192.0.2.9/32".parse().unwrap()
                ],
                fallback: Fallback::Fail,
            },
            helper: "/run/synhop/helper.sock".into(),
            verbose: true,
        }
    }

    fn read(variables: &[(&'static str, String)]) -> Result<Settings, SettingsError> {
        Settings::from_variables(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn the_environment_carries_everything() {
        assert_eq!(read(&settings().to_variables()), Ok(settings()));
    }

    #[test]
    fn errors_name_the_variable() {
        let mut variables = settings().to_variables();
        assert_eq!(
            read(&variables[1..]),
            Err(SettingsError::Missing(names::ROUTES))
        );
        variables[2].1 = "perhaps".into();
        let error = read(&variables).unwrap_err();
        assert_eq!(
            error.to_string(),
            "SYNHOP_FALLBACK: neither direct nor fail: \"perhaps\""
        );
        variables[1].1 = "10.0.0.0".into();
        assert_eq!(
            read(&[variables[1].clone()]).unwrap_err(),
            SettingsError::Missing(names::ROUTES)
        );
    }
}
