//! Edits a text: appends, inserts, and replaces a passage or a Markdown section.
//!
//! A text keeps its line endings: what is inserted gets those of the text. The REST API does the
//! same in a batch; `tests/vectors/text-edits.json` holds both to the same results.

use std::borrow::Cow;
use std::ops::Range;

use super::headings::{Heading, headings};

/// Where the new text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// To the end, on a line of its own.
    Append,
    /// To the beginning, on a line of its own.
    Prepend,
    /// In place of the only occurrence of this passage.
    Replace(&'a str),
    /// Directly behind the only occurrence of this passage.
    InsertAfter(&'a str),
    /// In place of what is below this Markdown heading, up to the next one of its level or above.
    ReplaceSection(&'a str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    pub text: String,
    /// What is new in it.
    pub changed: Range<usize>,
}

/// Why a text was not edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// The passage does not occur. A line that resembles it, if there is one.
    NotFound {
        nearest: Option<String>,
    },
    NotUnique {
        count: usize,
    },
    /// The headings that there are, up to [`MAX_LISTED`].
    NoSection {
        headings: Vec<String>,
    },
    /// The numbers of the lines with this heading, up to [`MAX_LISTED`].
    SectionNotUnique {
        count: usize,
        lines: Vec<usize>,
    },
}

/// The most headings or lines that an error lists.
const MAX_LISTED: usize = 12;

/// The most characters of a line or heading that an error quotes.
const MAX_QUOTED: usize = 120;

pub fn apply(old: &str, edit: Edit<'_>, text: &str) -> Result<Edited, EditError> {
    let text = &*with_line_endings_of(old, text);
    let line_end = if is_crlf(old) { "\r\n" } else { "\n" };
    let is_line_end = |c: char| c == '\n' || c == '\r';
    match edit {
        Edit::Append => {
            let joined =
                old.is_empty() || old.ends_with(is_line_end) || text.starts_with(is_line_end);
            let between = if joined { "" } else { line_end };
            Ok(replaced(old, old.len()..old.len(), [between, text, ""]))
        }
        Edit::Prepend => {
            let joined =
                old.is_empty() || old.starts_with(is_line_end) || text.ends_with(is_line_end);
            let between = if joined { "" } else { line_end };
            Ok(replaced(old, 0..0, ["", text, between]))
        }
        Edit::Replace(find) => Ok(replaced(old, only(old, find)?, ["", text, ""])),
        Edit::InsertAfter(find) => {
            let end = only(old, find)?.end;
            Ok(replaced(old, end..end, ["", text, ""]))
        }
        Edit::ReplaceSection(heading) => {
            let (found, end) = section(old, heading)?;
            Ok(with_section(old, found, end, text, line_end))
        }
    }
}

/// `old` with `pieces` in place of a part. The second piece is what counts as changed.
fn replaced(old: &str, part: Range<usize>, pieces: [&str; 3]) -> Edited {
    let before = old.get(..part.start).unwrap_or_default();
    let after = old.get(part.end..).unwrap_or_default();
    let [lead, text, tail] = pieces;
    let begin = before.len() + lead.len();
    Edited {
        text: [before, lead, text, tail, after].concat(),
        changed: begin..begin + text.len(),
    }
}

/// The only occurrence of a passage.
fn only(old: &str, find: &str) -> Result<Range<usize>, EditError> {
    let converted = with_line_endings_of(old, find);
    let found = [find, &converted]
        .into_iter()
        .find_map(|find| Some((old.find(find)?, find)));
    let Some((begin, find)) = found else {
        return Err(EditError::NotFound {
            nearest: nearest_line(old, find),
        });
    };
    // Occurrences may overlap, which `matches` does not count.
    let second = find.chars().next().map_or(0, char::len_utf8);
    let rest = old.get(begin + second..).unwrap_or_default();
    if rest.contains(find) {
        let count = old.matches(find).count().max(2);
        return Err(EditError::NotUnique { count });
    }
    Ok(begin..begin + find.len())
}

/// The only heading that is meant, and the end of its section.
fn section<'a>(old: &'a str, wanted: &str) -> Result<(Heading<'a>, usize), EditError> {
    let wanted = wanted.trim();
    let parsed = headings(wanted).next();
    let level = parsed.map(|heading| heading.level);
    let title = parsed.map_or(wanted, |heading| heading.title);
    let of_level = |heading: &Heading<'_>| level.is_none_or(|level| level == heading.level);
    let exact = |heading: &Heading<'_>| of_level(heading) && heading.title == title;
    let lower = title.to_lowercase();
    let alike = |heading: &Heading<'_>| {
        of_level(heading)
            && heading.title.len() < 4 * lower.len() + 4
            && heading.title.to_lowercase() == lower
    };
    let found = sole(headings(old).filter(exact))
        .or_else(|| sole(headings(old).filter(alike)))
        .unwrap_or_else(|| {
            let shown = headings(old).take(MAX_LISTED);
            let headings = shown.map(|heading| quoted(heading.line.trim())).collect();
            Err(EditError::NoSection { headings })
        })?;
    let mut after = headings(old).skip_while(|heading| heading.begin <= found.begin);
    let next = after.find(|heading| heading.level <= found.level);
    Ok((found, next.map_or(old.len(), |next| next.begin)))
}

