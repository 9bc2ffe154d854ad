//! TOML files laid over each other: which key was set where, and every mistake with its place.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::values::Rejection;
use crate::{KeyInfo, PolicyError, Problem, Source, ValueError};

/// Larger than any policy, small enough for a parser that keeps every token.
const MAX_BYTES: usize = 64 * 1024;
/// More would not be read.
const MAX_MISTAKES: usize = 50;
/// Keys longer than this are shortened in messages.
const MAX_SHOWN: usize = 60;

/// What the files set, and what is wrong with them. Values are taken out one by one.
pub(crate) struct Document<'a> {
    sources: &'a [Source<'a>],
    keys: &'static [KeyInfo],
    /// By full path.
    values: BTreeMap<&'static str, Located<Spanned<DeValue<'a>>>>,
    /// Where each section was seen last, for what is missing there.
    sections: BTreeMap<String, Place>,
    mistakes: Vec<Located<Problem>>,
}

/// Names a byte of one of the sources.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    source: usize,
    offset: usize,
}

struct Located<T> {
    place: Place,
    it: T,
}

impl<'a> Document<'a> {
    pub(crate) fn read(sources: &'a [Source<'a>], keys: &'static [KeyInfo]) -> Self {
        let mut document = Self {
            sources,
            keys,
            values: BTreeMap::new(),
            sections: BTreeMap::new(),
            mistakes: Vec::new(),
        };
        for (index, source) in sources.iter().enumerate() {
            document.read_source(index, source.text);
        }
        document
    }

    /// The value of `key`, which must be there. `None` leaves a mistake behind.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Spanned<DeValue<'a>>) -> Result<T, Rejection>,
    ) -> Option<T> {
        self.present(key)?;
        self.optional(key, read)
    }

    /// The value of `key`, if it is there and right. If it is wrong, that leaves a mistake behind.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Spanned<DeValue<'a>>) -> Result<T, Rejection>,
    ) -> Option<T> {
        let found = self.values.get(key)?;
        match read(&found.it) {
            Ok(value) => Some(value),
            Err(rejection) => {
                let place = Place {
                    source: found.place.source,
                    offset: rejection.span.start,
                };
                let problem = rejection.problem(key, self.example(key));
                self.mistake(place, problem);
                None
            }
        }
    }

    /// The sections of a list of sections, each to be read in turn by `read`, whose keys start with `key` too.
    pub(crate) fn sections<T>(
        &mut self,
        key: &'static str,
        limit: usize,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Vec<T> {
        let Some(Located { place, it }) = self.values.remove(key) else {
            return Vec::new();
        };
        let (example, span) = (self.example(key), it.span());
        let found = it.get_ref().type_str();
        let wrong = |found| Problem::WrongType {
            key,
            expected: "a list of sections",
            found,
            example,
        };
        let DeValue::Array(items) = it.into_inner() else {
            self.mistake(
                Place {
                    offset: span.start,
                    ..place
                },
                wrong(found),
            );
            return Vec::new();
        };
        if items.len() > limit {
            let reason = ValueError::TooLong { limit };
            self.mistake(
                place,
                Problem::BadValue {
                    key,
                    reason,
                    example,
                },
            );
            return Vec::new();
        }
        let mut sections = Vec::new();
        for item in items.iter() {
            let place = Place {
                offset: item.span().start,
                ..place
            };
            match item.get_ref() {
                DeValue::Table(table) => {
                    self.values.retain(|path, _| !within(path, key));
                    self.sections.insert(key.to_owned(), place);
                    self.read_table(place.source, key, table.clone());
                    sections.extend(read(self));
                }
                other => self.mistake(place, wrong(other.type_str())),
            }
        }
        sections
    }

    /// The same, where there must be at least one. `None` leaves a mistake behind.
    pub(crate) fn required_sections<T>(
        &mut self,
        key: &'static str,
        limit: usize,
        read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.present(key)?;
        let sections = self.sections(key, limit, read);
        // An empty list can be written, too; one with a mistake in each has been answered.
        if sections.is_empty() && !self.has_mistakes() {
            self.reject(key, ValueError::Empty);
        }
        Some(sections)
    }

    /// Whether anything was wrong until now.
    pub(crate) fn has_mistakes(&self) -> bool {
        !self.mistakes.is_empty()
    }

    /// Whether anything is said in `section`.
    pub(crate) fn mentions(&self, section: &str) -> bool {
        self.sections.contains_key(section) || self.values.keys().any(|key| within(key, section))
    }

    /// Refuses what a single value could not show, at the place of `key`, or of its section if that is not set.
    pub(crate) fn reject(&mut self, key: &'static str, reason: ValueError) {
        let place = match self.values.get(key) {
            Some(found) => Place {
                offset: found.it.span().start,
                ..found.place
            },
            None => self.section_of(key),
        };
        self.mistake(
            place,
            Problem::BadValue {
                key,
                reason,
                example: self.example(key),
            },
        );
    }

    /// What was built, if nothing was wrong; else every mistake in the order of the files.
    pub(crate) fn finish<T>(mut self, built: Option<T>) -> Result<T, Vec<PolicyError>> {
        match built {
            Some(built) if self.mistakes.is_empty() => return Ok(built),
            Some(_) | None => {}
        }
        if self.mistakes.iter().any(|mistake| unreadable(&mistake.it)) {
            // What seems to be missing may well be there.
            self.mistakes
                .retain(|mistake| !matches!(mistake.it, Problem::Missing { .. }));
        }
        self.mistakes.sort_by_key(|mistake| mistake.place);
        let hidden = self.mistakes.len().saturating_sub(MAX_MISTAKES);
        self.mistakes.truncate(MAX_MISTAKES);
        if let (1.., Some(last)) = (hidden, self.mistakes.last()) {
            let place = last.place;
            self.mistake(place, Problem::More(hidden));
        }
        Err(self
            .mistakes
            .iter()
            .map(|mistake| located(self.sources, mistake))
            .collect())
    }

    fn read_source(&mut self, index: usize, text: &'a str) {
        let start = Place {
            source: index,
            offset: 0,
        };
        if text.len() > MAX_BYTES {
            self.mistake(start, Problem::TooLarge { limit: MAX_BYTES });
            return;
        }
        self.sections.entry(String::new()).or_insert(start);
        let (table, errors) = DeTable::parse_recoverable(text);
        // After a syntax error the rest is guesswork, and complaints about it would mislead.
        if errors.is_empty() {
            self.read_table(index, "", table.into_inner());
        }
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            self.mistake(
                Place {
                    source: index,
                    offset,
                },
                Problem::Syntax(error.message().to_owned()),
            );
        }
    }

    /// Sorts what `table` holds under the known keys that start with `section`.
    fn read_table(&mut self, source: usize, section: &str, table: DeTable<'a>) {
        for (name, value) in table {
            let place = Place {
                source,
                offset: name.span().start,
            };
            let path = match section {
                "" => name.get_ref().to_string(),
                section => format!("{section}.{}", name.get_ref()),
            };
            if let Some(key) = self.keys.iter().find(|key| key.path == path) {
                self.values.insert(key.path, Located { place, it: value });
            } else if let Some(key) = self.keys.iter().find(|key| within(key.path, &path)) {
                let found = value.get_ref().type_str();
                if let DeValue::Table(inner) = value.into_inner() {
                    self.sections.insert(path.clone(), place);
                    self.read_table(source, &path, inner);
                } else {
                    let (key, example) = (&key.path[..path.len()], key.example);
                    self.mistake(
                        place,
                        Problem::WrongType {
                            key,
                            expected: "a section",
                            found,
                            example,
                        },
                    );
                }
            } else {
                let nearest = self.nearest(&path);
                self.mistake(
                    place,
                    Problem::UnknownKey {
                        key: shown(&path),
                        nearest,
                    },
                );
            }
        }
    }

    /// The known key or section that was probably meant: one of the same section with a name like it, one of the same
    /// name in another section, or one with a name like it in another section.
    fn nearest(&self, path: &str) -> Option<&'static str> {
        if path.len() > MAX_SHOWN {
            return None;
        }
        let (section, name) = parts(path);
        let likeness = |candidate: &'static str| {
            let (other_section, other) = parts(candidate);
            let names = strsim::normalized_damerau_levenshtein(other, name);
            // A slip of the finger is likelier than a slip of the section.
            if other_section == section {
                1.3 * names
            } else {
                names
            }
        };
        let keys = self.keys.iter().map(|key| key.path);
        let sections = keys.clone().map(|path| parts(path).0);
        let scored = keys
            .chain(sections)
            .filter(|candidate| !within(path, candidate))
            .map(|candidate| (likeness(candidate), candidate));
        scored
            .filter(|(score, _)| *score > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, candidate)| candidate)
    }

    /// `Some` if `key` is set. `None` leaves a mistake behind.
    fn present(&mut self, key: &'static str) -> Option<()> {
        if self.values.contains_key(key) {
            return Some(());
        }
        let (place, example) = (self.section_of(key), self.example(key));
        self.mistake(place, Problem::Missing { key, example });
        None
    }

    fn example(&self, key: &'static str) -> &'static str {
        self.keys
            .iter()
            .find(|known| known.path == key)
            .map_or("", |known| known.example)
    }

    fn section_of(&self, key: &str) -> Place {
        self.sections.get(parts(key).0).copied().unwrap_or_default()
    }

    fn mistake(&mut self, place: Place, problem: Problem) {
        self.mistakes.push(Located { place, it: problem });
    }
}

/// The section of a key, empty at the top, and its name there.
fn parts(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Whether `path` lies in `section`, at any depth.
fn within(path: &str, section: &str) -> bool {
    path.strip_prefix(section)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// Whether the problem kept the rest of a file from being read.
fn unreadable(problem: &Problem) -> bool {
    match problem {
        Problem::Syntax(_) | Problem::TooLarge { .. } => true,
        Problem::UnknownKey { .. }
        | Problem::Missing { .. }
        | Problem::WrongType { .. }
        | Problem::BadValue { .. }
        | Problem::More(_) => false,
    }
}

/// What a file may say is anything; what a message says is short and harmless to a terminal.
fn shown(text: &str) -> String {
    text.chars()
        .take(MAX_SHOWN)
        .flat_map(char::escape_debug)
        .collect()
}

fn located(sources: &[Source<'_>], mistake: &Located<Problem>) -> PolicyError {
    let Place { source, offset } = mistake.place;
    let (file, text) = sources
        .get(source)
        .map_or(("policy.toml", ""), |source| (source.file, source.text));
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    PolicyError {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        problem: mistake.it.clone(),
    }
}

/// A byte range of the text a value came from.
pub(crate) type TextRange = Range<usize>;
