//! What the demo found out, as a table, as files and as a picture.

use serde::Serialize;
use std::time::Duration;
use synhop_lab::model::{Handshakes, Path, Prediction};
use synhop_lab::plot::{ChainPlot, Point, Series, path_name};
use synhop_lab::stats::{Summary, SummaryMs, millis, saving_percent};
use synhop_lab::table::{Align, Table};

/// The conditions of all measurements.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// From client to server and back.
    pub(crate) rtt: Duration,
    /// Of every link, both ways.
    pub(crate) rate_bit_s: u64,
    /// What the hosts' TCP uses.
    pub(crate) congestion_control: String,
    /// Fetches of each size over each path.
    pub(crate) runs: usize,
}

/// All fetches of one size over one path.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Without the header.
    pub(crate) body_octets: u64,
    /// The header's octets.
    pub(crate) header_octets: u64,
    /// 0 is direct.
    pub(crate) nodes: u8,
    /// First octet, as the client's interface saw it.
    pub(crate) ttfb: Summary,
    /// Last octet, as the client's interface saw it.
    pub(crate) ttc: Summary,
    /// First octet, as curl says; median.
    pub(crate) curl_ttfb: Duration,
    /// Last octet, as curl says; median.
    pub(crate) curl_ttc: Duration,
    /// The most that curl and the capture differ in any one fetch, for the first or last octet.
    pub(crate) disagreement: Duration,
}

/// The whole result.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// How it was measured.
    pub(crate) setting: Setting,
    /// Ascending in size, and in nodes within a size.
    pub(crate) cells: Vec<Cell>,
}

/// How far curl's clock and the capture may differ before it is said.
pub(crate) const AGREEMENT: Duration = Duration::from_millis(1);

impl Cell {
    /// What the model says of it.
    pub(crate) fn model(&self, setting: &Setting) -> Option<Prediction> {
        let path = Path::even(setting.rtt, self.nodes, setting.rate_bit_s)?;
        Some(path.predict(Handshakes::Parallel, self.body_octets + self.header_octets))
    }
}

impl Report {
    /// The table for the terminal.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(&[
            ("size", Align::Right),
            ("path", Align::Left),
            ("first octet ms", Align::Right),
            ("saved", Align::Right),
            ("model", Align::Right),
            ("diff", Align::Right),
            ("complete ms", Align::Right),
            ("saved", Align::Right),
            ("model", Align::Right),
            ("diff", Align::Right),
        ]);
        let mut size = 0;
        for cell in &self.cells {
            if cell.body_octets != size {
                table.group();
                size = cell.body_octets;
            }
            table.row(self.row(cell));
        }
        table
    }

    fn row(&self, cell: &Cell) -> Vec<String> {
        let direct = self.direct(cell.body_octets);
        let model = cell.model(&self.setting);
        let figures = |measured: Duration, direct: Option<Duration>, model: Option<Duration>| {
            let saved = direct
                .filter(|_| cell.nodes > 0)
                .map(|direct| format!("{:.1} %", saving_percent(direct, measured)));
            [
                format!("{:.1}", millis(measured)),
                saved.unwrap_or_default(),
                model
                    .map(|model| format!("{:.1}", millis(model)))
                    .unwrap_or_default(),
                model
                    .map(|m| format!("{:+.1}", millis(measured) - millis(m)))
                    .unwrap_or_default(),
            ]
        };
        let first = figures(
            cell.ttfb.median,
            direct.map(|direct| direct.ttfb.median),
            model.map(|model| model.first_octet),
        );
        let last = figures(
            cell.ttc.median,
            direct.map(|direct| direct.ttc.median),
            model.map(|model| model.last_octet),
        );
        let names = [size_name(cell.body_octets), path_name(cell.nodes)];
        names.into_iter().chain(first).chain(last).collect()
    }

    /// The direct path's fetches of the same size.
    fn direct(&self, body_octets: u64) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|cell| cell.nodes == 0 && cell.body_octets == body_octets)
    }

    /// In how many cells some fetch's time by curl and by capture were more than [`AGREEMENT`]
    /// apart.
    pub(crate) fn disagreeing(&self) -> usize {
        let disagreeing = |cell: &&Cell| cell.disagreement > AGREEMENT;
        self.cells.iter().filter(disagreeing).count()
    }

    /// The picture of times over nodes.
    pub(crate) fn chain_plot(&self) -> ChainPlot {
        let setting = &self.setting;
        ChainPlot {
            title: "Transfer time over the number of synhop nodes".to_owned(),
            subtitle: format!(
                "RTT {:.0} ms, {} Mbit/s, {}, {} fetches each by curl from nginx; times from the \
                 capture at the client",
                millis(setting.rtt),
                setting.rate_bit_s / 1_000_000,
                setting.congestion_control,
                setting.runs,
            ),
            series: self
                .cells
                .chunk_by(|a, b| a.body_octets == b.body_octets)
                .map(|cells| self.series(cells))
                .collect(),
        }
    }

    fn series(&self, cells: &[Cell]) -> Series {
        let point = |cell: &Cell| {
            let model = cell.model(&self.setting)?.last_octet;
            let Summary {
                median, min, max, ..
            } = cell.ttc;
            Some(Point {
                nodes: cell.nodes,
                median,
                min,
                max,
                model,
            })
        };
        Series {
            label: cells
                .first()
                .map(|cell| size_name(cell.body_octets))
                .unwrap_or_default(),
            points: cells.iter().filter_map(point).collect(),
        }
    }

    /// Everything, for programs.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let cells = self
            .cells
            .iter()
            .map(|cell| SavedCell::new(cell, &self.setting))
            .collect();
        serde_json::to_string_pretty(&SavedReport {
            rtt_ms: millis(self.setting.rtt),
            rate_bit_s: self.setting.rate_bit_s,
            congestion_control: &self.setting.congestion_control,
            runs: self.setting.runs,
            cells,
        })
    }
}

