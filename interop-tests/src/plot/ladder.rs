//! The time-sequence of one flow: a vertical line for each host, time downwards, an arrow for each
//! segment from where and when it left to where and when it arrived.

use super::PlotError;
use super::canvas::{Anchor, Canvas, FAINT, Font, GREY, INK, PAPER, Stroke};
use crate::link::Heading;
use crate::stats::millis;
use plotters::style::RGBColor;
use std::time::Duration;

/// The picture's content.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// What is shown; one line.
    pub title: String,
    /// How it was measured; one line.
    pub subtitle: String,
    /// From the client to the server: leg `i` lies between hosts `i` and `i + 1`.
    pub hosts: Vec<String>,
    /// In any order.
    pub arrows: Vec<Arrow>,
}

/// One segment's way over one leg; times count from the client's SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// 0 is the client's leg.
    pub leg: usize,
    /// Which way.
    pub heading: Heading,
    /// When it left.
    pub sent: Duration,
    /// When it arrived.
    pub received: Duration,
    /// What it is.
    pub message: Message,
}

/// What a segment is to the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A SYN that carries the synhop option.
    SynWithOption,
    /// A SYN without one: the last leg's, or a direct connection's.
    Syn,
    /// A SYN-ACK that says the option was understood.
    SynAckWithReply,
    /// A SYN-ACK of a host that knows no option.
    SynAck,
    /// The handshake's end.
    Ack,
    /// The client's first data.
    Request,
    /// The server's first data.
    FirstData,
}

const WIDTH: u32 = 1700;
const HEIGHT: u32 = 1300;
/// Left, top, right, bottom of where arrows are.
const FIELD: (f64, f64, f64, f64) = (270.0, 230.0, 1540.0, 1190.0);
const HOST: Font = Font {
    size: 24.0,
    color: PAPER,
    bold: true,
};
const TICK: Font = Font {
    size: 20.0,
    color: GREY,
    bold: false,
};
const TIME: Font = Font {
    size: 18.0,
    color: INK,
    bold: false,
};
const MESSAGE_SIZE: f64 = 20.0;
/// Times in one place that are closer than this are given as one figure, others as a range.
const SAME_FIGURE: Duration = Duration::from_micros(500);

impl Message {
    fn label(self) -> &'static str {
        match self {
            Self::SynWithOption => "SYN + synhop option",
            Self::Syn => "SYN",
            Self::SynAckWithReply => "SYN-ACK + reply",
            Self::SynAck => "SYN-ACK",
            Self::Ack => "ACK",
            Self::Request => "request",
            Self::FirstData => "first data",
        }
    }

    fn color(self) -> RGBColor {
        match self {
            Self::SynWithOption | Self::Syn => RGBColor(0x1f, 0x6f, 0xb2),
            Self::SynAckWithReply | Self::SynAck => RGBColor(0x24, 0x84, 0x5c),
            Self::Ack => RGBColor(0x80, 0x8b, 0x98),
            Self::Request => RGBColor(0xc8, 0x62, 0x1b),
            Self::FirstData => RGBColor(0x8a, 0x2f, 0x6e),
        }
    }
}

impl Ladder {
    /// Draws it as an SVG.
    pub fn svg(&self) -> Result<String, PlotError> {
        let scale = Scale::of(self)?;
        let mut svg = String::new();
        let canvas = Canvas::new(&mut svg, WIDTH, HEIGHT)?;
        canvas.heading(&self.title, &self.subtitle)?;
        scale.draw_time_axis(&canvas)?;
        self.draw_hosts(&canvas, &scale)?;
        for arrow in &self.arrows {
            draw_arrow(&canvas, &scale, arrow)?;
        }
        self.draw_messages(&canvas, &scale)?;
        for host in 0..self.hosts.len() {
            self.draw_times(&canvas, &scale, host)?;
        }
        canvas.finish()?;
        Ok(svg)
    }

    fn draw_hosts(&self, canvas: &Canvas<'_>, scale: &Scale) -> Result<(), PlotError> {
        let (_, top, _, bottom) = FIELD;
        for (index, name) in self.hosts.iter().enumerate() {
            let x = scale.x(index);
            canvas.line(
                &[(x, top - 30.0), (x, bottom + 20.0)],
                Stroke {
                    color: INK,
                    width: 4,
                },
            )?;
            canvas.area((x - 80.0, top - 76.0), (x + 80.0, top - 30.0), INK)?;
            canvas.text(name, (x, top - 53.0), HOST, Anchor::Middle)?;
        }
        Ok(())
    }