/// The only one of several headings, or the error that there are more. `None` without any.
fn sole<'a>(
    mut headings: impl Iterator<Item = Heading<'a>>,
) -> Option<Result<Heading<'a>, EditError>> {
    let first = headings.next()?;
    let (mut count, mut lines) = (1, vec![first.number]);
    for other in headings {
        count += 1;
        if lines.len() < MAX_LISTED {
            lines.push(other.number);
        }
    }
    Some(match count {
        1 => Ok(first),
        _ => Err(EditError::SectionNotUnique { count, lines }),
    })
}

/// `old` with another text below a heading. The blank lines at both ends of the section stay.
fn with_section(old: &str, heading: Heading<'_>, end: usize, text: &str, line_end: &str) -> Edited {
    let blank = |c: char| c == '\n' || c == '\r';
    let body_begin = heading.begin + heading.line.len();
    let body = old.get(body_begin..end).unwrap_or_default();
    // Models repeat the heading at times.
    let repeated = headings(text)
        .next()
        .filter(|first| first.begin == 0)
        .filter(|first| first.level == heading.level && first.title == heading.title);
    let text = text
        .get(repeated.map_or(0, |first| first.line.len())..)
        .unwrap_or_default()
        .trim_matches(blank);
    let lead_length = body.len() - body.trim_start_matches(blank).len();
    let (lead, rest) = body.split_at_checked(lead_length).unwrap_or((body, ""));
    let tail = rest
        .get(rest.trim_end_matches(blank).len()..)
        .unwrap_or_default();
    let lead = match (heading.line.ends_with(blank), lead) {
        (false, "") => line_end,
        _ => lead,
    };
    // Something that follows begins on a line of its own.
    let tail = if tail.is_empty() && !text.is_empty() && end < old.len() {
        line_end
    } else {
        tail
    };
    replaced(old, body_begin..end, [lead, text, tail])
}

/// Whether all lines of a text end in CR LF.
fn is_crlf(text: &str) -> bool {
    let mut ends = memchr::memchr_iter(b'\n', text.as_bytes()).peekable();
    let is_pair = |at: usize| at > 0 && text.as_bytes().get(at - 1) == Some(&b'\r');
    ends.peek().is_some() && ends.all(is_pair)
}

