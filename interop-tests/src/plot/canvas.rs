//! What both pictures are drawn with: lines, shapes and text in pixels, on plotters' SVG backend.

use super::PlotError;
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle,
};

/// A place: pixels from the left, pixels from the top.
pub(super) type At = (f64, f64);

/// Names of fonts that one machine or another has; all of about one width.
const FONTS: &str = "Noto Sans, DejaVu Sans, Segoe UI, Helvetica, Arial, sans-serif";

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(0x22, 0x2b, 0x36);
/// What must not draw the eye.
pub(super) const GREY: RGBColor = RGBColor(0x6b, 0x77, 0x85);
/// Grid lines.
pub(super) const FAINT: RGBColor = RGBColor(0xdf, 0xe4, 0xea);
/// Behind everything.
pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// A drawing under way.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// How a text is set.
#[derive(Clone, Copy)]
pub(super) struct Font {
    /// Pixels from one line to the next, less a little: the em.
    pub(super) size: f64,
    pub(super) color: RGBColor,
    pub(super) bold: bool,
}

const TITLE: Font = Font {
    size: 34.0,
    color: INK,
    bold: true,
};
/// Subtitles, and what explains a line or colour.
pub(super) const NOTE: Font = Font {
    size: 22.0,
    color: GREY,
    bold: false,
};

/// Which point of a text its place means.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    /// The left end, at half height.
    Start,
    /// The middle.
    Middle,
    /// The right end, at half height.
    End,
}

/// A line's looks.
#[derive(Clone, Copy)]
pub(super) struct Stroke {
    pub(super) color: RGBColor,
    /// Pixels.
    pub(super) width: u32,
}

impl<'a> Canvas<'a> {
    /// A blank sheet whose SVG goes to `svg` once [`Canvas::finish`] is called.
    pub(super) fn new(svg: &'a mut String, width: u32, height: u32) -> Result<Self, PlotError> {
        let area = SVGBackend::with_string(svg, (width, height)).into_drawing_area();
        area.fill(&PAPER).map_err(draw_error)?;
        Ok(Self { area })
    }

    pub(super) fn finish(self) -> Result<(), PlotError> {
        self.area.present().map_err(draw_error)
    }

    /// What is shown and how it was measured, at the top.
    pub(super) fn heading(&self, title: &str, subtitle: &str) -> Result<(), PlotError> {
        self.text(title, (60.0, 54.0), TITLE, Anchor::Start)?;
        self.text(subtitle, (60.0, 100.0), NOTE, Anchor::Start)
    }

    /// A line through `points`; nothing where they all are one pixel.
    pub(super) fn line(&self, points: &[At], stroke: Stroke) -> Result<(), PlotError> {
        let mut points: Vec<_> = points.iter().copied().map(pixel).collect();
        points.dedup();
        if points.len() < 2 {
            return Ok(());
        }
        self.area
            .draw(&PathElement::new(points, stroke.style()))
            .map_err(draw_error)
    }

    /// A line through `points` of dashes that go on around the corners.
    pub(super) fn dashes(&self, points: &[At], stroke: Stroke) -> Result<(), PlotError> {
        for dash in dashes(points, 10.0, 8.0) {
            self.line(&dash, stroke)?;
        }
        Ok(())
    }

    pub(super) fn disc(&self, at: At, radius: u32, color: RGBColor) -> Result<(), PlotError> {
        self.area
            .draw(&Circle::new(pixel(at), radius, color.filled()))
            .map_err(draw_error)
    }

    pub(super) fn polygon(&self, points: &[At], color: RGBColor) -> Result<(), PlotError> {
        let points: Vec<_> = points.iter().copied().map(pixel).collect();
        self.area
            .draw(&Polygon::new(points, color.filled()))
            .map_err(draw_error)
    }

    pub(super) fn area(&self, from: At, to: At, color: RGBColor) -> Result<(), PlotError> {
        let corners = [pixel(from), pixel(to)];
        self.area
            .draw(&Rectangle::new(corners, color.filled()))
            .map_err(draw_error)
    }

    pub(super) fn text(
        &self,
        text: &str,
        at: At,
        font: Font,
        anchor: Anchor,
    ) -> Result<(), PlotError> {
        self.write(text, at, font, anchor, FontTransform::None)
    }

    /// Text that reads upwards, its middle at `at`.
    pub(super) fn text_upwards(&self, text: &str, at: At, font: Font) -> Result<(), PlotError> {
        self.write(text, at, font, Anchor::Middle, FontTransform::Rotate270)
    }