/// A size, as people write it: 1 KB is 1024 octets here.
pub(crate) fn size_name(octets: u64) -> String {
    format!("{} KB", octets / 1024)
}

#[derive(Serialize)]
struct SavedReport<'a> {
    rtt_ms: f64,
    rate_bit_s: u64,
    congestion_control: &'a str,
    runs: usize,
    cells: Vec<SavedCell>,
}

#[derive(Serialize)]
struct SavedCell {
    nodes: u8,
    body_octets: u64,
    header_octets: u64,
    first_octet_ms: SummaryMs,
    last_octet_ms: SummaryMs,
    curl_first_octet_median_ms: f64,
    curl_last_octet_median_ms: f64,
    curl_capture_difference_max_ms: f64,
    model_first_octet_ms: Option<f64>,
    model_last_octet_ms: Option<f64>,
    model_rounds: Option<u32>,
}

impl SavedCell {
    fn new(cell: &Cell, setting: &Setting) -> Self {
        let model = cell.model(setting);
        Self {
            nodes: cell.nodes,
            body_octets: cell.body_octets,
            header_octets: cell.header_octets,
            first_octet_ms: cell.ttfb.into(),
            last_octet_ms: cell.ttc.into(),
            curl_first_octet_median_ms: millis(cell.curl_ttfb),
            curl_last_octet_median_ms: millis(cell.curl_ttc),
            curl_capture_difference_max_ms: millis(cell.disagreement),
            model_first_octet_ms: model.map(|model| millis(model.first_octet)),
            model_last_octet_ms: model.map(|model| millis(model.last_octet)),
            model_rounds: model.map(|model| model.rounds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(ms: u64) -> Summary {
        Summary::of(&[Duration::from_millis(ms)]).expect("one")
    }

    fn cell(nodes: u8, ttfb: u64, ttc: u64) -> Cell {
        Cell {
            body_octets: 25 * 1024,
            header_octets: 240,
            nodes,
            ttfb: summary(ttfb),
            ttc: summary(ttc),
            curl_ttfb: Duration::from_millis(ttfb),
            curl_ttc: Duration::from_millis(ttc),
            disagreement: Duration::from_millis(u64::from(nodes)),
        }
    }

    /// Made up.
    fn synthetic() -> Report {
        Report {
            setting: Setting {
                rtt: Duration::from_millis(100),
                rate_bit_s: 100_000_000,
                congestion_control: "cubic".to_owned(),
                runs: 1,
            },
            cells: vec![cell(0, 200, 300), cell(1, 150, 200), cell(2, 133, 167)],
        }
    }

    #[test]
    fn savings_are_against_direct() {
        let csv = synthetic().table().to_csv();
        let rows: Vec<&str> = csv.lines().collect();
        assert!(
            rows[1].starts_with("25 KB,direct,200.0,,200.1"),
            "{}",
            rows[1]
        );
        assert!(rows[2].starts_with("25 KB,1 node,150.0,25.0 %,150.2,-0.2,200.0,33.3 %"));
    }

    #[test]
    fn more_than_a_millisecond_is_a_disagreement() {
        assert_eq!(synthetic().disagreeing(), 1);
    }

    #[test]
    fn saved_figures_are_milliseconds() {
        let json = synthetic().json().expect("plain data");
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(value["cells"][1]["first_octet_ms"]["median"], 150.0);
        assert_eq!(value["cells"][1]["model_rounds"], 2);
    }

    #[test]
    fn one_line_a_size() {
        assert_eq!(synthetic().chain_plot().series.len(), 1);
    }
}
