//! Transfer time over the number of nodes: one line for each size, the model dashed on top of it.

use super::PlotError;
use super::canvas::{Anchor, At, Canvas, FAINT, Font, GREY, INK, NOTE, Stroke, spread};
use crate::stats::millis;
use plotters::style::RGBColor;
use std::time::Duration;

/// The picture's content.
#[derive(Clone, Debug)]
pub struct ChainPlot {
    /// What is shown; one line.
    pub title: String,
    /// How it was measured; one line.
    pub subtitle: String,
    /// One line each, ascending in size: at most as many as there are colours (eight).
    pub series: Vec<Series>,
}

/// One size.
#[derive(Clone, Debug)]
pub struct Series {
    /// The size, as a person writes it.
    pub label: String,
    /// Ascending in nodes.
    pub points: Vec<Point>,
}

/// One size over one number of nodes.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// 0 is direct.
    pub nodes: u8,
    /// The measured median.
    pub median: Duration,
    /// The shortest measured.
    pub min: Duration,
    /// The longest measured.
    pub max: Duration,
    /// What the model says.
    pub model: Duration,
}

const WIDTH: u32 = 1600;
const HEIGHT: u32 = 1040;
/// The plotting field: left, top, right, bottom.
const FIELD: (f64, f64, f64, f64) = (190.0, 190.0, 1330.0, 900.0);
const LABEL: Font = Font {
    size: 22.0,
    color: INK,
    bold: false,
};
/// Light to dark as the size grows; told apart in grey, too.
const COLORS: [RGBColor; 8] = [
    RGBColor(0x1d, 0x8a, 0xa5),
    RGBColor(0x2f, 0x8f, 0x6b),
    RGBColor(0xc7, 0x9a, 0x1e),
    RGBColor(0xd8, 0x6a, 0x2b),
    RGBColor(0xb8, 0x3b, 0x5e),
    RGBColor(0x5b, 0x3c, 0x88),
    RGBColor(0x2b, 0x4a, 0x8b),
    RGBColor(0x44, 0x44, 0x44),
];

impl ChainPlot {
    /// Draws it as an SVG.
    pub fn svg(&self) -> Result<String, PlotError> {
        let scale = Scale::of(&self.series)?;
        let mut svg = String::new();
        let canvas = Canvas::new(&mut svg, WIDTH, HEIGHT)?;
        canvas.heading(&self.title, &self.subtitle)?;
        draw_key(&canvas)?;
        scale.draw_axes(&canvas)?;
        let colored = || self.series.iter().zip(COLORS.iter().copied().cycle());
        for (series, color) in colored() {
            draw_measured(&canvas, &scale, series, color)?;
        }
        for (series, _) in colored() {
            let model = series
                .points
                .iter()
                .map(|point| scale.at(point.nodes, point.model));
            let stroke = Stroke {
                color: INK,
                width: 2,
            };
            canvas.dashes(&model.collect::<Vec<_>>(), stroke)?;
        }
        draw_labels(&canvas, &scale, &colored().collect::<Vec<_>>())?;
        canvas.finish()?;
        Ok(svg)
    }
}

/// Where times and numbers of nodes are on the picture.
struct Scale {
    most_nodes: u8,
    /// Milliseconds at the top.
    top: f64,
    /// Milliseconds between grid lines.
    step: f64,
}

impl Scale {
    fn of(series: &[Series]) -> Result<Self, PlotError> {
        let points = || series.iter().flat_map(|series| &series.points);
        let most_nodes = points()
            .map(|point| point.nodes)
            .max()
            .ok_or(PlotError::Empty("no measurement"))?;
        // One straggler must not squeeze all lines together: its bar ends at the top instead.
        let longest = points()
            .map(|point| millis(point.median.max(point.model)) * 1.03)
            .fold(1.0, f64::max);
        let steps = [
            1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0,
        ];
        let step = steps
            .into_iter()
            .find(|step| longest / step <= 9.0)
            .unwrap_or(longest);
        Ok(Self {
            most_nodes,
            top: (longest / step).ceil() * step,
            step,
        })
    }

    fn at(&self, nodes: u8, time: Duration) -> At {
        let (left, top, right, bottom) = FIELD;
        // Half a column's margin at either side.
        let column = (right - left) / (f64::from(self.most_nodes) + 0.3);
        let x = left + column * (f64::from(nodes) + 0.15);
        (x, bottom - (bottom - top) * millis(time) / self.top)
    }

    fn draw_axes(&self, canvas: &Canvas<'_>) -> Result<(), PlotError> {
        let (left, top, right, bottom) = FIELD;
        let mut tick = 0.0;
        while tick <= self.top + self.step / 2.0 {
            let y = bottom - (bottom - top) * tick / self.top;
            let color = if tick > 0.0 { FAINT } else { INK };
            canvas.line(&[(left, y), (right, y)], Stroke { color, width: 2 })?;
            canvas.text(&format!("{tick:.0}"), (left - 16.0, y), LABEL, Anchor::End)?;
            tick += self.step;
        }
        canvas.text_upwards(
            "time to complete, ms (client's SYN to last octet)",
            (70.0, f64::midpoint(top, bottom)),
            LABEL,
        )?;
        for nodes in 0..=self.most_nodes {
            let (x, y) = self.at(nodes, Duration::ZERO);
            canvas.line(
                &[(x, y), (x, y + 8.0)],
                Stroke {
                    color: INK,
                    width: 2,
                },
            )?;
            canvas.text(&path_name(nodes), (x, y + 34.0), LABEL, Anchor::Middle)?;
        }
        let middle = f64::midpoint(left, right);
        canvas.text(
            "nodes between client and server, splitting the round-trip time evenly",
            (middle, bottom + 84.0),
            LABEL,
            Anchor::Middle,
        )
    }
}

