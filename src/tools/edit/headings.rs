//! Finds the headings of a Markdown text: the lines that begin with `#`, outside fenced code.
//!
//! A Markdown parser builds a document of many times the size of its text, which could be a
//! megabyte of headings. This iterator keeps one line at a time.

/// A heading, and the line that it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heading<'a> {
    /// The number of `#`, 1 to 6.
    pub level: usize,
    pub title: &'a str,
    /// The whole line, its end included.
    pub line: &'a str,
    /// The position of the line in the text.
    pub begin: usize,
    /// The number of the line, from 1.
    pub number: usize,
}

/// The headings of a text, in order.
pub fn headings(text: &str) -> impl Iterator<Item = Heading<'_>> {
    let (mut begin, mut fence) = (0, None);
    let lines = text.split_inclusive('\n').enumerate();
    lines.filter_map(move |(index, line)| {
        let at = begin;
        begin += line.len();
        let content = unindented(line)?;
        match fence {
            Some(open) => {
                if closes(content, open) {
                    fence = None;
                }
                None
            }
            None => {
                fence = opening(content);
                let (level, title) = heading(content)?;
                Some(Heading {
                    level,
                    title,
                    line,
                    begin: at,
                    number: index + 1,
                })
            }
        }
    })
}

/// The text of a line that is not indented as code is.
fn unindented(line: &str) -> Option<&str> {
    let line = line.trim_end_matches(['\n', '\r']);
    let content = line.trim_start_matches(' ');
    (line.len() - content.len() < 4).then_some(content)
}

fn heading(content: &str) -> Option<(usize, &str)> {
    let rest = content.trim_start_matches('#');
    let level = content.len() - rest.len();
    let is_heading = (1..=6).contains(&level) && (rest.is_empty() || rest.starts_with([' ', '\t']));
    let title = rest.trim();
    // A closing sequence of `#` is no part of the title.
    let open = title.trim_end_matches('#');
    let closed = open.is_empty() || open.ends_with([' ', '\t']);
    let title = if closed { open.trim_end() } else { title };
    is_heading.then_some((level, title))
}

/// The character and the length of a fence of code.
type Fence = (u8, usize);

fn opening(content: &str) -> Option<Fence> {
    let character = *content
        .as_bytes()
        .first()
        .filter(|c| matches!(c, b'`' | b'~'))?;
    let rest = content.trim_start_matches(char::from(character));
    let length = content.len() - rest.len();
    // Backticks behind backticks are inline code.
    let is_inline = character == b'`' && rest.contains('`');
    (length >= 3 && !is_inline).then_some((character, length))
}

fn closes(content: &str, (character, length): Fence) -> bool {
    let rest = content.trim_start_matches(char::from(character));
    content.len() - rest.len() >= length && rest.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_headings_as_commonmark_does() {
        for (line, expected) in [
            ("# A", Some((1, "A"))),
            ("   ###### A b ", Some((6, "A b"))),
            ("## A ##  ", Some((2, "A"))),
            ("## A#", Some((2, "A#"))),
            ("#\tA", Some((1, "A"))),
            ("#", Some((1, ""))),
            ("### ###", Some((3, ""))),
            ("#A", None),
            ("####### A", None),
            ("    # A", None),
            ("\\# A", None),
            ("A # B", None),
        ] {
            let found = headings(line)
                .next()
                .map(|heading| (heading.level, heading.title));
            assert_eq!(found, expected, "{line:?}");
        }
    }

    #[test]
    fn fences_end_as_commonmark_says() {
        let titles = |text| {
            headings(text)
                .map(|heading| heading.title)
                .collect::<Vec<_>>()
        };
        assert_eq!(titles("```\n# A\n``\n~~~\n# B\n````  \n# C"), ["C"]);
        assert_eq!(titles("``` `x`\n# A"), ["A"]);
        assert_eq!(titles("~~~ `x`\n# A\n    ~~~\n# B\n~~~\r\n# C\r\n"), ["C"]);
        assert_eq!(titles("    ```\n# A"), ["A"]);
        assert_eq!(titles("```\n# A"), [""; 0]);
    }

    #[test]
    fn positions_are_those_of_the_lines() {
        let text = "é\r\n# A\r\n\r\n## B";
        let found: Vec<_> = headings(text).collect();
        for heading in &found {
            assert!(text[heading.begin..].starts_with(heading.line));
        }
        assert_eq!(found.iter().map(|h| h.number).collect::<Vec<_>>(), [2, 4]);
    }
}