    /// Names the arrows at their middles; those that go together once.
    fn draw_messages(&self, canvas: &Canvas<'_>, scale: &Scale) -> Result<(), PlotError> {
        for group in self.groups(scale.duration(MESSAGE_SIZE * 1.3)) {
            let Some(last) = group.last() else { continue };
            let label: Vec<&str> = group.iter().map(|arrow| arrow.message.label()).collect();
            let (from, to) = scale.ends(last);
            let middle = (f64::midpoint(from.0, to.0), f64::midpoint(from.1, to.1));
            let font = Font {
                size: MESSAGE_SIZE,
                color: last.message.color(),
                bold: true,
            };
            canvas.text_on_paper(&label.join(", "), middle, font)?;
        }
        Ok(())
    }

    /// Arrows by leg and heading, split where one leaves `apart` or more after the one before.
    fn groups(&self, apart: Duration) -> Vec<Vec<Arrow>> {
        let mut sorted = self.arrows.clone();
        sorted.sort_by_key(|arrow| (arrow.leg, arrow.heading == Heading::ToClient, arrow.sent));
        let together = |a: &Arrow, b: &Arrow| {
            a.leg == b.leg && a.heading == b.heading && b.sent.saturating_sub(a.sent) < apart
        };
        sorted.chunk_by(together).map(<[Arrow]>::to_vec).collect()
    }

    /// Writes when segments leave and arrive beside a host's line, each on the side of its leg.
    fn draw_times(&self, canvas: &Canvas<'_>, scale: &Scale, host: usize) -> Result<(), PlotError> {
        let (right, left): (Vec<&Arrow>, Vec<&Arrow>) = self
            .arrows
            .iter()
            .filter(|arrow| arrow.leg == host || arrow.leg + 1 == host)
            .partition(|arrow| arrow.leg == host);
        // Arrows that come and go at one time leave a wedge between them: the figure fits there.
        for (arrows, offset, anchor) in [(right, 40.0, Anchor::Start), (left, -40.0, Anchor::End)] {
            let mut times: Vec<Duration> =
                arrows.iter().map(|arrow| time_at(arrow, anchor)).collect();
            times.sort_unstable();
            let apart = scale.duration(TIME.size * 1.2);
            for place in times.chunk_by(|a, b| b.saturating_sub(*a) < apart) {
                let (Some(first), Some(last)) = (place.first(), place.last()) else {
                    continue;
                };
                let middle = f64::midpoint(scale.y(*first), scale.y(*last));
                let at = (scale.x(host) + offset, middle);
                canvas.text(&figure(*first, *last), at, TIME, anchor)?;
            }
        }
        Ok(())
    }
}

/// Milliseconds from `first` to `last`, as one figure where that says it all.
fn figure(first: Duration, last: Duration) -> String {
    if last.saturating_sub(first) < SAME_FIGURE {
        format!("{:.1}", millis(first))
    } else {
        format!("{:.1}–{:.1}", millis(first), millis(last))
    }
}

/// When a segment is at the host whose right (`Start`) or left (`End`) side its leg is.
fn time_at(arrow: &Arrow, side: Anchor) -> Duration {
    let near_client = matches!(side, Anchor::Start);
    match (arrow.heading, near_client) {
        (Heading::ToServer, true) | (Heading::ToClient, false) => arrow.sent,
        (Heading::ToServer, false) | (Heading::ToClient, true) => arrow.received,
    }
}

/// Where hosts and times are on the picture.
struct Scale {
    hosts: f64,
    /// At the bottom.
    end_ms: f64,
    /// Between two ticks.
    step_ms: f64,
}

impl Scale {
    fn of(ladder: &Ladder) -> Result<Self, PlotError> {
        let end = ladder.arrows.iter().map(|arrow| arrow.received).max();
        let end_ms = millis(end.ok_or(PlotError::Empty("no segment"))?).max(0.1);
        if ladder.hosts.len() < 2 {
            return Err(PlotError::Empty("a leg has two hosts"));
        }
        let steps = [
            0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 25.0, 50.0, 100.0, 200.0, 500.0,
        ];
        let step_ms = steps
            .into_iter()
            .find(|step| end_ms / step <= 10.0)
            .unwrap_or(end_ms);
        Ok(Self {
            hosts: f64::from(to_u32(ladder.hosts.len())),
            end_ms,
            step_ms,
        })
    }

    fn x(&self, host: usize) -> f64 {
        let (left, _, right, _) = FIELD;
        left + (right - left) * f64::from(to_u32(host)) / (self.hosts - 1.0)
    }

    fn y(&self, time: Duration) -> f64 {
        self.y_of_ms(millis(time))
    }

    fn y_of_ms(&self, ms: f64) -> f64 {
        let (_, top, _, bottom) = FIELD;
        top + (bottom - top) * ms / self.end_ms
    }

    /// The time that so many pixels stand for.
    fn duration(&self, pixels: f64) -> Duration {
        let (_, top, _, bottom) = FIELD;
        Duration::from_secs_f64(pixels * self.end_ms / (bottom - top) / 1e3)
    }

