//! Characters that are obeyed instead of shown: by a terminal, by a reader of lines, or by whatever lays text out.
//!
//! Text that callers choose could forge a line of a log with them, drive the terminal that shows it, or look like other
//! text. Whatever writes such text for a person replaces them.

/// Controls (C0, DEL, C1), the separators of lines and paragraphs, and the format characters (Unicode's category Cf), which
/// turn the direction of writing or cannot be seen at all.
pub fn is_unprintable(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rust's own table of what is escaped when text is debugged has more in it, but nothing less.
    #[test]
    fn nothing_that_can_be_seen_is_unprintable() {
        for c in (0..=0x10_ffff)
            .filter_map(char::from_u32)
            .filter(|c| is_unprintable(*c))
        {
            let shown = c.escape_debug().to_string();
            // Marks of Arabic, Syriac and Kaithi numbers are visible, and of the category all the same.
            let visible = matches!(u32::from(c), 0x600..=0x605 | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x110bd | 0x110cd);
            assert!(visible || shown.starts_with('\\'), "{:x}", u32::from(c));
        }
        for c in "aé ß漢字🦀\u{301}العربية\u{a0}".chars() {
            assert!(!is_unprintable(c), "{c}");
        }
        for c in "\n\t\r\0\u{7f}\u{9b}\u{ad}\u{200b}\u{200d}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{e0041}".chars() {
            assert!(is_unprintable(c), "{:x}", u32::from(c));
        }
    }
}
