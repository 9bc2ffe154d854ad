//! What the run came to, as a picture for the documentation.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Plan;
use super::contestant::AEAD;
use super::record::{Figure, Part, Record};

const WIDTH: u32 = 960;
const PANEL_HEIGHT: u32 = 250;

/// Darker first: the sender's share, then the receiver's; the floor's are the forwarder's and the cipher's.
const SHADES: [RGBColor; 2] = [RGBColor(0x1f, 0x5f, 0x8b), RGBColor(0x8f, 0xb8, 0xd4)];

/// A bar of up to two pieces.
type Bar = (String, [f64; 2]);

/// Writes an SVG with CPU time and throughput of one TCP stream, a column for each cable.
pub fn draw(plan: &Plan, record: &Record, path: &Path) -> Result<()> {
    let root = SVGBackend::new(path, (WIDTH, 2 * PANEL_HEIGHT)).into_drawing_area();
    drawn(root.fill(&WHITE))?;
    let panels = root.split_evenly((2, plan.settings.len()));
    let (costs, speeds) = panels.split_at(plan.settings.len());
    for ((&setting, cost), speed) in plan.settings.iter().zip(costs).zip(speeds) {
        let median = |name: &str, part, figure| record.median(setting, name, part, figure);
        let floor = super::limits::floor(record, setting)
            .zip(median(AEAD, Part::Aead, Figure::CpuPerGb))
            .map(|(floor, cipher)| ("forwarder + AEAD".to_owned(), [floor - cipher, cipher]));
        let cost_of = |name: &str| -> Option<Bar> {
            let sender = median(name, Part::Tcp, Figure::CpuPerGbSender)?;
            let receiver = median(name, Part::Tcp, Figure::CpuPerGbReceiver)?;
            Some((name.to_owned(), [sender, receiver]))
        };
        let speed_of = |name: &str| -> Option<Bar> {
            Some((
                name.to_owned(),
                [median(name, Part::Tcp, Figure::GigabitsPerSecond)?, 0.0],
            ))
        };
        let names = record.contestants();
        let title = |what: &str| format!("{what}, {} cable", setting.name());
        let bars: Vec<Bar> = floor
            .into_iter()
            .chain(names.iter().filter_map(|name| cost_of(name)))
            .collect();
        panel(
            cost,
            &title("CPU seconds per GB, sender and receiver"),
            &bars,
        )?;
        let bars: Vec<Bar> = names.iter().filter_map(|name| speed_of(name)).collect();
        panel(speed, &title("Gbit/s"), &bars)?;
    }
    drawn(root.present())
}

/// Horizontal bars from top to bottom, each with its sum.
fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    bars: &[Bar],
) -> Result<()> {
    let longest = bars
        .iter()
        .map(|(_, pieces)| pieces.iter().sum())
        .fold(0.0, f64::max);
    let count = bars.len();
    let mut chart = drawn(
        ChartBuilder::on(area)
            .caption(title, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(24)
            .y_label_area_size(120)
            // Room for the number behind the longest bar.
            .build_cartesian_2d(
                0.0..1.15 * longest.max(1e-9),
                (0..count.saturating_sub(1)).into_segmented(),
            ),
    )?;
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(row) => bars
            .get(count - 1 - row)
            .map_or_else(String::new, |bar| bar.0.clone()),
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
    for (number, (_, pieces)) in bars.iter().enumerate() {
        let row = count - 1 - number;
        let next = if row + 1 == count {
            SegmentValue::Last
        } else {
            SegmentValue::Exact(row + 1)
        };
        let mut from = 0.0;
        for (piece, shade) in pieces.iter().zip(SHADES) {
            let corners = [
                (from, SegmentValue::Exact(row)),
                (from + piece, next.clone()),
            ];
            let mut bar = Rectangle::new(corners, shade.filled());
            bar.set_margin(3, 3, 0, 0);
            drawn(chart.draw_series([bar]))?;
            from += piece;
        }
        let style = ("sans-serif", 13)
            .into_text_style(area)
            .pos(Pos::new(HPos::Left, VPos::Center));
        let sum = Text::new(
            format!(" {from:.2}"),
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
