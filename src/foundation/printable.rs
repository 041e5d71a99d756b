//! Characters that terminals, log readers and text layout interpret instead of displaying.
//!
//! With them, text chosen by a caller could forge a log line, control the terminal that shows it,
//! or imitate other text. Code that prints such text for people replaces them.

/// Whether `c` is a control (C0, DEL, C1), a line or paragraph separator, or a format character
/// (Unicode category Cf), which changes the text direction or is invisible.
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

    /// `char::escape_debug` escapes every character that is replaced here, and more.
    #[test]
    fn unprintable_characters_are_invisible() {
        for c in (0..=0x10_ffff)
            .filter_map(char::from_u32)
            .filter(|c| is_unprintable(*c))
        {
            let shown = c.escape_debug().to_string();
            // Number marks of Arabic, Syriac and Kaithi are visible, although their category is Cf.
            let visible = matches!(
                u32::from(c),
                0x600..=0x605 | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x110bd | 0x110cd
            );
            assert!(visible || shown.starts_with('\\'), "{:x}", u32::from(c));
        }
        for c in "aé ß漢字🦀\u{301}العربية\u{a0}".chars() {
            assert!(!is_unprintable(c), "{c}");
        }
        let invisible = "\n\t\r\0\u{7f}\u{9b}\u{ad}\u{200b}\u{200d}\u{2028}\u{2029}\u{202e}\u{2066}\
                         \u{feff}\u{e0041}";
        for c in invisible.chars() {
            assert!(is_unprintable(c), "{:x}", u32::from(c));
        }
    }
}
