//! What the run came to, as tables in Markdown that a terminal shows as well.

use std::fmt::Write;

use super::cable::Setting;
use super::contestant::{AEAD, OURS};
use super::limits::{Bound, Limit};
use super::record::{Figure, Part, Record};

/// A column: a median, or ours divided by it.
struct Column {
    heading: &'static str,
    part: Part,
    figure: Figure,
    show: Show,
}

#[derive(Clone, Copy)]
enum Show {
    /// Divided by the first, with so many digits after the point.
    Value(f64, usize),
    /// Ours divided by theirs.
    Ratio,
}

const fn column(heading: &'static str, part: Part, figure: Figure, show: Show) -> Column {
    Column {
        heading,
        part,
        figure,
        show,
    }
}

const TCP: &[Column] = &[
    column(
        "Gbit/s",
        Part::Tcp,
        Figure::GigabitsPerSecond,
        Show::Value(1.0, 2),
    ),
    column("ours /", Part::Tcp, Figure::GigabitsPerSecond, Show::Ratio),
    column(
        "CPU-s/GB out",
        Part::Tcp,
        Figure::CpuPerGbSender,
        Show::Value(1.0, 2),
    ),
    column(
        "in",
        Part::Tcp,
        Figure::CpuPerGbReceiver,
        Show::Value(1.0, 2),
    ),
    column("both", Part::Tcp, Figure::CpuPerGb, Show::Value(1.0, 2)),
    column("ours /", Part::Tcp, Figure::CpuPerGb, Show::Ratio),
    column(
        "machine",
        Part::Tcp,
        Figure::CpuPerGbMachine,
        Show::Value(1.0, 2),
    ),
];

const MORE_TCP: &[Column] = &[
    column(
        "4 streams Gbit/s",
        Part::TcpFour,
        Figure::GigabitsPerSecond,
        Show::Value(1.0, 2),
    ),
    column(
        "CPU-s/GB",
        Part::TcpFour,
        Figure::CpuPerGb,
        Show::Value(1.0, 2),
    ),
    column(
        "reverse Gbit/s",
        Part::TcpReverse,
        Figure::GigabitsPerSecond,
        Show::Value(1.0, 2),
    ),
    column(
        "CPU-s/GB",
        Part::TcpReverse,
        Figure::CpuPerGb,
        Show::Value(1.0, 2),
    ),
    column(
        "both ways Gbit/s",
        Part::TcpBoth,
        Figure::GigabitsPerSecond,
        Show::Value(1.0, 2),
    ),
    column(
        "CPU-s/GB",
        Part::TcpBoth,
        Figure::CpuPerGb,
        Show::Value(1.0, 2),
    ),
];

const PACKETS: &[Column] = &[
    column(
        "64 B, 1,000/s",
        Part::Udp64,
        Figure::PacketsPerSecond,
        Show::Value(1e3, 0),
    ),
    column("ours /", Part::Udp64, Figure::PacketsPerSecond, Show::Ratio),
    column(
        "CPU us",
        Part::Udp64,
        Figure::CpuPerPacket,
        Show::Value(1.0, 2),
    ),
    column(
        "1,400 B, 1,000/s",
        Part::Udp1400,
        Figure::PacketsPerSecond,
        Show::Value(1e3, 0),
    ),
    column(
        "CPU us",
        Part::Udp1400,
        Figure::CpuPerPacket,
        Show::Value(1.0, 2),
    ),
    column("echo p50 us", Part::Echo, Figure::P50, Show::Value(1.0, 0)),
    column("p99", Part::Echo, Figure::P99, Show::Value(1.0, 0)),
    column(
        "loaded p50 us",
        Part::EchoLoaded,
        Figure::P50,
        Show::Value(1.0, 0),
    ),
    column("p99", Part::EchoLoaded, Figure::P99, Show::Value(1.0, 0)),
    column(
        "peak MiB",
        Part::Memory,
        Figure::PeakMemory,
        Show::Value(1.0, 1),
    ),
];

