//! `sluss doctor`: one line for each check, what to do under those that are not as they should be, and whom to call.

use sluss_ipc::doctor::{Diagnosis, Finding, Verdict};

use super::finish;
use crate::{
    paint::{Mood, Paint},
    text::{Text, doctor::Cure},
};

pub(crate) fn doctor(diagnosis: &Diagnosis, text: &dyn Text, paint: Paint) -> String {
    let count = |verdict| {
        let findings = diagnosis.findings.iter();
        findings.filter(|it| it.verdict == verdict).count()
    };
    let width = |cells: &mut dyn Iterator<Item = &'static str>| {
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let findings = || diagnosis.findings.iter();
    let columns = (
        width(&mut findings().map(|it| text.verdict(it.verdict))),
        width(&mut findings().map(|it| it.check.code())),
    );
    let mut lines = Vec::new();
    for finding in &diagnosis.findings {
        lines.push(line(finding, columns, text, paint));
        let Cure { user, it } = text.cure(&finding.seen);
        let indent = " ".repeat(columns.0 + columns.1 + 4);
        lines.extend(user.map(|what| format!("{indent}{} {what}", text.to_the_user())));
        lines.extend(it.map(|what| format!("{indent}{} {what}", text.to_it())));
    }
    let failed = count(Verdict::Failed);
    lines.push(String::new());
    lines.push(text.doctor_summary(failed, count(Verdict::Warning)));
    let support = diagnosis.support.as_ref().filter(|_| failed > 0);
    lines.extend(support.into_iter().flat_map(|it| text.support(it)));
    finish(&lines)
}

fn line(finding: &Finding, columns: (usize, usize), text: &dyn Text, paint: Paint) -> String {
    let word = text.verdict(finding.verdict);
    let padding = " ".repeat(columns.0 - word.chars().count());
    let word = match finding.verdict {
        Verdict::Ok => paint.apply(Mood::Good, word),
        Verdict::Warning => paint.apply(Mood::Changing, word),
        Verdict::Failed => paint.apply(Mood::Bad, word),
        Verdict::NotApplicable | Verdict::NotRun => word.to_owned(),
    };
    format!(
        "{word}{padding}  {:2$}  {}",
        finding.check.code(),
        text.seen(&finding.seen),
        columns.1
    )
}

#[cfg(test)]
mod tests;