    fn ends(&self, arrow: &Arrow) -> ((f64, f64), (f64, f64)) {
        let (near, far) = (self.x(arrow.leg), self.x(arrow.leg + 1));
        let (from, to) = match arrow.heading {
            Heading::ToServer => (near, far),
            Heading::ToClient => (far, near),
        };
        ((from, self.y(arrow.sent)), (to, self.y(arrow.received)))
    }

    fn draw_time_axis(&self, canvas: &Canvas<'_>) -> Result<(), PlotError> {
        let (left, top, right, bottom) = FIELD;
        let digits = usize::from(self.step_ms < 1.0);
        let mut tick = 0.0;
        while tick <= self.end_ms + self.step_ms * 1e-6 {
            let y = self.y_of_ms(tick);
            let ends = [(left - 120.0, y), (right + 60.0, y)];
            canvas.line(
                &ends,
                Stroke {
                    color: FAINT,
                    width: 2,
                },
            )?;
            let label = format!("{tick:.digits$}");
            canvas.text(&label, (left - 132.0, y), TICK, Anchor::End)?;
            tick += self.step_ms;
        }
        canvas.text_upwards(
            "time since the client's SYN, ms",
            (60.0, f64::midpoint(top, bottom)),
            TICK,
        )
    }
}

fn draw_arrow(canvas: &Canvas<'_>, scale: &Scale, arrow: &Arrow) -> Result<(), PlotError> {
    let (from, to) = scale.ends(arrow);
    let color = arrow.message.color();
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let along = ((to.0 - from.0) / length, (to.1 - from.1) / length);
    let tip = (to.0 - along.0 * 3.0, to.1 - along.1 * 3.0);
    let base = (tip.0 - along.0 * 20.0, tip.1 - along.1 * 20.0);
    canvas.line(&[from, base], Stroke { color, width: 4 })?;
    let wing = |side: f64| (base.0 - along.1 * side, base.1 + along.0 * side);
    canvas.polygon(&[tip, wing(9.0), wing(-9.0)], color)
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(leg: usize, heading: Heading, sent_us: u64, message: Message) -> Arrow {
        let sent = Duration::from_micros(sent_us);
        Arrow {
            leg,
            heading,
            sent,
            received: sent + Duration::from_micros(12_550),
            message,
        }
    }

    /// Made up: three nodes on 100 ms, each taking 100 microseconds.
    fn synthetic() -> Ladder {
        let mut arrows = Vec::new();
        for leg in 0..4_usize {
            let last = leg == 3;
            let start = leg as u64 * 12_650;
            let syn = if last {
                Message::Syn
            } else {
                Message::SynWithOption
            };
            let syn_ack = if last {
                Message::SynAck
            } else {
                Message::SynAckWithReply
            };
            arrows.push(arrow(leg, Heading::ToServer, start, syn));
            arrows.push(arrow(leg, Heading::ToClient, start + 12_580, syn_ack));
            arrows.push(arrow(leg, Heading::ToServer, start + 25_200, Message::Ack));
            arrows.push(arrow(
                leg,
                Heading::ToServer,
                start + 25_400,
                Message::Request,
            ));
            let back = 76_300 + (3 - leg as u64) * 12_700;
            arrows.push(arrow(leg, Heading::ToClient, back, Message::FirstData));
        }
        Ladder {
            title: "One flow through three nodes: handshakes in parallel".to_owned(),
            subtitle: "synthetic figures of a test".to_owned(),
            hosts: ["client", "node 1", "node 2", "node 3", "server"]
                .map(str::to_owned)
                .to_vec(),
            arrows,
        }
    }

    #[test]
    fn every_host_and_message_is_named() {
        let svg = synthetic().svg().expect("drawn");
        for text in [
            "client",
            "node 3",
            "server",
            "SYN + synhop option",
            "ACK, request",
            "first data",
        ] {
            assert!(svg.contains(text), "no {text} in the picture");
        }
    }

    #[test]
    fn arrows_that_leave_together_share_a_label() {
        let groups = synthetic().groups(Duration::from_millis(1));
        assert_eq!(groups.len(), 4 * 4);
        assert!(groups.iter().all(|group| group.len() <= 2));
    }

    #[test]
    fn nothing_captured_is_an_error() {
        let ladder = Ladder {
            arrows: Vec::new(),
            ..synthetic()
        };
        assert!(matches!(ladder.svg(), Err(PlotError::Empty(_))));
    }

    #[test]
    fn both_files_are_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let svg = synthetic().svg().expect("drawn");
        let files = super::super::save(folder.path(), "ladder", &svg).expect("saved");
        assert!(files.png.metadata().expect("a PNG").len() > 20_000);
    }
}