const IDLE: &[Column] = &[
    column(
        "wake-ups/s",
        Part::Idle,
        Figure::WakeUps,
        Show::Value(1.0, 2),
    ),
    column("MiB", Part::Idle, Figure::Memory, Show::Value(1.0, 1)),
];

const SEALING: &[Column] = &[
    column("seal ns", Part::Aead, Figure::Seal, Show::Value(1.0, 0)),
    column("open ns", Part::Aead, Figure::Open, Show::Value(1.0, 0)),
    column(
        "CPU-s/GB, both",
        Part::Aead,
        Figure::CpuPerGb,
        Show::Value(1.0, 2),
    ),
];

/// All tables of a run, and its limits.
pub fn show(record: &Record, settings: &[Setting], limits: &[Limit]) -> String {
    let mut text = String::new();
    for &setting in settings {
        let name = setting.name();
        for (title, columns) in [
            (format!("TCP, one stream, {name} cable"), TCP),
            (format!("TCP, other loads, {name} cable"), MORE_TCP),
            (
                format!("Packets, round trips, memory, {name} cable"),
                PACKETS,
            ),
            (
                format!("AEAD alone, 1,420 bytes, beside the {name} cable"),
                SEALING,
            ),
        ] {
            text += &table(record, setting, &title, columns);
        }
    }
    text += &table(record, Setting::Default, "Without traffic", IDLE);
    if !limits.is_empty() {
        let rows = limits.iter().map(|limit| {
            let (sign, bound) = match limit.bound {
                Bound::AtMost(bound) => ("at most", bound),
                Bound::AtLeast(bound) => ("at least", bound),
            };
            vec![
                limit.setting.name().to_owned(),
                limit.what.clone(),
                format!("{:.2}", limit.value),
                format!("{sign} {bound}"),
                if limit.is_met { "met" } else { "NOT MET" }.to_owned(),
            ]
        });
        let headings = ["cable", "limit", "value", "bound", ""]
            .map(str::to_owned)
            .to_vec();
        text += &lay_out("Limits", std::iter::once(headings).chain(rows).collect());
    }
    text
}

/// The contestants with anything to show as rows; nothing if there are none.
fn table(record: &Record, setting: Setting, title: &str, columns: &[Column]) -> String {
    let median =
        |name: &str, column: &Column| record.median(setting, name, column.part, column.figure);
    let columns: Vec<&Column> = columns
        .iter()
        .filter(|column| {
            let mut names = record.contestants().into_iter();
            names.any(|name| median(name, column).is_some())
        })
        .collect();
    let cell = |name: &str, column: &Column| -> String {
        let value = match column.show {
            Show::Value(unit, digits) => {
                median(name, column).map(|value| format!("{:.digits$}", value / unit))
            }
            Show::Ratio if name == OURS || name == AEAD => None,
            Show::Ratio => median(OURS, column)
                .zip(median(name, column))
                .map(|(ours, theirs)| format!("{:.2}", ours / theirs)),
        };
        value.unwrap_or_default()
    };
    let mut rows = vec![
        std::iter::once(String::new())
            .chain(columns.iter().map(|column| column.heading.to_owned()))
            .collect::<Vec<_>>(),
    ];
    for name in record.contestants() {
        let cells: Vec<String> = columns.iter().map(|column| cell(name, column)).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
        }
    }
    if rows.len() == 1 {
        return String::new();
    }
    lay_out(title, rows)
}

/// Rows, the headings first, as a Markdown table whose columns line up.
fn lay_out(title: &str, rows: Vec<Vec<String>>) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = format!("\n{title}\n\n");
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(text, "| {cell:<width$} ");
        }
        text += "|\n";
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{:-<1$}", "", width + 2);
            }
            text += "|\n";
        }
    }
    text
}