/// `text` with the line endings that `old` has throughout.
fn with_line_endings_of<'a>(old: &str, text: &'a str) -> Cow<'a, str> {
    if is_crlf(old) {
        let unix = text.replace("\r\n", "\n");
        Cow::Owned(unix.replace('\n', "\r\n"))
    } else if text.contains("\r\n") && !old.contains('\r') && old.contains('\n') {
        Cow::Owned(text.replace("\r\n", "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The line that shares the most words with a passage that does not occur, if it shares half.
fn nearest_line(old: &str, find: &str) -> Option<String> {
    // The first line of a passage identifies it, and its first words suffice.
    let wanted: Vec<String> = words(find.trim_start().lines().next()?)
        .take(MAX_WORDS)
        .collect();
    let score = |line: &str| {
        let line: Vec<String> = words(line).take(4 * MAX_WORDS).collect();
        wanted.iter().filter(|word| line.contains(word)).count()
    };
    let scored = old.lines().map(|line| (score(line), line));
    // Of several, the first.
    let (score, line) = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (score > 0 && 2 * score >= wanted.len()).then(|| quoted(line.trim()))
}

/// The most words of a passage that are compared.
const MAX_WORDS: usize = 16;

fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn edited(old: &str, edit: Edit<'_>, text: &str) -> String {
        let edited = apply(old, edit, text).unwrap();
        assert!(edited.text.get(edited.changed.clone()).is_some());
        edited.text
    }

    #[test]
    fn adds_lines_at_both_ends() {
        for (old, text, appended, prepended) in [
            ("", "a", "a", "a"),
            ("a", "b", "a\nb", "b\na"),
            ("a\n", "b", "a\nb", "b\na\n"),
            ("a", "b\n", "a\nb\n", "b\na"),
            ("a", "\nb", "a\nb", "\nb\na"),
            ("a\r\nb", "c\nd", "a\r\nb\r\nc\r\nd", "c\r\nd\r\na\r\nb"),
            ("a\nb\n", "c\r\nd", "a\nb\nc\nd", "c\nd\na\nb\n"),
        ] {
            assert_eq!(
                edited(old, Edit::Append, text),
                appended,
                "{old:?} + {text:?}"
            );
            assert_eq!(
                edited(old, Edit::Prepend, text),
                prepended,
                "{text:?} + {old:?}"
            );
        }
    }

    #[test]
    fn replaces_the_only_occurrence() {
        let old = "one two\r\nthree\r\n";
        assert_eq!(edited(old, Edit::Replace("two"), "2"), "one 2\r\nthree\r\n");
        assert_eq!(
            edited(old, Edit::Replace("two\nthree"), "2\n3"),
            "one 2\r\n3\r\n"
        );
        assert_eq!(edited(old, Edit::Replace("two\r\n"), ""), "one three\r\n");
        assert_eq!(
            edited(old, Edit::InsertAfter("two"), "!"),
            "one two!\r\nthree\r\n"
        );
        assert_eq!(
            edited("a\r\nb\nc", Edit::Replace("a\r\nb\n"), "x\n"),
            "x\nc"
        );
    }

    #[test]
    fn refuses_a_passage_that_does_not_occur_once() {
        let refused = |old, find| apply(old, Edit::Replace(find), "x").unwrap_err();
        assert_eq!(refused("ab ab ab", "ab"), EditError::NotUnique { count: 3 });
        assert_eq!(refused("aaa", "aa"), EditError::NotUnique { count: 2 });
        assert_eq!(refused("éé", "é"), EditError::NotUnique { count: 2 });
        let nearest = |old, find| match refused(old, find) {
            EditError::NotFound { nearest } => nearest,
            error => panic!("{error:?}"),
        };
        let old = "Intro\n  - Buy milk and eggs\n- Call Ada";
        assert_eq!(
            nearest(old, "- buy Milk and bread"),
            Some("- Buy milk and eggs".to_owned())
        );
        assert_eq!(nearest(old, "something else"), None);
        assert_eq!(nearest(old, "…"), None);
        assert_eq!(nearest("", "a"), None);
        let long = format!("word {}", "x".repeat(1000));
        assert_eq!(
            nearest(&long, "Word!").map(|line| line.chars().count()),
            Some(121)
        );
    }

    #[test]
    fn replaces_what_is_below_a_heading() {
        let old = "# A\n\nintro\n\n## Plan\n\nold\nlines\n\n### Sub\nx\n\n## Rest\ny\n";
        let plan = "# A\n\nintro\n\n## Plan\n\nnew\n\n## Rest\ny\n";
        for heading in ["Plan", "## Plan", "## Plan ##", "plan", " Plan "] {
            assert_eq!(
                edited(old, Edit::ReplaceSection(heading), "new\n"),
                plan,
                "{heading}"
            );
        }
        assert_eq!(
            edited(old, Edit::ReplaceSection("Plan"), "## Plan\n\nnew"),
            plan
        );
        assert_eq!(
            edited(old, Edit::ReplaceSection("Rest"), "z"),
            old.replace("\ny\n", "\nz\n")
        );
        assert_eq!(
            edited(old, Edit::ReplaceSection("Sub"), ""),
            "# A\n\nintro\n\n## Plan\n\nold\nlines\n\n### Sub\n\n\n## Rest\ny\n"
        );
        assert_eq!(
            edited(old, Edit::ReplaceSection("A"), "new"),
            "# A\n\nnew\n"
        );
        assert_eq!(edited("# A", Edit::ReplaceSection("A"), "new"), "# A\nnew");
        assert_eq!(
            edited("# A\n# B", Edit::ReplaceSection("A"), "new"),
            "# A\nnew\n# B"
        );
        assert_eq!(
            edited("# A\n", Edit::ReplaceSection("A"), "new"),
            "# A\nnew"
        );
        assert_eq!(
            edited(
                "# A\r\n\r\nx\r\n\r\n# B\r\n",
                Edit::ReplaceSection("A"),
                "y\nz"
            ),
            "# A\r\n\r\ny\r\nz\r\n\r\n# B\r\n"
        );
    }

    #[test]
    fn headings_in_code_are_no_headings() {
        let old = "# A\n```sh\n# B\n```\ntext\n~~~~\n# C\n~~~\n# D\n~~~~\n# B\nend\n";
        assert_eq!(
            edited(old, Edit::ReplaceSection("B"), "new"),
            old.replace("end\n", "new\n")
        );
        assert_eq!(
            edited(old, Edit::ReplaceSection("A"), "x"),
            "# A\nx\n# B\nend\n"
        );
    }

    #[test]
    fn refuses_a_heading_that_is_not_there_once() {
        let refused = |old, heading| apply(old, Edit::ReplaceSection(heading), "x").unwrap_err();
        let old = "# A\n## A\n# A\ntext";
        assert_eq!(
            refused(old, "# A"),
            EditError::SectionNotUnique {
                count: 2,
                lines: vec![1, 3]
            }
        );
        assert_eq!(
            refused(old, "A"),
            EditError::SectionNotUnique {
                count: 3,
                lines: vec![1, 2, 3]
            }
        );
        assert_eq!(
            edited(old, Edit::ReplaceSection("## A"), "x"),
            "# A\n## A\nx\n# A\ntext"
        );
        assert_eq!(
            refused(old, "B"),
            EditError::NoSection {
                headings: vec!["# A".into(), "## A".into(), "# A".into()]
            }
        );
        let many = "# x\n".repeat(100_000);
        assert!(
            matches!(refused(&many, "y"), EditError::NoSection { headings } if headings.len() == 12)
        );
        assert!(matches!(
            refused(&many, "x"),
            EditError::SectionNotUnique { count: 100_000, lines } if lines.len() == 12
        ));
    }

    /// A case of the vectors, and what comes of it: a text, or the number of places.
    fn outcome(vector: &Value) -> Value {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        let (find, heading) = (text("find"), text("heading"));
        let edit = match text("operation") {
            "append" => Edit::Append,
            "prepend" => Edit::Prepend,
            "replace" => Edit::Replace(find),
            "insert_after" => Edit::InsertAfter(find),
            _ => Edit::ReplaceSection(heading),
        };
        match apply(text("text"), edit, text("new")) {
            Ok(edited) => json!({"want": edited.text}),
            Err(EditError::NotUnique { count } | EditError::SectionNotUnique { count, .. }) => {
                json!({"count": count})
            }
            Err(EditError::NotFound { .. } | EditError::NoSection { .. }) => json!({"count": 0}),
        }
    }

    /// Texts of pieces that matter to edits, in an order that looks like chance.
    fn generated() -> impl Iterator<Item = Value> {
        const PIECES: [&str; 16] = [
            "# A\n",
            "## B ##\r\n",
            "# a\n",
            "## A\t#\n",
            "```\n",
            "~~~~\n",
            "    # A\n",
            "a",
            "b",
            "\n",
            "\r\n",
            " ",
            "é",
            "#",
            "### C",
            "a\nb",
        ];
        const OPERATIONS: [&str; 5] = [
            "append",
            "prepend",
            "replace",
            "insert_after",
            "replace_section",
        ];
        const HEADINGS: [&str; 8] = ["A", "## A", " a ", "B", "# B #", "C", "#", "none"];
        let mut state = 1_u64;
        let mut roll = move |sides: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % sides
        };
        (0..400).map(move |number| {
            let mut text = |most: usize| -> String {
                let count = roll(most);
                (0..count).map(|_| PIECES[roll(PIECES.len())]).collect()
            };
            let (old, new) = (text(10), text(4));
            let operation = OPERATIONS[number % OPERATIONS.len()];
            let mut vector = json!({
                "name": format!("generated {number}"), "text": old, "operation": operation,
                "new": new,
            });
            match operation {
                "replace_section" => vector["heading"] = HEADINGS[number / 5 % 8].into(),
                "replace" | "insert_after" => {
                    vector["find"] = ["a", "b\n", "\n", "é", "a\nb", "aa"][number / 5 % 6].into();
                }
                _ => {}
            }
            vector
        })
    }

    /// The REST API's `edit` of a batch makes the same of a text: its tests read the same file.
    #[test]
    fn the_vectors_hold_for_both_programs() {
        const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/text-edits.json");
        let file = std::fs::read_to_string(PATH).unwrap();
        let mut file: Value = serde_json::from_str(&file).unwrap();
        if std::env::var_os("UPDATE_VECTORS").is_some() {
            let vectors = file["vectors"].as_array_mut().unwrap();
            vectors.retain(|vector| !vector["name"].as_str().unwrap().starts_with("generated"));
            vectors.extend(generated());
            for vector in vectors.iter_mut() {
                let outcome = outcome(vector);
                let vector = vector.as_object_mut().unwrap();
                vector.shift_remove("want");
                vector.shift_remove("count");
                vector.extend(outcome.as_object().unwrap().clone());
            }
            let lines: Vec<_> = vectors
                .iter()
                .map(|vector| format!("    {vector}"))
                .collect();
            let text = format!(
                "{{\n  \"about\": {},\n  \"vectors\": [\n{}\n  ]\n}}\n",
                file["about"],
                lines.join(",\n")
            );
            std::fs::write(PATH, text).unwrap();
            return;
        }
        let vectors = file["vectors"].as_array().unwrap();
        assert!(vectors.len() > 400);
        for vector in vectors {
            let outcome = outcome(vector);
            assert_eq!(outcome.get("want"), vector.get("want"), "{vector}");
            assert_eq!(outcome.get("count"), vector.get("count"), "{vector}");
        }
    }

    proptest! {
        /// Whatever the text, an edit changes only the part that it is about.
        #[test]
        fn what_is_around_an_edit_stays(
            before in "[a-c#\n\r` é]{0,30}",
            after in "[a-c#\n\r` é]{0,30}",
            text in "[x\n\r#]{0,10}",
        ) {
            let old = format!("{before}@{after}");
            let edited = apply(&old, Edit::Replace("@"), &text).unwrap();
            let head = &edited.text[..edited.changed.start];
            let tail = &edited.text[edited.changed.end..];
            prop_assert_eq!((head, tail), (&*before, &*after));
            let inserted = apply(&old, Edit::InsertAfter("@"), &text).unwrap();
            let kept = format!("{before}@");
            prop_assert!(inserted.text.starts_with(&kept));
            prop_assert!(inserted.text.ends_with(&*after));
            for edit in [Edit::Append, Edit::Prepend] {
                prop_assert!(apply(&old, edit, &text).unwrap().text.contains(&old));
            }
            for heading in ["a", "# a", "#", ""] {
                if let Ok(edited) = apply(&old, Edit::ReplaceSection(heading), &text) {
                    prop_assert!(edited.text.get(edited.changed).is_some());
                }
            }
        }
    }
}