/// A number of nodes, as the pictures and tables call it.
pub fn path_name(nodes: u8) -> String {
    match nodes {
        0 => "direct".to_owned(),
        1 => "1 node".to_owned(),
        _ => format!("{nodes} nodes"),
    }
}

fn draw_key(canvas: &Canvas<'_>) -> Result<(), PlotError> {
    let y = 146.0;
    canvas.line(
        &[(60.0, y), (120.0, y)],
        Stroke {
            color: GREY,
            width: 5,
        },
    )?;
    canvas.disc((90.0, y), 8, GREY)?;
    canvas.text(
        "measured: median, bar from shortest to longest",
        (134.0, y),
        NOTE,
        Anchor::Start,
    )?;
    canvas.dashes(
        &[(700.0, y), (770.0, y)],
        Stroke {
            color: INK,
            width: 2,
        },
    )?;
    canvas.text("model", (784.0, y), NOTE, Anchor::Start)
}

fn draw_measured(
    canvas: &Canvas<'_>,
    scale: &Scale,
    series: &Series,
    color: RGBColor,
) -> Result<(), PlotError> {
    let medians: Vec<At> = series
        .points
        .iter()
        .map(|p| scale.at(p.nodes, p.median))
        .collect();
    canvas.line(&medians, Stroke { color, width: 5 })?;
    for point in &series.points {
        let (x, low) = scale.at(point.nodes, point.min);
        let (_, high) = scale.at(point.nodes, point.max);
        let (_, top, _, _) = FIELD;
        canvas.line(&[(x, low), (x, high.max(top))], Stroke { color, width: 3 })?;
        for y in [low, high].into_iter().filter(|y| *y >= top) {
            canvas.line(&[(x - 9.0, y), (x + 9.0, y)], Stroke { color, width: 3 })?;
        }
        canvas.disc(scale.at(point.nodes, point.median), 8, color)?;
    }
    Ok(())
}

/// Names each line at its right end, with the median there.
fn draw_labels(
    canvas: &Canvas<'_>,
    scale: &Scale,
    series: &[(&Series, RGBColor)],
) -> Result<(), PlotError> {
    let mut ends: Vec<(At, String, RGBColor)> = series
        .iter()
        .filter_map(|(series, color)| {
            let last = series.points.last()?;
            let label = format!("{}: {:.1} ms", series.label, millis(last.median));
            Some((scale.at(last.nodes, last.median), label, *color))
        })
        .collect();
    ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let heights: Vec<f64> = ends.iter().map(|(at, _, _)| at.1).collect();
    for ((at, label, color), y) in ends.iter().zip(spread(&heights, 27.0)) {
        canvas.line(
            &[(at.0 + 14.0, at.1), (at.0 + 40.0, y)],
            Stroke {
                color: *color,
                width: 2,
            },
        )?;
        let font = Font {
            color: *color,
            bold: true,
            ..LABEL
        };
        canvas.text(label, (at.0 + 48.0, y), font, Anchor::Start)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Handshakes, Path};

    /// Made up: the model's figures and a little on top.
    fn synthetic() -> ChainPlot {
        let rtt = Duration::from_millis(100);
        let series = [10_u64, 25, 50, 100, 250, 500].map(|kb| Series {
            label: format!("{kb} KB"),
            points: (0..=3)
                .map(|nodes| {
                    let path = Path::even(rtt, nodes, 100_000_000).expect("a rate");
                    let model = path
                        .predict(Handshakes::Parallel, kb * 1024 + 240)
                        .last_octet;
                    let more = |us| model + Duration::from_micros(us);
                    Point {
                        nodes,
                        median: more(600),
                        min: more(200),
                        max: more(7000),
                        model,
                    }
                })
                .collect(),
        });
        ChainPlot {
            title: "Transfer time over the number of synhop nodes".to_owned(),
            subtitle: "synthetic figures of a test".to_owned(),
            series: series.to_vec(),
        }
    }

    #[test]
    fn every_size_and_path_is_named() {
        let svg = synthetic().svg().expect("drawn");
        for text in [
            "10 KB", "500 KB", "direct", "1 node", "3 nodes", "model", "measured", "ms",
        ] {
            assert!(svg.contains(text), "no {text} in the picture");
        }
    }

    #[test]
    fn nothing_measured_is_an_error() {
        let plot = ChainPlot {
            series: Vec::new(),
            ..synthetic()
        };
        assert!(matches!(plot.svg(), Err(PlotError::Empty(_))));
    }

    #[test]
    fn both_files_are_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let svg = synthetic().svg().expect("drawn");
        let files = super::super::save(folder.path(), "chains", &svg).expect("saved");
        let png = std::fs::read(files.png).expect("a PNG");
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert!(
            png.len() > 20_000,
            "a picture with text is larger than {} octets",
            png.len()
        );
        assert!(
            std::fs::read_to_string(files.svg)
                .expect("an SVG")
                .starts_with("<svg")
        );
    }
}
