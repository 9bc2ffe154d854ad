//! What the run came to, as a picture for the documentation.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::cable::Setting;
use super::contestant::AEAD;
use super::record::{Figure, Part, Record};
use super::{Plan, limits};

const WIDTH: u32 = 960;
const PANEL_HEIGHT: u32 = 250;

/// Darker first: the sender's share, then the receiver's; the floor's are the forwarder's and the cipher's.
const SHADES: [RGBColor; 2] = [RGBColor(0x1f, 0x5f, 0x8b), RGBColor(0x8f, 0xb8, 0xd4)];

/// A bar of up to two pieces, with the number that is written behind it. Medians of pieces need not sum to it.
struct Bar {
    name: String,
    pieces: [f64; 2],
    number: f64,
}

/// Writes an SVG with CPU time and throughput of one TCP stream, a column for each cable.
pub fn draw(plan: &Plan, record: &Record, path: &Path) -> Result<()> {
    let root = SVGBackend::new(path, (WIDTH, 2 * PANEL_HEIGHT)).into_drawing_area();
    drawn(root.fill(&WHITE))?;
    let rows = root.split_evenly((2, 1));
    let titles = ["CPU seconds per GB, sender and receiver", "Gbit/s"];
    for ((row, title), bars_of) in rows.iter().zip(titles).zip([costs, speeds]) {
        let bars: Vec<(Setting, Vec<Bar>)> = plan
            .settings
            .iter()
            .map(|&setting| (setting, bars_of(record, setting)))
            .collect();
        // One scale for a row, so that the columns can be compared.
        let all = bars.iter().flat_map(|(_, bars)| bars);
        let longest = all
            .map(|bar| bar.pieces.iter().sum())
            .fold(f64::MIN_POSITIVE, f64::max);
        let panels = row.split_evenly((1, bars.len()));
        for (area, (setting, bars)) in panels.iter().zip(&bars) {
            let title = format!("{title}, {} cable", setting.name());
            panel(area, &title, bars, longest)?;
        }
    }
    drawn(root.present())
}

/// What each costs, and the floor first.
fn costs(record: &Record, setting: Setting) -> Vec<Bar> {
    let median = |name: &str, part, figure| record.median(setting, name, part, figure);
    let floor = limits::floor(record, setting)
        .zip(median(AEAD, Part::Aead, Figure::CpuPerGb))
        .map(|(floor, cipher)| Bar {
            name: "forwarder + AEAD".to_owned(),
            pieces: [floor - cipher, cipher],
            number: floor,
        });
    let cost_of = |name: &str| -> Option<Bar> {
        let sender = median(name, Part::Tcp, Figure::CpuPerGbSender)?;
        let receiver = median(name, Part::Tcp, Figure::CpuPerGbReceiver)?;
        Some(Bar {
            name: name.to_owned(),
            pieces: [sender, receiver],
            number: median(name, Part::Tcp, Figure::CpuPerGb)?,
        })
    };
    let names = record.contestants();
    let costs = names.iter().filter_map(|name| cost_of(name));
    floor.into_iter().chain(costs).collect()
}

/// How fast each is.
fn speeds(record: &Record, setting: Setting) -> Vec<Bar> {
    let names = record.contestants();
    let speed_of = |name: &&str| -> Option<Bar> {
        let speed = record.median(setting, name, Part::Tcp, Figure::GigabitsPerSecond)?;
        Some(Bar {
            name: (*name).to_owned(),
            pieces: [speed, 0.0],
            number: speed,
        })
    };
    names.iter().filter_map(speed_of).collect()
}

/// Horizontal bars from top to bottom, each with its sum.
fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    bars: &[Bar],
    longest: f64,
) -> Result<()> {
    let count = bars.len();
    let mut chart = drawn(
        ChartBuilder::on(area)
            .caption(title, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(24)
            .y_label_area_size(120)
            // Room for the number behind the longest bar.
            .build_cartesian_2d(
                0.0..1.15 * longest,
                (0..count.saturating_sub(1)).into_segmented(),
            ),
    )?;
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(row) => bars
            .get(count - 1 - row)
            .map_or_else(String::new, |bar| bar.name.clone()),
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    drawn(
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .y_labels(count)
            .y_label_formatter(&name)
            .label_style(("sans-serif", 13))
            .draw(),
    )?;
    for (place, bar) in bars.iter().enumerate() {
        let row = count - 1 - place;
        let next = if row + 1 == count {
            SegmentValue::Last
        } else {
            SegmentValue::Exact(row + 1)
        };
        let mut from = 0.0;
        for (piece, shade) in bar.pieces.iter().zip(SHADES) {
            let corners = [
                (from, SegmentValue::Exact(row)),
                (from + piece, next.clone()),
            ];
            let mut shape = Rectangle::new(corners, shade.filled());
            shape.set_margin(3, 3, 0, 0);
            drawn(chart.draw_series([shape]))?;
            from += piece;
        }
        let style = ("sans-serif", 13)
            .into_text_style(area)
            .pos(Pos::new(HPos::Left, VPos::Center));
        let sum = Text::new(
            format!(" {:.2}", bar.number),
            (from, SegmentValue::CenterOf(row)),
            style,
        );
        drawn(chart.draw_series([sum]))?;
    }
    Ok(())
}

/// The plotting library's errors borrow what they speak of.
fn drawn<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T> {
    result.map_err(|error| anyhow!("the plot: {error}"))
}
