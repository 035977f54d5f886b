//! Tables of text: aligned columns for a terminal, and the same cells as CSV.

use std::fmt::{self, Write as _};

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Names.
    Left,
    /// Numbers.
    Right,
}

/// A table that grows by rows and groups.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(String, Align)>,
    groups: Vec<Vec<Vec<String>>>,
}

impl Table {
    /// An empty table with these headings.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns
            .iter()
            .map(|(name, align)| ((*name).to_owned(), *align))
            .collect();
        Self {
            columns,
            groups: vec![Vec::new()],
        }
    }

    /// Adds a row; missing cells are empty, cells beyond the headings are dropped.
    pub fn row(&mut self, mut cells: Vec<String>) {
        cells.resize(self.columns.len(), String::new());
        match self.groups.last_mut() {
            Some(group) => group.push(cells),
            None => self.groups.push(vec![cells]),
        }
    }

    /// Draws a line before what follows.
    pub fn group(&mut self) {
        self.groups.push(Vec::new());
    }

    /// The rows as comma-separated values (RFC 4180), the headings first.
    pub fn to_csv(&self) -> String {
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let rows = self.groups.iter().flatten();
        std::iter::once(&headings)
            .chain(rows)
            .map(|row| csv_line(row))
            .collect()
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |index: usize| {
            let cells = self
                .groups
                .iter()
                .flatten()
                .filter_map(|row| row.get(index));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(index, (name, _))| name.chars().count().max(widest(index)))
            .collect()
    }

    fn write_row(
        &self,
        out: &mut fmt::Formatter<'_>,
        widths: &[usize],
        cells: &[String],
    ) -> fmt::Result {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            match align {
                Align::Left => write!(line, "{cell:<width$}  ")?,
                Align::Right => write!(line, "{cell:>width$}  ")?,
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        self.write_row(out, &widths, &headings)?;
        for group in self.groups.iter().filter(|group| !group.is_empty()) {
            self.write_row(out, &widths, &rule)?;
            for row in group {
                self.write_row(out, &widths, row)?;
            }
        }
        Ok(())
    }
}

fn csv_line(cells: &[String]) -> String {
    let quoted: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
    quoted.join(",") + "\r\n"
}

fn csv_cell(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[("path", Align::Left), ("ms", Align::Right)]);
        table.row(vec!["direct".into(), "200.1".into()]);
        table.group();
        table.row(vec!["1 node".into(), "5".into()]);
        table
    }

    #[test]
    fn columns_line_up() {
        let want = "path       ms\n──────  ─────\ndirect  200.1\n──────  ─────\n1 node      5\n";
        assert_eq!(sample().to_string(), want);
    }

    #[test]
    fn csv_has_no_groups() {
        assert_eq!(sample().to_csv(), "path,ms\r\ndirect,200.1\r\n1 node,5\r\n");
    }

    #[test]
    fn csv_quotes_what_would_split() {
        assert_eq!(
            csv_line(&["a,b".into(), "say \"x\"".into()]),
            "\"a,b\",\"say \"\"x\"\"\"\r\n"
        );
    }

    #[test]
    fn short_rows_are_filled() {
        let mut table = Table::new(&[("a", Align::Left), ("b", Align::Left)]);
        table.row(vec!["1".into()]);
        assert_eq!(table.to_csv(), "a,b\r\n1,\r\n");
    }
}
