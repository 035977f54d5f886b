//! The pictures that the lab draws: SVG first, and the PNG made from that same SVG.

mod canvas;
mod chains;
mod ladder;
mod render;

pub use chains::{ChainPlot, Point, Series, path_name};
pub use ladder::{Arrow, Ladder, Message};

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a picture could not be drawn or saved.
#[derive(Debug, Error)]
pub enum PlotError {
    /// There is nothing to show.
    #[error("nothing to draw: {0}")]
    Empty(&'static str),
    /// A shape could not be drawn.
    #[error("drawing: {0}")]
    Draw(String),
    /// The SVG could not be read back.
    #[error("rendering: {0}")]
    Render(#[from] resvg::usvg::Error),
    /// The picture could not be held or encoded.
    #[error("rendering a PNG: {0}")]
    Raster(String),
    /// The file could not be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The two files of one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Scales; its text is text.
    pub svg: PathBuf,
    /// For where SVG is not shown.
    pub png: PathBuf,
}

/// Saves an SVG as `stem.svg` and `stem.png` in `folder`, which must exist.
pub fn save(folder: &Path, stem: &str, svg: &str) -> Result<Files, PlotError> {
    let files = Files {
        svg: folder.join(stem).with_extension("svg"),
        png: folder.join(stem).with_extension("png"),
    };
    let png = render::png(svg)?;
    write(&files.svg, svg.as_bytes())?;
    write(&files.png, &png)?;
    Ok(files)
}

fn write(path: &Path, octets: &[u8]) -> Result<(), PlotError> {
    std::fs::write(path, octets).map_err(|source| PlotError::Write {
        path: path.to_owned(),
        source,
    })
}