    /// Text around its middle, on a patch of paper that keeps lines away from it.
    pub(super) fn text_on_paper(&self, text: &str, at: At, font: Font) -> Result<(), PlotError> {
        let (half_width, half_height) = (width_of(text, font) / 2.0 + 4.0, font.size * 0.62);
        let corner = |sign: f64| (at.0 + sign * half_width, at.1 + sign * half_height);
        self.area(corner(-1.0), corner(1.0), PAPER)?;
        self.text(text, at, font, Anchor::Middle)
    }

    fn write(
        &self,
        text: &str,
        at: At,
        font: Font,
        anchor: Anchor,
        transform: FontTransform,
    ) -> Result<(), PlotError> {
        let style = if font.bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        // The backend divides sizes by 1.24.
        let desc = FontDesc::new(FontFamily::Name(FONTS), font.size * 1.24, style);
        let style = TextStyle::from(desc)
            .color(&font.color)
            .transform(transform)
            .pos(Pos::new(anchor.horizontal(), VPos::Center));
        self.area
            .draw(&Text::new(text.to_owned(), pixel(at), style))
            .map_err(draw_error)
    }
}

impl Anchor {
    fn horizontal(self) -> HPos {
        match self {
            Self::Start => HPos::Left,
            Self::Middle => HPos::Center,
            Self::End => HPos::Right,
        }
    }
}

impl Stroke {
    fn style(self) -> ShapeStyle {
        ShapeStyle {
            color: self.color.to_rgba(),
            filled: false,
            stroke_width: self.width,
        }
    }
}

/// A text's width, near enough to leave room for it: fonts differ from machine to machine.
pub(super) fn width_of(text: &str, font: Font) -> f64 {
    text.chars()
        .map(|_| font.size * if font.bold { 0.58 } else { 0.54 })
        .sum()
}

/// Moves the ascending `places` apart until each is `gap` from the next, as little as possible in
/// sum and around the same centre, so that the labels there do not overlap.
pub(super) fn spread(places: &[f64], gap: f64) -> Vec<f64> {
    // Blocks of labels that touch: (mean of where each would start the block, members).
    let mut blocks: Vec<(f64, f64)> = Vec::new();
    for place in places {
        let mut block = (*place, 1.0);
        while let Some((start, count)) = blocks.pop() {
            if start + count * gap <= block.0 {
                blocks.push((start, count));
                break;
            }
            let pulled = block.0 - count * gap;
            let members = count + block.1;
            block = ((start * count + pulled * block.1) / members, members);
        }
        blocks.push(block);
    }
    let mut out = Vec::with_capacity(places.len());
    for (start, count) in blocks {
        let mut member = 0.0;
        while member < count {
            out.push(start + member * gap);
            member += 1.0;
        }
    }
    out
}

/// Splits a line into dashes of `on` pixels with gaps of `off`.
fn dashes(points: &[At], on: f64, off: f64) -> Vec<Vec<At>> {
    let mut out = Vec::new();
    let mut current: Vec<At> = points.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, on);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        let mut length = (to.0 - from.0).hypot(to.1 - from.1);
        while length > left {
            let share = left / length;
            from = (
                from.0 + (to.0 - from.0) * share,
                from.1 + (to.1 - from.1) * share,
            );
            length -= left;
            if drawing {
                current.push(from);
                out.push(std::mem::take(&mut current));
            } else {
                current.push(from);
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
        left -= length;
        if drawing {
            current.push(to);
        }
    }
    if current.len() > 1 {
        out.push(current);
    }
    out
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "pixels of a picture; the cast saturates"
)]
fn pixel((x, y): At) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}

fn draw_error(error: impl std::fmt::Display) -> PlotError {
    PlotError::Draw(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_leaves_what_is_apart() {
        assert_eq!(spread(&[0.0, 20.0, 50.0], 10.0), [0.0, 20.0, 50.0]);
    }

    #[test]
    fn spread_parts_what_touches() {
        assert_eq!(spread(&[100.0, 100.0, 100.0], 10.0), [90.0, 100.0, 110.0]);
        assert_eq!(spread(&[0.0, 4.0, 100.0], 10.0), [-3.0, 7.0, 100.0]);
    }

    #[test]
    fn dashes_keep_their_lengths() {
        let cut = dashes(&[(0.0, 0.0), (25.0, 0.0)], 10.0, 5.0);
        assert_eq!(
            cut,
            [
                vec![(0.0, 0.0), (10.0, 0.0)],
                vec![(15.0, 0.0), (25.0, 0.0)]
            ]
        );
    }
}
