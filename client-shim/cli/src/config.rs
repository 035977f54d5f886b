//! The client's configuration file.
//!
//! ```toml
//! fallback = "direct"                 # or "fail"
//! bypass = ["10.0.0.0/8"]
//!
//! [[route]]
//! to = "0.0.0.0/0"
//! proxy = "192.0.2.7:7000"
//!
//! [[route]]                           # the longest prefix decides
//! to = "198.51.100.0/24"
//! proxy = "direct"
//! ```

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use synhop_client_core::{Fallback, NextHop, Policy, Route, Routes};

use crate::args;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    fallback: Option<FallbackText>,
    #[serde(default)]
    bypass: Vec<String>,
    #[serde(default, rename = "route")]
    routes: Vec<RouteText>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FallbackText {
    Direct,
    Fail,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteText {
    to: String,
    proxy: String,
}

/// Reads the file; errors name it, and the line where TOML knows it.
pub(crate) fn read(path: &Path) -> Result<Policy> {
    let text = std::fs::read_to_string(path);
    let policy = text.map_err(Into::into).and_then(|text| parse(&text));
    policy.with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Policy> {
    let file: File = toml::from_str(text)?;
    let prefix = |text: &str| args::prefix(text).map_err(|error| anyhow!("{text:?}: {error}"));
    let routes = file.routes.iter().map(|route| {
        let next_hop = match route.proxy.as_str() {
            "direct" => NextHop::Direct,
            proxy => NextHop::Proxy(
                args::proxy(proxy).map_err(|error| anyhow!("proxy {proxy:?}: {error}"))?,
            ),
        };
        Ok(Route {
            prefix: prefix(&route.to)?,
            next_hop,
        })
    });
    let bypass = file.bypass.iter().map(|text| prefix(text));
    Ok(Policy {
        routes: Routes::new(routes.collect::<Result<_>>()?)?,
        bypass: bypass.collect::<Result<_>>().context("bypass")?,
        fallback: match file.fallback {
            Some(FallbackText::Fail) => Fallback::Fail,
            Some(FallbackText::Direct) | None => Fallback::Direct,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file() {
        let policy = parse(
            "fallback = 'fail'\nbypass = ['10.0.0.0/8', '192.0.2.9']\n\
             [[route]]\nto = '0.0.0.0/0'\nproxy = '192.0.2.7:7000'\n\
             [[route]]\nto = '198.51.100.0/24'\nproxy = 'direct'\n",
        )
        .unwrap();
        assert_eq!(policy.fallback, Fallback::Fail);
        assert_eq!(policy.bypass.len(), 2);
        let at = |text: &str| policy.routes.next_hop(text.parse().unwrap());
        assert_eq!(at("198.51.100.1"), NextHop::Direct);
        assert_eq!(
            at("8.8.8.8"),
            NextHop::Proxy("192.0.2.7:7000".parse().unwrap())
        );
    }

    #[test]
    fn errors_say_what_and_where() {
        let error = |text| format!("{:#}", parse(text).unwrap_err());
        assert!(error("fallback = 'fail'\nbypas = []\n").contains("line 2"));
        assert!(error("bypass = ['10/8']").contains("\"10/8\""));
        assert!(error("[[route]]\nto = '0.0.0.0/0'\nproxy = 'x'\n").contains("proxy \"x\""));
        assert!(error("fallback = 'maybe'").contains("line 1"));
    }
}
